use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Lifecycle, Session, exit::signal_name, how_it_ended};
use crate::{kernel_log, text};

/// Most lines of a guest's console that a cause has, and the longest of them in bytes.
const LINES: usize = kernel_log::LINES;
const LINE_MAX: usize = kernel_log::LINE_MAX;

/// Why a VM ended, or did not come up.
///
/// The store keeps it as JSON, by these names: a name stays what it is, and each session is read that an earlier hostd has kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind", content = "detail")]
pub enum Cause {
    /// The guest powered off in good order; no crash.
    PoweredOff,
    /// The guest's kernel panicked; what it wrote to its console about that, oldest line first, at most [`kernel_log::LINES`].
    GuestPanic(Vec<String>),
    /// The guest's kernel panicked for want of memory, with nothing left that it could end; lines as of a panic.
    GuestOutOfMemory(Vec<String>),
    /// The guest's kernel reset the machine without a panic; holds the last line of its serial console, or an empty string. In
    /// records of before panics were told apart it may be one.
    GuestReset(String),
    /// The VM's QEMU was killed by a signal from outside.
    QemuKilled {
        /// Number of the signal.
        signal: i32,
        /// Who sent the signal, as far as QEMU says it, such as `pid 4711 (bash)`; empty: nobody knows.
        by: String,
    },
    /// The VM's QEMU failed in itself, and was ended by the signal that comes of that.
    QemuAborted {
        /// Number of the signal.
        signal: i32,
        /// The last that QEMU said; may be empty.
        words: String,
    },
    /// The VM's QEMU ended by itself.
    QemuExited {
        /// Exit code of QEMU.
        code: i32,
        /// The last that QEMU said; may be empty.
        words: String,
    },
    /// The cgroup that the VM's QEMU was in had used up its memory, and the host's kernel killed QEMU.
    CgroupOutOfMemory {
        /// Path of the cgroup; empty: not known.
        cgroup: String,
    },
    /// The host had no memory left, and its kernel killed the VM's QEMU.
    HostOutOfMemory,
    /// The VM's QEMU ended because the host's disk was full; what it said of that.
    HostDiskFull(String),
    /// The VM is gone for another reason; holds which.
    VmDied(String),
    /// QEMU stopped the VM because the host could not write its disk; holds QEMU's error.
    DiskError(String),
    /// The VM could not be started; holds the error, with what to do.
    StartFailed(String),
    /// The VM came up, and its agent's program could not be started in it.
    AgentNotStarted {
        /// Name of the program.
        program: String,
        /// Why the program was not started.
        why: NoAgent,
    },
    /// hostd ended while the VM ran; the next hostd ended the VM. Only in records of before VMs outlived their hostd.
    HostRestarted,
    /// The host was booted anew while the VM ran.
    HostRebooted,
    /// The VM ended while no hostd ran, and nobody was told how.
    EndedUnseen,
    /// hostd ended while the VM ran, and the next hostd could not take the VM over; holds why, as the end of a sentence.
    NotAdopted(String),
    /// A person stopped hostd.
    HostStopped {
        /// Whether the guest powered off before hostd ended; then it is no crash.
        in_order: bool,
    },
    /// The link to the guest went down and did not come back in time. In records of before it was told what the VM did then.
    LinkLost,
    /// The guest did not answer though its QEMU ran, and hostd ended it.
    GuestHung {
        /// Seconds that hostd waited for an answer.
        after: u64,
        /// What the guest's kernel last complained of on its console; empty: of nothing.
        line: String,
    },
    /// The VM's QEMU was stopped by a signal, as by `kill -STOP`, or by a debugger, and hostd ended it.
    QemuStopped {
        /// Seconds that hostd waited for an answer.
        after: u64,
    },
}

/// Why an agent's program was not started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NoAgent {
    /// There is no such program in the guest, or not the interpreter that it names.
    NotFound,
    /// The program may not be executed, or is none.
    NotExecutable,
    /// Another reason, in words.
    Other(String),
}

impl Cause {
    /// Whether the guest powered off in good order, its disk synced.
    #[must_use]
    pub fn in_order(&self) -> bool {
        matches!(self, Self::PoweredOff | Self::HostStopped { in_order: true })
    }

