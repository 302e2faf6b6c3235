use serde::{Deserialize, Serialize};

use super::{
    Activity, Answer, Answered, Delivered, Due, Effect, Lifecycle, Message, Pull, RestartPolicy, TypedEvents, Wait,
    WaitFor, agent,
};
use crate::{
    ForgeId, UnixMillis,
    profile::{AfterRateLimit, Answers},
    recipe::Egress,
    reports::{Report, Reports, Source, activity},
    signs::Sign,
    usage::Spending,
};

/// How the notice of a suspend that failed begins.
pub(super) const NOT_SUSPENDED: &str = "could not be suspended: ";

/// A session as the store keeps it. `attention` and its reason are derived, never stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Id of the session: a ULID of 26 characters.
    pub id: String,
    /// Unique on its host; the hostname of its VM and part of its branches.
    pub slug: String,
    /// Title for people; at most 120 characters.
    pub title: String,
    /// Task that the agent is given; may be empty.
    pub task: String,
    /// Name of the environment that the session was made from.
    pub environment: String,
    /// Id of the environment's build that the session runs on.
    pub build: String,
    /// User name of whoever created the session.
    pub owner: String,
    /// Command of the agent: program and arguments.
    pub command: Vec<String>,
    /// Absolute path in the guest where the agent starts.
    pub directory: String,
    /// Forge that the session's repository and pull requests are on.
    #[serde(default)]
    pub forge: ForgeId,
    /// Name of the forge's repository that the guest may read, and write under its own branches.
    pub repository: Option<String>,
    /// Size of the session's VM.
    pub size: Size,
    /// State of the session's VM.
    pub lifecycle: Lifecycle,
    /// What the agent is doing; kept over a suspend.
    pub activity: Activity,
    /// What the agent said with its last status, or how its process ended.
    pub text: String,
    /// Answers that the agent offers with [`Activity::NeedsInput`].
    pub choices: Vec<String>,
    /// What was reported of what the agent does, by whom; see [`crate::reports`].
    #[serde(default)]
    pub reports: Reports,
    /// What the agent's terminal shows; counts only while `activity` is [`Activity::Working`].
    #[serde(default)]
    pub sign: Sign,
    /// When the agent last gave a status, or was last sent a message.
    #[serde(default)]
    pub spoke_at: UnixMillis,
    /// Number of the VM's life: one higher with each start and resume; 0 before the first.
    pub generation: u64,
    /// Whether an agent was ever started in the session.
    #[serde(default)]
    pub began: bool,
    /// Whether the agent's program is started with the task in its command.
    #[serde(default)]
    pub given_task: bool,
    /// How the agent's process of this generation ended, if it has: its exit code, or 128 + signal.
    pub exited: Option<i32>,
    /// What went wrong with the session's cloning, suspend or resume, or with its repository, in words for a person; empty:
    /// nothing.
    pub notice: String,
    /// Messages for the agent, oldest first; at most [`Session::INBOX`]. Each stays until the agent has read it.
    pub inbox: Vec<Message>,
    /// Id of the last message that was posted or pressed; 0: none was.
    #[serde(default)]
    pub sent: u64,
    /// Whether the oldest message is on its way to the guest.
    pub typing: bool,
    /// Whether the guest has the oldest message and the agent has not read it.
    #[serde(default)]
    pub unread: bool,
    /// Whether the session is to be resumed as soon as its suspend is done, because something arrived for the agent meanwhile.
    pub wake: bool,
    /// Whether a suspended session is to be resumed as soon as there is room.
    #[serde(default)]
    pub wanted: bool,
    /// Why the session waits for room, in words for a person; empty: it does not wait, or the host has not answered yet.
    #[serde(default)]
    pub waiting: String,
    /// Whether the VM stands still for a moment because the session is being forked, or a checkpoint is taken of it.
    #[serde(default)]
    pub forking: bool,
    /// Id of the session that this one is a fork of; None: it is no fork.
    #[serde(default)]
    pub forked_from: Option<String>,
    /// The agent's `session wait` that is to be answered; None: the agent does not wait by command.
    #[serde(default)]
    pub wait: Option<Wait>,
    /// The agent's next wait, which began before the last answer was known to have arrived.
    #[serde(default)]
    pub next_wait: Option<Wait>,
    /// Answer to `wait`, or what is to be typed for an agent that has ended its turn; kept until the agent has it.
    #[serde(default)]
    pub answer: Option<Answer>,
    /// Whether the answer is being handed over to the guest.
    #[serde(default, alias = "telling")]
    pub delivering: bool,
    /// Id of the last wait that this boot of the guest reported; 0: none.
    #[serde(default)]
    pub asked: u64,
    /// The session's pull request as last read from the forge; None: there is none.
    #[serde(default)]
    pub pull: Option<Pull>,
    /// What was delivered to the agent of each of the session's pull requests, the last delivered last; at most 16.
    #[serde(default, alias = "told")]
    pub delivered: Vec<Delivered>,
    /// Id of the last review that the agent was told of, in records of before `delivered` was kept; else 0.
    #[serde(default)]
    pub reviews_told: u64,
    /// Which results of checks and reviews are typed into the agent's terminal.
    #[serde(default)]
    pub typed_events: TypedEvents,
    /// Keys that answer the agent's program where it asks for a permission.
    #[serde(default)]
    pub answers: Answers,
    /// The last permission that a person answered by these keys.
    #[serde(default)]
    pub answered: Option<Answered>,
    /// What becomes of an agent that a limit of its model has stopped, when that is over.
    #[serde(default)]
    pub after_rate_limit: AfterRateLimit,
    /// Whether hooks of the agent's program are to report what it does. False of sessions of before this was kept.
    #[serde(default)]
    pub hooks: bool,
    /// Whether the agent can be started again with its conversation.
    #[serde(default)]
    pub resumes: bool,
    /// When the last refusal of its model's API came after which the agent was sent something, by a person or to have it go on; 0: there
    /// was none.
    #[serde(default)]
    pub went_on: UnixMillis,
    /// Number of times that the agent has gone on after a limit since its model has answered.
    #[serde(default)]
    pub limit_tries: u32,
    /// Whether the agent has ever said that its turn was over.
    #[serde(default)]
    pub tells_turns: bool,
    /// Name of the last process that the guest's kernel killed for want of memory since the agent's last status; empty: none.
    #[serde(default)]
    pub oom_killed: String,
    /// Space left on the guest's disk while it is full, in words; empty: it is not full.
    #[serde(default)]
    pub guest_disk_full: String,
    /// Whether the session starts again by itself after a crash; None: it does not.
    #[serde(default)]
    pub restart: Option<RestartPolicy>,
    /// When the session crashed, of crashes in a row since a person last restarted it, oldest first; at most one more than its policy
    /// restarts it for. Empty where it has none.
    #[serde(default)]
    pub crashes: Vec<UnixMillis>,
    /// When the session's VM last came up; 0 in records of before that was kept, or before the first.
    #[serde(default)]
    pub up_at: UnixMillis,
    /// What answers of models took since the session was dispatched.
    #[serde(default)]
    pub spending: Spending,
    /// Amount in millionths of a US dollar that answers of models may cost; None: any.
    #[serde(default)]
    pub budget: Option<u64>,
    /// Destinations that people have allowed beside those of the recipe, the last one last; at most 64.
    #[serde(default)]
    pub allowed: Vec<Egress>,
    /// Whether somebody asked to delete the session; its record goes once [`Effect::Remove`] is done.
    pub deleting: bool,
    /// When the session was dispatched.
    pub created_at: UnixMillis,
    /// When the session last changed; never falls.
    pub updated_at: UnixMillis,
    /// When the turn last changed, see [`crate::attention()`]; 0 in records of before that was kept.
    #[serde(default)]
    pub turned_at: UnixMillis,
}

