use serde::{Deserialize, Serialize};

use super::{Activity, Effect, Lifecycle};
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
    /// How the agent's process of this generation ended, if it has: its exit code, or 128 + signal.
    pub exited: Option<i32>,
    /// What went wrong with the last suspend or resume; empty: nothing.
    pub notice: String,
    /// Messages for the agent, oldest first; at most [`Session::INBOX`]. Each stays until it has been typed.
    pub inbox: Vec<String>,
    /// The oldest message is being typed.
    pub typing: bool,
    /// Something arrived for the agent while it was being suspended: resume at once.
    pub wake: bool,
    /// Someone asked to delete it; it is gone when the effect is done.
    pub deleting: bool,
    /// Of dispatch.
    pub created_at: UnixMillis,
    /// Of the last change; never falls.
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
    /// How many messages may wait to be typed.
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
            exited: None,
            notice: String::new(),
            inbox: Vec::new(),
            typing: false,
            wake: false,
            deleting: false,
            created_at: now,
            updated_at: now,
        };
        (session, vec![Effect::Admit])
    }

    /// Whether its VM may be suspended once its grace is over: its agent waits for something, or has ended, and nothing is
    /// on its way to it.
    #[must_use]
    pub fn waits(&self) -> bool {
        let quiet = self.activity != Activity::Working || self.exited.is_some();
        quiet && self.lifecycle == Lifecycle::Running && !self.typing && self.inbox.is_empty() && !self.deleting
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
