//! The QEMU process: its own session, nothing inherited but what is meant, its output in a bounded file in memory.

use std::{
    ffi::OsString,
    fs::File,
    io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::fs::{FileExt, OpenOptionsExt},
    },
    path::Path,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use rustix::{
    fs::{MemfdFlags, OFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create},
    io::{FdFlags, fcntl_setfd},
    process::{PTracer, Resource, Rlimit, set_ptracer, setrlimit, setsid},
    thread::set_no_new_privs,
};
use tokio::{
    io::{Interest, unix::AsyncFd},
    process::{Child, Command},
    time::{sleep, timeout},
};

use super::{deadlines::KILL, exit_status};
use crate::identity::ProcessIdentity;

/// Most bytes that are kept of what QEMU prints, from its beginning.
const OUTPUT: usize = 64 * 1024;
/// Value of QEMU's oom_score_adj, by which the kernel chooses what to kill when memory runs out: any VM before hostd, and
/// before what else the host runs.
const OOM_SCORE: &str = "500";

/// Looks, and the pause between two, until somebody has waited for a process that an earlier hostd had started.
const REAPED: u32 = 20;
const REAP: Duration = Duration::from_millis(10);

/// A running QEMU.
#[derive(Debug)]
pub(super) struct Process {
    whose: Whose,
    pub(super) pid: u32,
    pub(super) output: Output,
}

/// Who started a QEMU.
#[derive(Debug)]
enum Whose {
    /// This hostd: it is its child.
    Ours(Child),
    /// An earlier one. Its end is seen by the handle, but nobody tells how it ended.
    Earlier { identity: ProcessIdentity, handle: AsyncFd<OwnedFd> },
}

/// How a process ended; None: nobody who could have been told was there.
pub(super) type Ended = Option<io::Result<ExitStatus>>;

impl Process {
    /// The process that an earlier hostd started; None: it is gone. To be called in a runtime.
    pub(super) fn adopt(identity: &ProcessIdentity) -> io::Result<Option<Self>> {
        let Some(handle) = identity.open()? else { return Ok(None) };
        let handle = watch(handle)?;
        let output = Output::of(identity.pid).or_else(|_| Output::new())?;
        Ok(Some(Self { whose: Whose::Earlier { identity: identity.clone(), handle }, pid: identity.pid, output }))
    }

    /// Waits until the process has ended. Cancel safe.
    pub(super) async fn wait(&mut self) -> Ended {
        match &mut self.whose {
            Whose::Ours(child) => Some(child.wait().await),
            Whose::Earlier { handle, .. } => {
                // An error would be the runtime's, which ends then.
                let _ = handle.readable().await;
                None
            }
        }
    }

    /// How a process has ended that an earlier hostd had started, where the host's kernel tells who was no parent of it; None: it does
    /// not, or the process is this hostd's.
    pub(super) async fn status_of_earlier(&self) -> Option<ExitStatus> {
        let Whose::Earlier { handle, .. } = &self.whose else { return None };
        for _ in 0..REAPED {
            // Whoever is its parent now has to have waited for it.
            match exit_status::of(handle.get_ref().as_fd()) {
                None => sleep(REAP).await,
                told => return told,
            }
        }
        None
    }

    /// Whether the process has not ended yet.
    pub(super) fn runs(&mut self) -> bool {
        match &mut self.whose {
            Whose::Ours(child) => matches!(child.try_wait(), Ok(None)),
            Whose::Earlier { identity, .. } => identity.lives(),
        }
    }

    /// Kills the process, which may have ended by itself; returns whether it is gone.
    pub(super) async fn kill(&mut self) -> bool {
        let gone = match &mut self.whose {
            Whose::Ours(child) => matches!(timeout(KILL, child.kill()).await, Ok(Ok(()))),
            Whose::Earlier { identity, .. } => identity.kill(KILL).await.is_ok(),
        };
        if !gone {
            tracing::error!(pid = self.pid, "QEMU does not end");
        }
        gone
    }
}

/// What QEMU prints, kept in memory that cannot grow: no guest can make it fill a disk, it needs no reader, and it
/// outlives hostd with the process.
#[derive(Debug)]
pub(super) struct Output(File);