    /// The word of the API, of `--json` and of metrics: one for each kind.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::PoweredOff => "powered-off",
            Self::GuestPanic(_) => "guest-panic",
            Self::GuestOutOfMemory(_) => "guest-out-of-memory",
            Self::GuestReset(_) => "guest-reset",
            Self::QemuKilled { .. } => "qemu-killed",
            Self::QemuAborted { .. } => "qemu-aborted",
            Self::QemuExited { .. } => "qemu-exited",
            Self::CgroupOutOfMemory { .. } => "cgroup-out-of-memory",
            Self::HostOutOfMemory => "host-out-of-memory",
            Self::HostDiskFull(_) => "host-disk-full",
            Self::VmDied(_) => "vm-died",
            Self::DiskError(_) => "disk-error",
            Self::StartFailed(_) => "start-failed",
            Self::AgentNotStarted { why: NoAgent::NotFound, .. } => "agent-not-found",
            Self::AgentNotStarted { why: NoAgent::NotExecutable, .. } => "agent-not-executable",
            Self::AgentNotStarted { why: NoAgent::Other(_), .. } => "agent-not-started",
            Self::HostRestarted => "host-restarted",
            Self::HostRebooted => "host-rebooted",
            Self::EndedUnseen => "ended-unseen",
            Self::NotAdopted(_) => "not-adopted",
            Self::HostStopped { .. } => "host-stopped",
            Self::LinkLost | Self::GuestHung { .. } => "guest-hung",
            Self::QemuStopped { .. } => "qemu-stopped",
        }
    }

    /// All words of crashes, for whoever counts them before there is one.
    #[must_use]
    pub fn words_of_crashes() -> Vec<&'static str> {
        let text = String::new;
        let agent = |why| Self::AgentNotStarted { program: String::new(), why };
        // From each cause the next one, so that none is left out: a match has to name all.
        let next = |cause: &Self| {
            Some(match cause {
                Self::PoweredOff => Self::GuestPanic(vec![]),
                Self::GuestPanic(_) => Self::GuestOutOfMemory(vec![]),
                Self::GuestOutOfMemory(_) => Self::GuestReset(text()),
                Self::GuestReset(_) => Self::QemuKilled { signal: 0, by: text() },
                Self::QemuKilled { .. } => Self::QemuAborted { signal: 0, words: text() },
                Self::QemuAborted { .. } => Self::QemuExited { code: 0, words: text() },
                Self::QemuExited { .. } => Self::CgroupOutOfMemory { cgroup: text() },
                Self::CgroupOutOfMemory { .. } => Self::HostOutOfMemory,
                Self::HostOutOfMemory => Self::HostDiskFull(text()),
                Self::HostDiskFull(_) => Self::VmDied(text()),
                Self::VmDied(_) => Self::DiskError(text()),
                Self::DiskError(_) => Self::StartFailed(text()),
                Self::StartFailed(_) => agent(NoAgent::NotFound),
                Self::AgentNotStarted { why: NoAgent::NotFound, .. } => agent(NoAgent::NotExecutable),
                Self::AgentNotStarted { why: NoAgent::NotExecutable, .. } => agent(NoAgent::Other(text())),
                Self::AgentNotStarted { why: NoAgent::Other(_), .. } => Self::HostRestarted,
                Self::HostRestarted => Self::HostRebooted,
                Self::HostRebooted => Self::EndedUnseen,
                Self::EndedUnseen => Self::NotAdopted(text()),
                Self::NotAdopted(_) => Self::HostStopped { in_order: false },
                Self::HostStopped { .. } => Self::LinkLost,
                Self::LinkLost => Self::GuestHung { after: 0, line: text() },
                Self::GuestHung { .. } => Self::QemuStopped { after: 0 },
                Self::QemuStopped { .. } => return None,
            })
        };
        let all = std::iter::successors(Some(Self::PoweredOff), next);
        let mut words: Vec<_> = all.filter(|cause| !cause.in_order()).map(|cause| cause.word()).collect();
        words.dedup();
        words
    }

    /// Lines of the guest's console that say more than the words; none: there are none.
    #[must_use]
    pub fn lines(&self) -> &[String] {
        match self {
            Self::GuestPanic(lines) | Self::GuestOutOfMemory(lines) => lines,
            _ => &[],
        }
    }

    /// Whether the VM never had an agent at work: it did not come up, or its agent's program did not.
    #[must_use]
    pub fn never_started(&self) -> bool {
        matches!(self, Self::StartFailed(_) | Self::AgentNotStarted { .. })
    }

    /// Whether the same may not happen again at once where the session is started anew: what is missing or may not be executed stays so.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        !matches!(self, Self::StartFailed(_) | Self::AgentNotStarted { .. })
    }

    /// The cause of a guest whose kernel reset its machine, by what its serial console has last.
    #[must_use]
    pub fn of_reset(serial: &[u8], last_words: String) -> Self {
        match kernel_log::panic(serial) {
            Some(panic) if panic.out_of_memory => Self::GuestOutOfMemory(panic.lines),
            Some(panic) => Self::GuestPanic(panic.lines),
            None => Self::GuestReset(last_words),
        }
    }

    /// Returns the same cause with its text, which may be the guest's, cleaned and cut to `max` bytes.
    #[must_use]
    pub fn cleaned(self, max: usize) -> Self {
        let clean = |s: String| text::clean(&s, max);
        let lines = |lines: Vec<String>| -> Vec<String> {
            let line = |line: &String| text::one_line(&text::clean(line, LINE_MAX.min(max)));
            lines.iter().take(LINES).map(line).collect()
        };
        match self {
            Self::GuestPanic(said) => Self::GuestPanic(lines(said)),
            Self::GuestOutOfMemory(said) => Self::GuestOutOfMemory(lines(said)),
            Self::GuestReset(line) => Self::GuestReset(clean(line)),
            Self::QemuKilled { signal, by } => Self::QemuKilled { signal, by: clean(by) },
            Self::QemuAborted { signal, words } => Self::QemuAborted { signal, words: clean(words) },
            Self::QemuExited { code, words } => Self::QemuExited { code, words: clean(words) },
            Self::CgroupOutOfMemory { cgroup } => Self::CgroupOutOfMemory { cgroup: clean(cgroup) },
            Self::HostDiskFull(words) => Self::HostDiskFull(clean(words)),
            Self::VmDied(how) => Self::VmDied(clean(how)),
            Self::DiskError(what) => Self::DiskError(clean(what)),
            Self::StartFailed(why) => Self::StartFailed(clean(why)),
            Self::AgentNotStarted { program, why } => {
                let why = if let NoAgent::Other(why) = why { NoAgent::Other(clean(why)) } else { why };
                Self::AgentNotStarted { program: clean(program), why }
            }
            Self::NotAdopted(why) => Self::NotAdopted(clean(why)),
            Self::GuestHung { after, line } => Self::GuestHung { after, line: clean(line) },
            other @ (Self::PoweredOff
            | Self::HostRestarted
            | Self::HostRebooted
            | Self::EndedUnseen
            | Self::HostOutOfMemory
            | Self::HostStopped { .. }
            | Self::LinkLost
            | Self::QemuStopped { .. }) => other,
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let with = |f: &mut fmt::Formatter<'_>, what: &str, words: &str| match words {
            "" => f.write_str(what),
            words => write!(f, "{what}: {words}"),
        };
        match self {
            Self::PoweredOff => f.write_str("powered off"),
            Self::GuestPanic(lines) => with(f, "the guest's kernel panicked", kernel_log::headline(lines)),
            Self::GuestOutOfMemory(lines) => {
                with(f, "the guest ran out of memory, and its kernel panicked", kernel_log::headline(lines))
            }
            Self::GuestReset(line) => with(f, "the guest's kernel reset the machine", line),
            Self::QemuKilled { signal, by } => {
                let by = if by.is_empty() { "somebody on the host" } else { by };
                write!(f, "its QEMU was killed by {}, sent by {by}", signal_name(*signal))
            }
            Self::QemuAborted { signal, words } => {
                with(f, &format!("its QEMU failed, and was ended by {}", signal_name(*signal)), words)
            }
            Self::QemuExited { code, words } => with(f, &format!("its QEMU {}", how_it_ended(*code)), words),
            Self::CgroupOutOfMemory { cgroup } if cgroup.is_empty() => {
                f.write_str("the memory of its QEMU's cgroup was used up, and the host's kernel killed QEMU")
            }
            Self::CgroupOutOfMemory { cgroup } => {
                write!(f, "the memory of its QEMU's cgroup ({cgroup}) was used up, and the host's kernel killed QEMU")
            }
            Self::HostOutOfMemory => f.write_str("the host ran out of memory, and its kernel killed its QEMU"),
            Self::HostDiskFull(words) => with(f, "its QEMU ended because the host's disk was full", words),
            Self::VmDied(how) => write!(f, "its VM died: {how}"),
            Self::DiskError(what) => write!(f, "its VM could not write its disk: {what}"),
            Self::StartFailed(why) => write!(f, "could not start: {why}"),
            Self::AgentNotStarted { program, why } => match why {
                NoAgent::NotFound => {
                    write!(f, "could not start: the agent `{program}` was not found in its environment")
                }
                NoAgent::NotExecutable => {
                    write!(f, "could not start: the agent `{program}` may not be executed in its environment")
                }
                NoAgent::Other(why) => write!(f, "could not start: the agent `{program}` did not start: {why}"),
            },
            Self::HostRestarted => f.write_str("hostd was restarted while its VM ran"),
            Self::HostRebooted => f.write_str("the host was booted anew while its VM ran"),
            Self::EndedUnseen => f.write_str("its VM ended while no hostd ran, so that nobody was told how"),
            Self::NotAdopted(why) => {
                write!(f, "its VM could not be taken over by the next hostd, and was ended: {why}")
            }
            Self::HostStopped { in_order: true } => f.write_str("hostd was stopped and powered its VM off"),
            Self::HostStopped { in_order: false } => {
                f.write_str("hostd was stopped, and its VM did not power off in time")
            }
            Self::LinkLost => f.write_str("its guest stopped answering"),
            Self::GuestHung { after, line } => with(f, &format!("its guest hung: no answer for {after} s"), line),
            Self::QemuStopped { after } => {
                write!(f, "its QEMU was stopped by a signal (kill -STOP) or a debugger: no answer for {after} s")
            }
        }
    }
}