/// The values that a session is created with.
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
    pub typed_events: TypedEvents,
    /// See [`Session::answers`].
    pub answers: Answers,
}

/// The values in which a fork differs from the session that it is made from.
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
    /// See [`Session::budget`]; 0: none. None: that of the session that it is made from. What that has spent does not count.
    pub budget: Option<u64>,
}

impl Session {
    /// Most messages that may wait in [`Session::inbox`].
    pub const INBOX: usize = 64;
    /// Most destinations in [`Session::allowed`].
    pub const ALLOWED: usize = 64;
    /// Longest text of a message, in bytes.
    pub const MESSAGE: usize = 32 << 10;

    /// Creates a queued session. The returned effect asks for its place on the host.
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
            answers,
        } = new;
        let mut session = Self {
            id,
            slug,
            title,
            task,
            environment,
            build,
            owner,
            command,
            directory,
            forge: ForgeId::local(),
            repository,
            size,
            lifecycle: Lifecycle::Queued,
            activity: Activity::Working,
            text: String::new(),
            choices: Vec::new(),
            reports: Reports::default(),
            sign: Sign::Nothing,
            spoke_at: now,
            generation: 0,
            began: false,
            given_task: false,
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
            delivering: false,
            asked: 0,
            pull: None,
            delivered: Vec::new(),
            reviews_told: 0,
            typed_events,
            answers,
            answered: None,
            after_rate_limit: AfterRateLimit::default(),
            hooks: false,
            resumes: false,
            went_on: 0,
            limit_tries: 0,
            tells_turns: false,
            oom_killed: String::new(),
            guest_disk_full: String::new(),
            restart: None,
            crashes: Vec::new(),
            up_at: 0,
            spending: Spending::default(),
            budget: None,
            allowed: Vec::new(),
            deleting: false,
            created_at: now,
            updated_at: now,
            turned_at: now,
        };
        session.given_task = session.names_task();
        (session, vec![Effect::Admit])
    }

    /// Creates a fork from this session's snapshot, suspended and wanted; the returned effects ask for its place on the host.
    /// Messages, answer and pull request are this session's alone; what its agent waits for, the fork's agent waits for too.
    #[must_use]
    pub fn fork(&self, new: NewFork, now: UnixMillis) -> (Self, Vec<Effect>) {
        let NewFork { id, slug, title, owner, budget } = new;
        let mut fork = Self {
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
            delivering: false,
            pull: None,
            delivered: Vec::new(),
            reviews_told: 0,
            crashes: Vec::new(),
            spending: Spending::default(),
            answered: None,
            // Its budget is another one, and what its model's API says of the credential it will hear itself.
            reports: Reports { gateway: None, typed_at: 0, ..self.reports.clone() },
            went_on: 0,
            limit_tries: 0,
            budget: budget.or(self.budget).filter(|budget| *budget > 0),
            deleting: false,
            created_at: now,
            updated_at: now,
            turned_at: now,
            ..self.clone()
        };
        let mut effects = vec![Effect::Admit];
        if self.reports.refusal().is_some() && fork.wait.is_none() && fork.exited.is_none() && self.reported().is_some()
        {
            effects.extend(agent::follow(&mut fork));
        }
        effects.extend(fork.wait.is_some().then_some(Effect::Observe));
        (fork, effects)
    }

    /// Why the session is not suspended once its suspend is over, and what to do; None: it was suspended, also where it was
    /// resumed since.
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

    /// Whether the task is in the agent's command.
    pub(super) fn names_task(&self) -> bool {
        !self.task.is_empty() && self.command.iter().any(|word| word.contains(&self.task))
    }

    /// Whether the agent's program was started with its task and has not begun with it: one that reports idle before its first turn
    /// has not ended it.
    #[must_use]
    pub fn begins_task(&self) -> bool {
        self.given_task && self.reports.turn_at == 0
    }

    /// Whether the session may be suspended once its grace is over: it runs, its agent waits for something or has ended, and
    /// nothing is on its way to the agent.
    #[must_use]
    pub fn waits(&self) -> bool {
        let quiet = self.activity != Activity::Working || self.exited.is_some();
        let taking = self.typing || self.delivering || self.has_something();
        quiet && self.lifecycle == Lifecycle::Running && !taking && !self.forking && !self.deleting
    }

    /// The report that `activity` follows, and whose it is; None: nobody has reported anything, or something has come since that
    /// counts more, such as a wait of the agent's or a message for it.
    #[must_use]
    pub fn reported(&self) -> Option<(Source, Report)> {
        let free = self.wait.is_none() && self.exited.is_none();
        let (source, report) = self.reports.all_in_all().filter(|_| free)?;
        (activity(source, report.state) == self.activity).then_some((source, report))
    }

    /// Whether there is an answer or a message that the agent could be given now. A message that the guest has is not counted.
    #[must_use]
    pub fn has_something(&self) -> bool {
        let waits_for_message = self.wait.as_ref().is_some_and(|wait| wait.what == WaitFor::Message);
        let message = match self.next_message() {
            // The terminal is taken by the one before.
            Some(message) if self.unread => waits_for_message && message.is_line(),
            next => next.is_some(),
        };
        // An answer that is typed needs the terminal, too.
        let answer = self.answer.is_some() && (self.wait.is_some() || !self.unread);
        self.exited.is_none() && (answer || message)
    }

    /// The answer that the agent's wait is to be given next; None: it does not wait, or there is no answer yet.
    #[must_use]
    pub fn due(&self) -> Option<Due> {
        let wait = self.wait.as_ref().filter(|_| self.exited.is_none())?;
        let of_message = || {
            let message = self.next_message().filter(|message| wait.what == WaitFor::Message && message.is_line())?;
            Some(Answer::Message { text: message.text.clone() })
        };
        let answer = self.answer.clone().or_else(of_message)?;
        Some(Due { wait: wait.id, answer })
    }

    /// The oldest message that the guest has not got.
    #[must_use]
    pub fn next_message(&self) -> Option<&Message> {
        self.inbox.get(usize::from(self.unread))
    }

    /// What the agent does, as the API and `--json` say it: the word of its [`Activity`], `not-started` before the agent is
    /// started, `ended` where the VM ended before the agent was done.
    #[must_use]
    pub fn doing(&self) -> &'static str {
        match &self.lifecycle {
            Lifecycle::Queued | Lifecycle::Starting => "not-started",
            Lifecycle::Crashed { cause } if cause.never_started() => "not-started",
            Lifecycle::Stopped { .. } | Lifecycle::Crashed { .. } if !self.activity.is_over() => "ended",
            _ => self.activity.word(),
        }
    }

    /// Since when it has been the turn of whoever has it.
    #[must_use]
    pub fn turn_since(&self) -> UnixMillis {
        if self.turned_at == 0 { self.updated_at } else { self.turned_at }
    }

    /// The agent's wait, while no answer to it is known.
    #[must_use]
    pub fn open_wait(&self) -> Option<&Wait> {
        self.wait.as_ref().filter(|_| self.answer.is_none())
    }

    /// Whether the session is on its way between memory and disk, or stands still to be forked. One that waits for room is not.
    #[must_use]
    pub fn moves(&self) -> bool {
        match self.lifecycle {
            Lifecycle::Suspending | Lifecycle::Resuming => true,
            Lifecycle::Suspended => self.wanted && self.waiting.is_empty(),
            _ => self.forking,
        }
    }

    /// Whether the agent was at work when it was ended from outside, or ended badly by itself.
    #[must_use]
    pub fn was_interrupted(&self) -> bool {
        use Activity::{WaitingChecks, WaitingReview, Working};
        match self.exited {
            Some(code) => code != 0,
            None => {
                let ended = matches!(self.lifecycle, Lifecycle::Stopped { .. } | Lifecycle::Crashed { .. });
                ended && self.began && matches!(self.activity, Working | WaitingChecks | WaitingReview)
            }
        }
    }

    /// The session's budget, where answers of models have used it up.
    #[must_use]
    pub fn used_up(&self) -> Option<u64> {
        self.budget.filter(|budget| self.spending.micros >= *budget)
    }

    /// Whether the session waits for a place on the host: to start, or to be resumed.
    #[must_use]
    pub fn waits_for_room(&self) -> bool {
        self.lifecycle == Lifecycle::Queued || self.wanted
    }

    /// Gives the message the next id and puts it at the inbox's end, to be typed when the agent is there to read it.
    pub fn post(&mut self, message: Message) {
        self.sent += 1;
        self.inbox.push(Message { id: self.sent, ..message });
    }

    /// Prefix of the session's branches below `refs/heads/`, with a slash at its end: the guest may push to these alone.
    #[must_use]
    pub fn branch_prefix(&self) -> String {
        format!("agent/{}/", self.slug)
    }
}

/// Size of a VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Size {
    /// Number of virtual processors.
    pub vcpus: u32,
    /// Bytes of memory.
    pub memory: u64,
    /// Bytes of disk.
    pub disk: u64,
}
