use std::fmt;

use serde::{Deserialize, Serialize};

use crate::text;

/// State of a session's VM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "state")]
pub enum Lifecycle {
    /// The session waits for a place on the host; there is no VM.
    Queued,
    /// The VM boots or is cloned; ends when the agent has started.
    Starting,
    /// The VM runs.
    Running,
    /// The VM's memory, devices and disk are being written.
    Suspending,
    /// The session is on disk only; there is no VM.
    Suspended,
    /// A VM is being started from the session's snapshot.
    Resuming,
    /// The VM powered off in good order; its disk is kept.
    Stopped {
        /// Who stopped the VM: [`Cause::PoweredOff`] or [`Cause::HostStopped`].
        cause: Cause,
    },
    /// The VM ended without order, or never came up; its disk is kept.
    Crashed {
        /// Why the VM ended, or did not come up.
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
    /// The guest powered off in good order; no crash.
    PoweredOff,
    /// The guest's kernel panicked or reset the machine; holds the last line of its serial console, or an empty string.
    GuestReset(String),
    /// The QEMU process is gone; holds how it ended.
    VmDied(String),
    /// QEMU stopped the VM because the host could not write its disk; holds QEMU's error.
    DiskError(String),
    /// The VM could not be started; holds the error, with what to do.
    StartFailed(String),
    /// hostd ended while the VM ran; the next hostd ended the VM.
    HostRestarted,
    /// hostd ended while the VM ran, and the next hostd could not take the VM over; holds why, as the end of a sentence.
    NotAdopted(String),
    /// A person stopped hostd.
    HostStopped {
        /// Whether the guest powered off before hostd ended; then it is no crash.
        in_order: bool,
    },
    /// The link to the guest went down and did not come back in time.
    LinkLost,
}

impl Cause {
    /// Whether the guest powered off in good order, its disk synced.
    #[must_use]
    pub fn in_order(&self) -> bool {
        matches!(self, Self::PoweredOff | Self::HostStopped { in_order: true })
    }

    /// Returns the same cause with its text, which may be the guest's, cleaned and cut to `max` bytes.
    #[must_use]
    pub fn cleaned(self, max: usize) -> Self {
        let clean = |s: String| text::clean(&s, max);
        match self {
            Self::GuestReset(line) => Self::GuestReset(clean(line)),
            Self::VmDied(how) => Self::VmDied(clean(how)),
            Self::DiskError(what) => Self::DiskError(clean(what)),
            Self::StartFailed(why) => Self::StartFailed(clean(why)),
            Self::NotAdopted(why) => Self::NotAdopted(clean(why)),
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
            Self::NotAdopted(why) => {
                write!(f, "hostd was restarted while its VM ran, and could not take it over: {why}")
            }
            Self::HostStopped { in_order: true } => f.write_str("hostd was stopped and powered its VM off"),
            Self::HostStopped { in_order: false } => {
                f.write_str("hostd was stopped, and its VM did not power off in time")
            }
            Self::LinkLost => f.write_str("its guest stopped answering"),
        }
    }
}

/// What an agent is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Activity {
    /// The agent is at work, or says nothing of itself.
    Working,
    /// The agent asked a person something.
    NeedsInput,
    /// The agent waits for the checks of its pull request.
    WaitingChecks,
    /// The agent waits for a review of its pull request.
    WaitingReview,
    /// The agent has nothing to do, or waits for a message.
    Idle,
    /// The agent has finished its task.
    Done,
    /// The agent gave up, or its process ended with an error.
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

    /// Returns the activity with this word, of those that `session status` takes: working, needs-input, idle, done, failed.
    #[must_use]
    pub fn from_status(word: &str) -> Option<Self> {
        [Self::Working, Self::NeedsInput, Self::Idle, Self::Done, Self::Failed].into_iter().find(|a| a.word() == word)
    }

    /// Whether the agent is done or has failed.
    #[must_use]
    pub fn is_over(self) -> bool {
        matches!(self, Self::Done | Self::Failed)
    }
}
