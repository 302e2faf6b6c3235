use std::fmt;

use serde::{Deserialize, Serialize};

use crate::UnixMillis;

/// A session as the store keeps it. `attention` and its reason are derived, never stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// ULID, 26 characters.
    pub id: String,
    /// Unique on its host; the hostname of its VM and part of its branches.
    pub slug: String,
    /// For people; at most 120 characters.
    pub title: String,
    /// What the agent is asked to do; may be empty.
    pub task: String,
    /// Name of the environment.
    pub environment: String,
    /// Id of the build it runs on.
    pub build: String,
    /// User name of whoever created it.
    pub owner: String,
    /// The agent: program and arguments.
    pub command: Vec<String>,
    /// Where the agent starts.
    pub directory: String,
    /// Repository of the local forge that it may read, and write under its own branches.
    pub repository: Option<String>,
    /// Its VM's size.
    pub size: Size,
    /// Where its VM stands.
    pub lifecycle: Lifecycle,
    /// What the agent is doing; outlives a suspend.
    pub activity: Activity,
    /// What the agent said with its last status, or how it ended.
    pub text: String,
    /// Answers offered with [`Activity::NeedsInput`].
    pub choices: Vec<String>,
    /// One higher with each start, resume or clone; 0 before the first.
    pub generation: u64,
    /// Messages for the agent that its VM could not take yet, oldest first; at most [`Session::INBOX`].
    pub inbox: Vec<String>,
    /// Something arrived for the agent while it was being suspended: resume at once.
    pub wake: bool,
    /// Someone asked to delete it; it is gone when the effect is done.
    pub deleting: bool,
    /// Of dispatch.
    pub created_at: UnixMillis,
    /// Of the last change of anything that a person sees.
    pub updated_at: UnixMillis,
}

/// What a session is created with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewSession {
    /// See [`Session::id`].
    pub id: String,
    /// See [`Session::slug`].
    pub slug: String,
    /// See [`Session::title`].
    pub title: String,
    /// See [`Session::task`].
    pub task: String,
    /// See [`Session::environment`].
    pub environment: String,
    /// See [`Session::build`].
    pub build: String,
    /// See [`Session::owner`].
    pub owner: String,
    /// See [`Session::command`].
    pub command: Vec<String>,
    /// See [`Session::directory`].
    pub directory: String,
    /// See [`Session::repository`].
    pub repository: Option<String>,
    /// See [`Session::size`].
    pub size: Size,
}

impl Session {
    /// How many messages wait for a VM that is not running.
    pub const INBOX: usize = 64;

    /// A new session and what is to be done first: find it a place.
    #[must_use]
    pub fn new(new: NewSession, now: UnixMillis) -> (Self, Vec<Effect>) {
        let NewSession { id, slug, title, task, environment, build, owner, command, directory, repository, size } = new;
        let session = Self {
            id,
            slug,
            title,
            task,
            environment,
            build,
            owner,
            command,
            directory,
            repository,
            size,
            lifecycle: Lifecycle::Queued,
            activity: Activity::Working,
            text: String::new(),
            choices: Vec::new(),
            generation: 0,
            inbox: Vec::new(),
            wake: false,
            deleting: false,
            created_at: now,
            updated_at: now,
        };
        (session, vec![Effect::Admit])
    }

    /// What its branches begin with: it may push to these alone.
    #[must_use]
    pub fn branch_prefix(&self) -> String {
        format!("agent/{}/", self.slug)
    }
}

/// A VM's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Size {
    /// Virtual processors.
    pub vcpus: u32,
    /// Bytes of memory.
    pub memory: u64,
    /// Bytes of disk.
    pub disk: u64,
}

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
    Stopped,
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
            Self::Stopped => "stopped",
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
    /// The link went down and did not come back in time.
    LinkLost,
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

/// What the agent says of itself. Foreign: [`step`] bounds and cleans it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// What it is doing.
    pub activity: Activity,
    /// In its words.
    pub text: String,
    /// Answers it offers.
    pub choices: Vec<String>,
}

/// What the machine is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// A person: end it and forget it.
    Delete,
    /// A person: boot it again from its disk.
    Restart,
    /// A person or the policy: put it to disk.
    Suspend,
    /// A person or an event: bring it back.
    Resume,
    /// A person: type this to the agent.
    Send {
        /// Without a line end.
        text: String,
    },
    /// The host has a place for it.
    Admitted,
    /// VM booted, hand shaken, agent started.
    Started {
        /// Of the VM that reports.
        generation: u64,
    },
    /// The start was given up; nothing of the VM is left.
    StartFailed {
        /// Of the VM that was to be.
        generation: u64,
        /// With what to do.
        why: String,
    },
    /// Memory, devices and disk are safe, and the VM is gone.
    Suspended,
    /// The VM runs on.
    SuspendFailed {
        /// With what to do.
        why: String,
    },
    /// The guest has shaken hands.
    Resumed {
        /// Of the VM that reports.
        generation: u64,
    },
    /// The snapshot is as it was.
    ResumeFailed {
        /// With what to do.
        why: String,
    },
    /// The VM is gone.
    VmEnded {
        /// Of the VM that reports.
        generation: u64,
        /// Why.
        cause: Cause,
    },
    /// hostd started and found this session in its store; no VM of it is left.
    HostRestarted,
    /// The agent said something of itself.
    AgentStatus(Status),
    /// The agent's process ended.
    AgentExited {
        /// Exit code; 128 + signal when a signal ended it.
        code: i32,
    },
}

/// What is to be done in the world. Idempotent: a repeat is harmless.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "effect")]
pub enum Effect {
    /// Find it a place; answered by [`Input::Admitted`].
    Admit,
    /// Boot its VM, shake hands, start the agent; answered by [`Input::Started`] or [`Input::StartFailed`].
    Start {
        /// Of the VM to be.
        generation: u64,
    },
    /// Put it to disk; answered by [`Input::Suspended`] or [`Input::SuspendFailed`].
    Suspend,
    /// Bring it back; answered by [`Input::Resumed`] or [`Input::ResumeFailed`].
    Resume {
        /// Of the VM to be.
        generation: u64,
    },
    /// Type this into the agent's terminal, then Enter.
    Type {
        /// Without a line end.
        text: String,
    },
    /// End the VM if there is one, remove every file of the session, forget it.
    Remove,
}

/// A command that is impossible in this state, in words for a person.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Denied(pub String);
