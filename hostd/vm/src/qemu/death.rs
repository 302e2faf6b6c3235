//! Why a QEMU has ended that was not meant to.

use std::{os::unix::process::ExitStatusExt as _, process::ExitStatus};

use hostd_core::Cause;
use rustix::process::Signal;

use super::{driver::Driver, process::Ended};
use crate::{
    disk::{GO_ON, measure},
    program,
};

/// Signals by which a program ends that fails in itself.
const FAILURES: [Signal; 7] =
    [Signal::ABORT, Signal::SEGV, Signal::BUS, Signal::ILL, Signal::FPE, Signal::SYS, Signal::TRAP];
/// What programs say of a full disk.
const NO_SPACE: &str = "No space left on device";
/// What QEMU says before it ends by a signal that it was sent: `terminating on signal 15 from pid 4711 (bash)`.
const TERMINATING: &str = "terminating on signal ";

/// What is known of an end.
#[derive(Debug)]
pub(super) struct Death<'a> {
    /// How the process ended; None: nobody could be told.
    pub(super) status: Option<ExitStatus>,
    /// What it had printed.
    pub(super) output: &'a [u8],
    /// Whether the disk that its files are on is full.
    pub(super) disk_full: bool,
    /// Why the host's kernel has killed it, where it has.
    pub(super) of_memory: Option<Cause>,
}

impl Death<'_> {
    /// Whether it may have been the host's kernel, for want of memory.
    pub(super) fn may_be_of_memory(status: Option<ExitStatus>) -> bool {
        status.is_none_or(|status| status.signal() == Some(Signal::KILL.as_raw()))
    }

    /// The cause of the end.
    pub(super) fn cause(self) -> Cause {
        let printed = program::message(self.output, "");
        let words = || printed.lines().last().unwrap_or_default().to_owned();
        if let Some(of_memory) = self.of_memory {
            return of_memory;
        }
        let Some(status) = self.status else { return Cause::EndedUnseen };
        let failed = |signal| FAILURES.iter().any(|failure| failure.as_raw() == signal);
        match (status.signal(), status.code()) {
            // What is mapped from a file on a full disk cannot be written.
            (Some(signal), _) if self.disk_full && signal == Signal::BUS.as_raw() => Cause::HostDiskFull(words()),
            (Some(signal), _) if failed(signal) => Cause::QemuAborted { signal, words: words() },
            (Some(signal), _) => Cause::QemuKilled { signal, by: String::new() },
            (None, _) if printed.contains(NO_SPACE) => Cause::HostDiskFull(words()),
            (None, code) => told_to(&printed)
                .unwrap_or_else(|| Cause::QemuExited { code: code.unwrap_or_default(), words: words() }),
        }
    }
}

impl Driver {
    /// The cause of an end of QEMU that was not meant.
    pub(super) async fn died(&mut self, ended: Ended) -> Cause {
        let status = match ended {
            Some(Ok(status)) => Some(status),
            Some(Err(error)) => return Cause::VmDied(format!("QEMU ended: {error}")),
            None => self.process.status_of_earlier().await,
        };
        let of_memory = match Death::may_be_of_memory(status) {
            true => self.killed_for_memory().await,
            false => None,
        };
        let disk_full = measure(&self.directory).is_some_and(|disk| disk.available < GO_ON);
        Death { status, output: &self.process.output.read(), disk_full, of_memory }.cause()
    }

    async fn killed_for_memory(&self) -> Option<Cause> {
        let kills = self.kills.clone();
        // Where the task fails nobody knows, as of a host that does not count.
        tokio::task::spawn_blocking(move || kills.cause()).await.ok().flatten()
    }

    /// The cause of an end that QEMU was told to from outside hostd.
    pub(super) fn told_to(&self) -> Cause {
        let printed = program::message(&self.process.output.read(), "");
        told_to(&printed).unwrap_or_else(|| Cause::VmDied("ended from outside hostd".into()))
    }
}

/// The cause of a QEMU that says that it was told to end by a signal; None: it does not say so.
fn told_to(printed: &str) -> Option<Cause> {
    let (_, rest) = printed.lines().rev().find_map(|line| line.split_once(TERMINATING))?;
    let (signal, by) = rest.split_once(' ').unwrap_or((rest, ""));
    let signal = signal.trim().parse().ok().filter(|signal| (1..=64).contains(signal))?;
    Some(Cause::QemuKilled { signal, by: by.strip_prefix("from ").unwrap_or_default().trim().to_owned() })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const KILLED: i32 = 9;
    const EXITED_1: i32 = 256;

    #[rstest]
    #[case::killed(Some(KILLED), "", false, "its QEMU was killed by signal 9 (SIGKILL), sent by somebody on the host")]
    #[case::hung_up(Some(1), "", false, "its QEMU was killed by signal 1 (SIGHUP), sent by somebody on the host")]
    #[case::aborted(
        Some(6),
        "a\nqemu: assertion failed\n",
        false,
        "its QEMU failed, and was ended by signal 6 (SIGABRT): qemu: assertion failed"
    )]
    #[case::segfault(Some(11), "", true, "its QEMU failed, and was ended by signal 11 (SIGSEGV)")]
    #[case::no_room_for_memory(Some(7), "", true, "its QEMU ended because the host's disk was full")]
    #[case::bus(Some(7), "", false, "its QEMU failed, and was ended by signal 7 (SIGBUS)")]
    #[case::ended(Some(EXITED_1), "one\nqemu: two\n", false, "its QEMU ended with exit code 1: qemu: two")]
    #[case::no_room(
        Some(EXITED_1),
        "qemu: x: No space left on device\n",
        false,
        "its QEMU ended because the host's disk was full: qemu: x: No space left on device"
    )]
    #[case::terminated(
        Some(0),
        "qemu-system-x86_64: terminating on signal 15 from pid 7 (bash)\n",
        false,
        "its QEMU was killed by signal 15 (SIGTERM), sent by pid 7 (bash)"
    )]
    #[case::unseen(None, "", false, "its VM ended while no hostd ran, so that nobody was told how")]
    fn each_end_of_a_qemu_has_its_cause(
        #[case] raw: Option<i32>,
        #[case] output: &str,
        #[case] disk_full: bool,
        #[case] words: &str,
    ) {
        let status = raw.map(ExitStatus::from_raw);
        let death = |of_memory| Death { status, output: output.as_bytes(), disk_full, of_memory };
        assert_eq!(death(None).cause().to_string(), words);
        assert_eq!(death(Some(Cause::HostOutOfMemory)).cause(), Cause::HostOutOfMemory);
    }

    #[rstest]
    #[case("terminating on signal 99 from pid 1", None)]
    #[case("terminating on signal x", None)]
    #[case("nothing", None)]
    #[case("terminating on signal 2", Some(Cause::QemuKilled { signal: 2, by: String::new() }))]
    fn who_told_a_qemu_to_end_is_read(#[case] printed: &str, #[case] cause: Option<Cause>) {
        assert_eq!(told_to(printed), cause);
    }

    #[test]
    fn only_a_kill_or_an_end_that_nobody_saw_may_be_of_memory() {
        assert!(Death::may_be_of_memory(None) && Death::may_be_of_memory(Some(ExitStatus::from_raw(KILLED))));
        assert!(!Death::may_be_of_memory(Some(ExitStatus::from_raw(11))));
    }
}
