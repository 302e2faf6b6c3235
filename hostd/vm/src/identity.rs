//! Which process is meant: a pid alone may be anybody's by now.

use std::{
    fs, io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
    time::Duration,
};

use super::MemoryUse;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};
use serde::{Deserialize, Serialize};

/// What the kernel adds to the name of a program whose file was removed or replaced.
const DELETED: &str = " (deleted)";

/// A process of this boot of this machine: no other one ever has the same three.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessIdentity {
    /// Id of the process.
    pub pid: u32,
    /// When the process started, in clock ticks since boot: field 22 of /proc/PID/stat.
    pub start_time: u64,
    /// Id of the host's boot: /proc/sys/kernel/random/boot_id.
    pub boot_id: String,
}

impl ProcessIdentity {
    /// The process that has this pid now.
    ///
    /// # Errors
    /// There is none, or /proc cannot be read.
    pub fn of(pid: u32) -> io::Result<Self> {
        let (_, start_time) = stat(pid)?;
        let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned();
        Ok(Self { pid, start_time, boot_id })
    }

    /// Whether the process still runs; a zombie does not.
    #[must_use]
    pub fn lives(&self) -> bool {
        stat(self.pid).is_ok_and(|(state, _)| state != 'Z') && Self::of(self.pid).is_ok_and(|now| now == *self)
    }

    /// Whether a signal or a debugger has stopped the process.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        stat(self.pid).is_ok_and(|(state, _)| matches!(state, 'T' | 't')) && self.lives()
    }

    /// As [`ProcessIdentity::lives`], but an error where that cannot be known now.
    fn is_there(&self) -> io::Result<bool> {
        let gone = |error: &io::Error| {
            error.kind() == io::ErrorKind::NotFound
                || error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error())
        };
        match stat(self.pid).and_then(|(state, _)| Ok(state != 'Z' && Self::of(self.pid)? == *self)) {
            Err(error) if gone(&error) => Ok(false),
            there => there,
        }
    }

    /// Program that the process runs, as the kernel names it; one that was replaced since has the same name.
    ///
    /// # Errors
    /// The process is gone, or may not be looked at.
    pub fn executable(&self) -> io::Result<PathBuf> {
        let path = fs::read_link(format!("/proc/{}/exe", self.pid))?;
        let name = path.to_str().and_then(|name| name.strip_suffix(DELETED)).map(PathBuf::from);
        Ok(name.unwrap_or(path))
    }

    /// Opens a handle that means this process for good: it can be read once the process has ended. None: it is gone.
    ///
    /// # Errors
    /// There may be no more open files.
    pub fn open(&self) -> io::Result<Option<OwnedFd>> {
        let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw) else { return Ok(None) };
        match pidfd_open(pid, PidfdFlags::empty()) {
            // Only now: the handle means whoever had the pid when it was opened, and that is still the one we look at here.
            Ok(handle) => Ok(self.is_there()?.then_some(handle)),
            Err(rustix::io::Errno::SRCH) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Processor time that the process has taken, of all its threads; nothing where it is gone.
    #[must_use]
    pub fn processor_time(&self) -> Duration {
        let text = fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap_or_default();
        let Some((_, rest)) = text.rsplit_once(')') else { return Duration::ZERO };
        let mut fields = rest.split_whitespace().skip(11).map(|field| field.parse::<u64>().unwrap_or(0));
        let ticks = fields.next().unwrap_or(0).saturating_add(fields.next().unwrap_or(0));
        // The kernel tells times of processes in hundredths of a second (USER_HZ).
        let time = Duration::from_millis(ticks.saturating_mul(10));
        if self.lives() { time } else { Duration::ZERO }
    }

    /// Memory that the process holds now.
    #[must_use]
    pub fn memory(&self) -> MemoryUse {
        self.read("statm", |text| {
            let mut fields = text.split_whitespace().map(|n| n.parse::<u64>().unwrap_or(0));
            let page = rustix::param::page_size() as u64;
            let (resident, shared) = (fields.nth(1)?.saturating_mul(page), fields.next()?.saturating_mul(page));
            Some(MemoryUse { private: resident.saturating_sub(shared), shared })
        })
    }

    /// Memory that the process holds now, but of pages that several processes have mapped only its part. Walks its page tables.
    #[must_use]
    pub fn memory_part(&self) -> MemoryUse {
        self.read("smaps_rollup", |text| {
            let field = |name| kib(text, name);
            let anonymous = field("Anonymous:")?;
            let all = field("Pss:")?;
            let own = field("Pss_Anon:").unwrap_or(anonymous);
            Some(MemoryUse { private: anonymous.saturating_add(field("Swap:")?), shared: all.saturating_sub(own) })
        })
    }

    /// Parses a file of the process's folder in /proc; nothing where the process is gone or may not be looked at.
    fn read(&self, file: &str, parse: impl FnOnce(&str) -> Option<MemoryUse>) -> MemoryUse {
        let text = fs::read_to_string(format!("/proc/{}/{file}", self.pid)).unwrap_or_default();
        let read = parse(&text).unwrap_or_default();
        // Asked afterwards: were the pid another's by now, so would be the numbers.
        if self.lives() { read } else { MemoryUse::default() }
    }

    /// Kills the process and waits until it is gone. False: it was gone already.
    ///
    /// # Errors
    /// It may not be killed, or is still there when `within` is over.
    pub async fn kill(&self, within: Duration) -> io::Result<bool> {
        let Some(handle) = self.open()? else { return Ok(false) };
        match pidfd_send_signal(&handle, Signal::KILL) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => {}
            Err(error) => return Err(error.into()),
        }
        let gone =
            tokio::task::spawn_blocking(move || ends(handle.as_fd(), within)).await.map_err(io::Error::other)??;
        if gone {
            return Ok(true);
        }
        Err(io::Error::new(io::ErrorKind::TimedOut, format!("process {} does not end", self.pid)))
    }
}