impl Output {
    fn new() -> io::Result<Self> {
        let memory = memfd_create("qemu-output", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        ftruncate(&memory, OUTPUT as u64)?;
        fcntl_add_seals(&memory, SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL)?;
        Ok(Self(memory.into()))
    }

    /// Where this process prints to. A guest that has taken it over may have put something else there.
    fn of(pid: u32) -> io::Result<Self> {
        let flags = OFlags::NONBLOCK.bits().cast_signed();
        let file = File::options().read(true).custom_flags(flags).open(format!("/proc/{pid}/fd/1"))?;
        if file.metadata()?.is_file() { Ok(Self(file)) } else { Err(io::ErrorKind::InvalidInput.into()) }
    }

    /// What QEMU has printed so far.
    pub(super) fn read(&self) -> Vec<u8> {
        let mut bytes = vec![0; OUTPUT];
        let read = self.0.read_at(&mut bytes, 0).unwrap_or(0);
        bytes.truncate(read);
        // The file has its full size from the start: zeros that nobody wrote.
        let end = bytes.iter().rposition(|&b| b != 0).map_or(0, |last| last + 1);
        bytes.truncate(end);
        bytes
    }

    fn stdio(&self) -> io::Result<Stdio> {
        Ok(self.0.try_clone()?.into())
    }
}

/// Registers the handle of a process with the runtime that this is called in.
#[allow(unsafe_code)]
fn watch(handle: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an OwnedFd is open and the same until it is dropped, and it is dropped with the AsyncFd that owns it.
    unsafe { AsyncFd::register_with_interest(handle, Interest::READABLE) }.map_err(Into::into)
}

/// Starts QEMU with these open files under their own numbers. It goes on when hostd ends.
pub(super) fn spawn(program: &Path, argv: &[OsString], inherited: Vec<OwnedFd>) -> io::Result<Process> {
    let output = Output::new()?;
    let mut command = Command::new(program);
    command.args(argv).current_dir("/").kill_on_drop(false);
    command.stdin(Stdio::null()).stdout(output.stdio()?).stderr(output.stdio()?);
    set_up(&mut command, inherited);
    let child = command.spawn()?;
    let pid = child.id().ok_or_else(|| io::Error::other("QEMU ended at once"))?;
    // Raising one's own is always allowed; a host without it is none the worse.
    let _ = std::fs::write(format!("/proc/{pid}/oom_score_adj"), OOM_SCORE);
    Ok(Process { whose: Whose::Ours(child), pid, output })
}

#[allow(unsafe_code)]
fn set_up(command: &mut Command, inherited: Vec<OwnedFd>) {
    let prepare = move || {
        setsid()?;
        set_no_new_privs(true)?;
        // A core file would be the guest's memory.
        setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
        // The next hostd is no parent of this process, and reads the guest's memory all the same: Yama, where there is one, asks
        // for this word. It opens nothing to other users.
        let _ = set_ptracer(PTracer::Any);
        inherited.iter().map(AsFd::as_fd).try_for_each(inherit)
    };
    // SAFETY: runs in the forked child before exec, where only async-signal-safe calls are allowed: these are five bare
    // system calls, without allocation or locks, and the descriptors stay open because the closure owns them.
    unsafe {
        command.pre_exec(prepare);
    }
}

/// Everything that Rust opens is closed at exec unless said otherwise, as here.
fn inherit(file: BorrowedFd<'_>) -> io::Result<()> {
    Ok(fcntl_setfd(file, FdFlags::empty())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;

    async fn sh(script: &str, inherited: Vec<OwnedFd>) -> String {
        let argv = ["-c", script].map(OsString::from);
        let mut process = spawn(Path::new("/bin/sh"), &argv, inherited).unwrap();
        process.wait().await.unwrap().unwrap();
        String::from_utf8(process.output.read()).unwrap()
    }

    #[tokio::test]
    async fn inherits_only_what_is_meant() {
        let meant: OwnedFd = File::open("/dev/null").unwrap().into();
        let other = File::open("/dev/zero").unwrap();
        let number = meant.as_raw_fd();
        let listing = sh("ls -l /proc/$$/fd", vec![meant]).await;
        assert!(listing.contains(&format!(" {number} -> /dev/null")), "{listing}");
        assert!(!listing.contains(&format!(" {} -> /dev/zero", other.as_raw_fd())), "{listing}");
    }

    #[tokio::test]
    async fn has_a_session_of_its_own_and_no_new_rights() {
        let text =
            sh("cut -d' ' -f5,6 /proc/$$/stat; echo $$ $$; grep NoNewPrivs /proc/$$/status; ulimit -c", vec![]).await;
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], lines[1]);
        assert_eq!(&lines[2..], ["NoNewPrivs:\t1", "0"]);
    }

    #[tokio::test]
    async fn one_that_an_earlier_hostd_started_is_seen_to_its_end_and_what_it_printed_is_read() {
        let argv = ["-c", "echo its words; exec sleep 600"].map(OsString::from);
        let started = spawn(Path::new("/bin/sh"), &argv, vec![]).unwrap();
        let identity = ProcessIdentity::of(started.pid).unwrap();
        while started.output.read().is_empty() {
            tokio::task::yield_now().await;
        }
        let mut process = Process::adopt(&identity).unwrap().unwrap();
        assert!(process.runs());
        assert_eq!(process.output.read(), b"its words\n");
        assert!(timeout(std::time::Duration::from_millis(50), process.wait()).await.is_err(), "it runs");
        assert!(process.kill().await && !process.runs());
        assert!(process.wait().await.is_none());
        // Linux tells that from 6.15 on.
        let told =
            process.status_of_earlier().await.map(|status| std::os::unix::process::ExitStatusExt::signal(&status));
        assert!(matches!(told, None | Some(Some(9))), "{told:?}");
        assert!(Process::adopt(&identity).unwrap().is_none());
    }

    #[tokio::test]
    async fn keeps_a_bounded_output() {
        let text = sh("echo first; head -c 1000000 /dev/zero | tr '\\0' x", vec![]).await;
        assert_eq!(text.len(), OUTPUT);
        assert!(text.starts_with("first\nxxx"));
    }
}
