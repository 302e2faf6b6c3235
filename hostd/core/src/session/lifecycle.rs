use std::fmt;

use serde::{Deserialize, Serialize};

use crate::text;

/// Where a session's VM stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "state")]
pub enum Lifecycle {
    /// Waits for a place on the host.
    Queued,
    /// Its VM boots; ends with the agent started.
    Starting,
    /// Its VM runs.
    Running,
    /// Its memory and disk are being put down.
    Suspending,
    /// On disk only.
    Suspended,
    /// Being brought back.
    Resuming,
    /// Powered off in good order; its disk is kept.
    Stopped {
        /// By whom: [`Cause::PoweredOff`] or [`Cause::HostStopped`].
        cause: Cause,
    },
    /// Its VM ended, or never came up; its disk is kept.
    Crashed {
        /// Why.
        cause: Cause,
    },
}

impl Lifecycle {
    /// The word of the API and of `--json`.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Suspending => "suspending",
            Self::Suspended => "suspended",
            Self::Resuming => "resuming",
            Self::Stopped { .. } => "stopped",
            Self::Crashed { .. } => "crashed",
        }
    }

    /// Whether a VM of this session may exist.
    #[must_use]
    pub fn has_vm(&self) -> bool {
        matches!(self, Self::Starting | Self::Running | Self::Suspending | Self::Resuming)
    }
}

/// Why a VM ended, or did not come up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind", content = "detail")]
pub enum Cause {
    /// The guest powered off in good order: not a crash.
    PoweredOff,
    /// The guest's kernel panicked or reset the machine; the last line of its serial console, if there was one.
    GuestReset(String),
    /// The QEMU process is gone; how it ended.
    VmDied(String),
    /// QEMU stopped the VM because the host could not write its disk.
    DiskError(String),
    /// It could not be started; the error, with what to do.
    StartFailed(String),
    /// hostd ended while the VM ran; the VM was ended when hostd came back.
    HostRestarted,
    /// hostd was stopped by a person.
    HostStopped {
        /// The guest powered off first, its disk synced: not a crash.
        in_order: bool,
    },
    /// The link went down and did not come back in time.
    LinkLost,
}

impl Cause {
    /// Whether the VM's disk was put down in good order.
    #[must_use]
    pub fn in_order(&self) -> bool {
        matches!(self, Self::PoweredOff | Self::HostStopped { in_order: true })
    }

    /// The same with its text, which may be the guest's, cleaned and cut to `max` bytes.
    #[must_use]
    pub fn cleaned(self, max: usize) -> Self {
        let clean = |s: String| text::clean(&s, max);
        match self {
            Self::GuestReset(line) => Self::GuestReset(clean(line)),
            Self::VmDied(how) => Self::VmDied(clean(how)),
            Self::DiskError(what) => Self::DiskError(clean(what)),
            Self::StartFailed(why) => Self::StartFailed(clean(why)),
            other @ (Self::PoweredOff | Self::HostRestarted | Self::HostStopped { .. } | Self::LinkLost) => other,
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PoweredOff => f.write_str("powered off"),
            Self::GuestReset(line) if line.is_empty() => f.write_str("the guest's kernel reset the machine"),
            Self::GuestReset(line) => write!(f, "the guest's kernel reset the machine: {line}"),
            Self::VmDied(how) => write!(f, "its VM died: {how}"),
            Self::DiskError(what) => write!(f, "its VM could not write its disk: {what}"),
            Self::StartFailed(why) => write!(f, "could not start: {why}"),
            Self::HostRestarted => f.write_str("hostd was restarted while its VM ran"),
            Self::HostStopped { in_order: true } => f.write_str("hostd was stopped and powered its VM off"),
            Self::HostStopped { in_order: false } => {
                f.write_str("hostd was stopped, and its VM did not power off in time")
            }
            Self::LinkLost => f.write_str("its guest stopped answering"),
        }
    }
}

/// What the agent is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Activity {
    /// At work.
    Working,
    /// Asked a person something.
    NeedsInput,
    /// Waits for checks of its pull request.
    WaitingChecks,
    /// Waits for a review of its pull request.
    WaitingReview,
    /// Has nothing to do.
    Idle,
    /// Finished.
    Done,
    /// Gave up, or ended with an error.
    Failed,
}

impl Activity {
    /// The word of the API and of `--json`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Working => "working",
            Self::NeedsInput => "needs-input",
            Self::WaitingChecks => "waiting-checks",
            Self::WaitingReview => "waiting-review",
            Self::Idle => "idle",
            Self::Done => "done",
            Self::Failed => "failed",
        }
    }

    /// Parses what `session status` may say: working, needs-input, idle, done or failed.
    #[must_use]
    pub fn from_status(word: &str) -> Option<Self> {
        [Self::Working, Self::NeedsInput, Self::Idle, Self::Done, Self::Failed].into_iter().find(|a| a.word() == word)
    }

    /// Done or failed.
    #[must_use]
    pub fn is_over(self) -> bool {
        matches!(self, Self::Done | Self::Failed)
    }
}