/// Bytes that a line of KiB in one of /proc's files says; None: there is no such line.
#[must_use]
pub fn kib(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()?.saturating_mul(1024))
}

/// Waits for a process to end. False: `within` is over.
pub(super) fn ends(pidfd: BorrowedFd<'_>, within: Duration) -> io::Result<bool> {
    let within = Timespec::try_from(within).map_err(io::Error::other)?;
    let ready = poll(&mut [PollFd::from_borrowed_fd(pidfd, PollFlags::IN)], Some(&within))?;
    Ok(ready > 0)
}

/// State letter and start time of a process.
fn stat(pid: u32) -> io::Result<(char, u64)> {
    let text = fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat"))?;
    parse_stat(&text).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "/proc/PID/stat is not as expected"))
}

/// Parses /proc/PID/stat. The name (field 2) is the program's own choice and may hold blanks and parentheses: the last one ends
/// it.
fn parse_stat(text: &str) -> Option<(char, u64)> {
    let (_, rest) = text.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    let state = fields.next()?.chars().next()?;
    let start_time = fields.nth(18)?.parse().ok()?;
    Some((state, start_time))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    const WITHIN: Duration = Duration::from_secs(20);

    #[test]
    fn parses_names_with_parentheses() {
        let fields = "S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20 21";
        assert_eq!(parse_stat(&format!("12 (qemu) x) {fields}")), Some(('S', 4711)));
        assert_eq!(parse_stat(&format!("12 (a) S 1 (b) {fields}")), Some(('S', 4711)));
        for garbage in
            ["", "12", "12 (x)", "12 (x) ", "12 (x) S 1 2", "12 (x) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 x"]
        {
            assert_eq!(parse_stat(garbage), None, "{garbage:?}");
        }
    }

    #[test]
    fn knows_itself() {
        let me = ProcessIdentity::of(std::process::id()).unwrap();
        assert!(me.lives());
        assert_eq!(me.executable().unwrap(), std::env::current_exe().unwrap());
        assert!(me.memory().private > 100_000 && me.memory().shared > 100_000);
        let begin = me.processor_time();
        while me.processor_time() == begin {
            std::hint::spin_loop();
        }
        assert!(me.memory_part().private > 100_000 && me.memory_part().shared <= me.memory().shared);
        for other in [
            ProcessIdentity { start_time: me.start_time + 1, ..me.clone() },
            ProcessIdentity { boot_id: "another".into(), ..me.clone() },
            ProcessIdentity { pid: u32::MAX, ..me.clone() },
        ] {
            assert!(!other.lives());
            assert!(other.open().unwrap().is_none());
            assert_eq!((other.memory(), other.memory_part()), Default::default());
        }
    }

    #[tokio::test]
    async fn kills_only_the_one_meant() {
        let mut child = Command::new("sleep").arg("600").stdin(Stdio::null()).spawn().unwrap();
        let identity = ProcessIdentity::of(child.id()).unwrap();
        let namesake = ProcessIdentity { start_time: identity.start_time - 1, ..identity.clone() };
        assert!(!namesake.kill(WITHIN).await.unwrap());
        assert!(identity.lives() && !identity.is_stopped());
        let handle = identity.open().unwrap().unwrap();
        pidfd_send_signal(&handle, Signal::STOP).unwrap();
        let deadline = std::time::Instant::now() + WITHIN;
        while !identity.is_stopped() {
            assert!(std::time::Instant::now() < deadline, "it is not seen to stand still");
            tokio::task::yield_now().await;
        }
        assert!(identity.lives() && !namesake.is_stopped());
        assert!(identity.kill(WITHIN).await.unwrap());
        assert!(!identity.lives());
        child.wait().unwrap();
        assert!(!identity.kill(WITHIN).await.unwrap());
    }
}
