use serde::{Deserialize, Serialize};

use super::Cause;

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
