use serde::{Deserialize, Serialize};

use super::{Activity, Answer, Effect, Lifecycle, Message, Pull, Told, Wait, WaitFor};
use crate::{UnixMillis, signs::Sign};

/// How the notice of a suspend that failed begins.
pub(super) const NOT_SUSPENDED: &str = "could not be suspended: ";

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
    /// What its terminal shows, which counts while it says that it works.
    #[serde(default)]
    pub sign: Sign,
    /// When the agent last said something of itself, or was last sent something.
    #[serde(default)]
    pub spoke_at: UnixMillis,
    /// One higher with each start, resume or clone; 0 before the first.
    pub generation: u64,
    /// How the agent's process of this generation ended, if it has: its exit code, or 128 + signal.
    pub exited: Option<i32>,
    /// What went wrong with its cloning, or with the last suspend or resume; empty: nothing.
    pub notice: String,
    /// Messages for the agent, oldest first; at most [`Session::INBOX`]. Each stays until the agent has read it.
    pub inbox: Vec<Message>,
    /// Id of the last message that was sent.
    #[serde(default)]
    pub sent: u64,
    /// The oldest message is on its way to the guest.
    pub typing: bool,
    /// The guest has the oldest message, and the agent has not read it.
    #[serde(default)]
    pub unread: bool,
    /// Something arrived for the agent while it was being suspended: resume at once.
    pub wake: bool,
    /// While suspended: somebody wants it back, and it waits for room.
    #[serde(default)]
    pub wanted: bool,
    /// Why it waits for room, while it does; empty: it does not, or nobody has looked yet.
    #[serde(default)]
    pub waiting: String,
    /// Its VM stands still for a moment, because it is being forked.
    #[serde(default)]
    pub forking: bool,
    /// Id of the session that it is a fork of.
    #[serde(default)]
    pub forked_from: Option<String>,
    /// What its agent waits for by command, asleep.
    #[serde(default)]
    pub wait: Option<Wait>,
    /// The wait after it, which began before the answer to it was known to have arrived.
    #[serde(default)]
    pub next_wait: Option<Wait>,
    /// What answers the first, until the agent has it.
    #[serde(default)]
    pub answer: Option<Answer>,
    /// The answer is being handed over.
    #[serde(default)]
    pub telling: bool,
    /// The last thing that this boot of the guest asked for.
    #[serde(default)]
    pub asked: u64,
    /// Its pull request, as last seen.
    #[serde(default)]
    pub pull: Option<Pull>,
    /// What the agent was told of its pull requests, the last one last.
    #[serde(default)]
    pub told: Vec<Told>,
    /// The last review that it was told of, in a record of before `told`.
    #[serde(default)]
    pub reviews_told: u64,
    /// Its agent cannot wait by command: what it would wait for is typed into its terminal.
    #[serde(default)]
    pub typed_events: bool,
    /// The last process that its guest's kernel killed for want of memory since the agent last said something; empty: none.
    #[serde(default)]
    pub oom_killed: String,
    /// What is left of its guest's disk, in words, while that is full; empty: it is not.
    #[serde(default)]
    pub guest_disk_full: String,
    /// Someone asked to delete it; it is gone when the effect is done.
    pub deleting: bool,
    /// Of dispatch.
    pub created_at: UnixMillis,
    /// Of the last change; never falls.
    pub updated_at: UnixMillis,
    /// Since when it is whose turn it is; 0 in a record of before that was kept.
    #[serde(default)]
    pub turned_at: UnixMillis,
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
    /// See [`Session::typed_events`].
    pub typed_events: bool,
}

/// What tells a fork from the session that it is made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewFork {
    /// See [`Session::id`].
    pub id: String,
    /// See [`Session::slug`].
    pub slug: String,
    /// See [`Session::title`].
    pub title: String,
    /// See [`Session::owner`].
    pub owner: String,
}

impl Session {
    /// How many messages may wait to be typed.
    pub const INBOX: usize = 64;
    /// Longest message that is typed, in bytes.
    pub const MESSAGE: usize = 32 << 10;