impl Session {
    /// The word of why the session's VM or its agent came to an end that is none in order, as the API and `--json` have it: of a crash that
    /// of its [`Cause`], of an agent that ended badly `agent-out-of-memory`, `agent-killed` or `agent-exited`; else empty.
    #[must_use]
    pub fn cause_word(&self) -> &'static str {
        match (&self.lifecycle, self.exited) {
            (Lifecycle::Crashed { cause }, _) => cause.word(),
            (_, None | Some(0)) => "",
            (_, Some(137)) if !self.oom_killed.is_empty() => "agent-out-of-memory",
            (_, Some(129..=192)) => "agent-killed",
            _ => "agent-exited",
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn lines(lines: &[&str]) -> Vec<String> {
        lines.iter().map(|line| (*line).to_owned()).collect()
    }

    #[rstest]
    #[case(Cause::GuestPanic(lines(&["[ 1.0] Kernel panic - not syncing: sysrq triggered crash"])), "guest-panic",
        "the guest's kernel panicked: sysrq triggered crash")]
    #[case(Cause::GuestPanic(vec![]), "guest-panic", "the guest's kernel panicked")]
    #[case(Cause::GuestReset(String::new()), "guest-reset", "the guest's kernel reset the machine")]
    #[case(Cause::QemuKilled { signal: 9, by: String::new() }, "qemu-killed",
        "its QEMU was killed by signal 9 (SIGKILL), sent by somebody on the host")]
    #[case(Cause::QemuKilled { signal: 15, by: "pid 7 (bash)".into() }, "qemu-killed",
        "its QEMU was killed by signal 15 (SIGTERM), sent by pid 7 (bash)")]
    #[case(Cause::QemuAborted { signal: 6, words: "assertion failed".into() }, "qemu-aborted",
        "its QEMU failed, and was ended by signal 6 (SIGABRT): assertion failed")]
    #[case(Cause::QemuExited { code: 1, words: String::new() }, "qemu-exited", "its QEMU ended with exit code 1")]
    #[case(Cause::HostRebooted, "host-rebooted", "the host was booted anew while its VM ran")]
    #[case(Cause::AgentNotStarted { program: "claude".into(), why: NoAgent::NotFound }, "agent-not-found",
        "could not start: the agent `claude` was not found in its environment")]
    #[case(Cause::QemuStopped { after: 60 }, "qemu-stopped",
        "its QEMU was stopped by a signal (kill -STOP) or a debugger: no answer for 60 s")]
    #[case(Cause::GuestHung { after: 60, line: String::new() }, "guest-hung", "its guest hung: no answer for 60 s")]
    fn each_cause_has_its_word_and_its_words(#[case] cause: Cause, #[case] word: &str, #[case] words: &str) {
        assert_eq!((cause.word(), cause.to_string().as_str()), (word, words));
        assert_eq!(serde_json::from_value::<Cause>(json!(cause)).unwrap(), cause, "it comes back from the store");
    }

    #[test]
    fn all_words_of_crashes_are_told_and_each_once() {
        let words = Cause::words_of_crashes();
        let once: std::collections::BTreeSet<_> = words.iter().collect();
        assert_eq!((words.len(), once.len()), (22, 22), "{words:?}");
        for word in ["guest-panic", "guest-hung", "qemu-killed", "agent-not-found", "agent-not-started", "qemu-stopped"]
        {
            assert!(words.contains(&word), "{word}");
        }
        assert!(!words.contains(&"powered-off"));
    }

    /// As hostds of before kept them: each is read, and says what it said.
    #[rstest]
    #[case(json!({"kind": "powered-off"}), Cause::PoweredOff)]
    #[case(json!({"kind": "guest-reset", "detail": "Kernel panic"}), Cause::GuestReset("Kernel panic".into()))]
    #[case(json!({"kind": "vm-died", "detail": "killed by signal 11"}), Cause::VmDied("killed by signal 11".into()))]
    #[case(json!({"kind": "disk-error", "detail": "EIO"}), Cause::DiskError("EIO".into()))]
    #[case(json!({"kind": "start-failed", "detail": "no kernel"}), Cause::StartFailed("no kernel".into()))]
    #[case(json!({"kind": "host-restarted"}), Cause::HostRestarted)]
    #[case(json!({"kind": "not-adopted", "detail": "it is old"}), Cause::NotAdopted("it is old".into()))]
    #[case(json!({"kind": "host-stopped", "detail": {"in_order": false}}), Cause::HostStopped { in_order: false })]
    #[case(json!({"kind": "link-lost"}), Cause::LinkLost)]
    fn causes_of_earlier_hostds_are_read(#[case] kept: serde_json::Value, #[case] cause: Cause) {
        assert_eq!(serde_json::from_value::<Cause>(kept).unwrap(), cause);
    }

    #[rstest]
    #[case(Lifecycle::Running, None, "", "")]
    #[case(Lifecycle::Running, Some(0), "", "")]
    #[case(Lifecycle::Running, Some(3), "", "agent-exited")]
    #[case(Lifecycle::Running, Some(255), "", "agent-exited")]
    #[case(Lifecycle::Suspended, Some(139), "perl", "agent-killed")]
    #[case(Lifecycle::Running, Some(137), "", "agent-killed")]
    #[case(Lifecycle::Running, Some(137), "perl", "agent-out-of-memory")]
    #[case(Lifecycle::Crashed { cause: Cause::EndedUnseen }, Some(3), "", "ended-unseen")]
    fn an_agent_that_ended_badly_has_a_word_too(
        #[case] lifecycle: Lifecycle,
        #[case] exited: Option<i32>,
        #[case] oom_killed: &str,
        #[case] word: &str,
    ) {
        let session = Session { exited, oom_killed: oom_killed.into(), ..crate::session::tests::with(lifecycle) };
        assert_eq!(session.cause_word(), word);
    }

    #[test]
    fn a_guests_lines_are_cleaned_and_bounded() {
        let hostile = vec!["\x1b[31mKernel panic - not syncing: \u{202e}x\r\n".repeat(100); 100];
        let Cause::GuestPanic(lines) = Cause::GuestPanic(hostile).cleaned(4096) else { panic!() };
        assert_eq!(lines.len(), LINES);
        assert!(lines.iter().all(|line| line.len() <= LINE_MAX && !line.contains(char::is_control)), "{lines:?}");
        assert!(lines.iter().all(|line| !line.contains('\u{202e}')));
    }
}