    /// A new session and what is to be done first: find it a place.
    #[must_use]
    pub fn new(new: NewSession, now: UnixMillis) -> (Self, Vec<Effect>) {
        let NewSession {
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
            typed_events,
        } = new;
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
            sign: Sign::Nothing,
            spoke_at: now,
            generation: 0,
            exited: None,
            notice: String::new(),
            inbox: Vec::new(),
            sent: 0,
            typing: false,
            unread: false,
            wake: false,
            wanted: false,
            waiting: String::new(),
            forking: false,
            forked_from: None,
            wait: None,
            next_wait: None,
            answer: None,
            telling: false,
            asked: 0,
            pull: None,
            told: Vec::new(),
            reviews_told: 0,
            typed_events,
            oom_killed: String::new(),
            guest_disk_full: String::new(),
            deleting: false,
            created_at: now,
            updated_at: now,
            turned_at: now,
        };
        (session, vec![Effect::Admit])
    }

    /// A fork, made from this session's snapshot, and what is to be done first: find it a place. What waits to be typed, and
    /// the pull request, are this session's alone; what its agent waits for, the fork's waits for too.
    #[must_use]
    pub fn fork(&self, new: NewFork, now: UnixMillis) -> (Self, Vec<Effect>) {
        let NewFork { id, slug, title, owner } = new;
        let fork = Self {
            slug,
            title,
            owner,
            forked_from: Some(self.id.clone()),
            id,
            lifecycle: Lifecycle::Suspended,
            notice: String::new(),
            inbox: Vec::new(),
            typing: false,
            unread: false,
            wake: false,
            wanted: true,
            waiting: String::new(),
            forking: false,
            answer: None,
            telling: false,
            pull: None,
            told: Vec::new(),
            reviews_told: 0,
            deleting: false,
            created_at: now,
            updated_at: now,
            turned_at: now,
            ..self.clone()
        };
        let observe = fork.wait.is_some().then_some(Effect::Observe);
        (fork, std::iter::once(Effect::Admit).chain(observe).collect())
    }

    /// Why it is not on disk when its suspend is over, and what to do; None: it is, or was until somebody had it resumed.
    #[must_use]
    pub fn not_suspended(&self) -> Option<String> {
        let (why, help) = match &self.lifecycle {
            Lifecycle::Running => (self.notice.strip_prefix(NOT_SUSPENDED)?.to_owned(), "it runs on; suspend it again"),
            Lifecycle::Stopped { cause } | Lifecycle::Crashed { cause } => {
                (cause.to_string(), "restart it to boot it from its disk")
            }
            _ => return None,
        };
        // Who knows more of what can be done has said so after a semicolon.
        Some(if why.contains("; ") { why } else { format!("{why}; {help}") })
    }

    /// Whether its VM may be suspended once its grace is over: its agent waits for something, or has ended, and nothing is
    /// on its way to it.
    #[must_use]
    pub fn waits(&self) -> bool {
        let quiet = self.activity != Activity::Working || self.exited.is_some();
        let taking = self.typing || self.telling || self.has_something();
        quiet && self.lifecycle == Lifecycle::Running && !taking && !self.forking && !self.deleting
    }

    /// Whether something is there that its agent could be given now. What the guest has is the agent's to read.
    #[must_use]
    pub fn has_something(&self) -> bool {
        let waits_for_message = self.wait.as_ref().is_some_and(|wait| wait.what == WaitFor::Message);
        let message = match self.next_message() {
            // The terminal is taken by the one before.
            Some(message) if self.unread => waits_for_message && message.is_line(),
            next => next.is_some(),
        };
        self.exited.is_none() && (self.answer.is_some() || message)
    }

    /// The oldest message that no guest has.
    #[must_use]
    pub fn next_message(&self) -> Option<&Message> {
        self.inbox.get(usize::from(self.unread))
    }

    /// Since when it is whose turn it is.
    #[must_use]
    pub fn turn_since(&self) -> UnixMillis {
        if self.turned_at == 0 { self.updated_at } else { self.turned_at }
    }

    /// What its agent waits for, while nothing answers that.
    #[must_use]
    pub fn open_wait(&self) -> Option<&Wait> {
        self.wait.as_ref().filter(|_| self.answer.is_none())
    }

    /// Whether it is on its way between memory and disk, or stands still to be forked. Not while it waits for room.
    #[must_use]
    pub fn moves(&self) -> bool {
        match self.lifecycle {
            Lifecycle::Suspending | Lifecycle::Resuming => true,
            Lifecycle::Suspended => self.wanted && self.waiting.is_empty(),
            _ => self.forking,
        }
    }

    /// Whether it wants a place on the host and has none.
    #[must_use]
    pub fn waits_for_room(&self) -> bool {
        self.lifecycle == Lifecycle::Queued || self.wanted
    }

    /// Puts a message behind those that wait.
    pub(super) fn post(&mut self, message: Message) {
        self.sent += 1;
        self.inbox.push(Message { id: self.sent, ..message });
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
