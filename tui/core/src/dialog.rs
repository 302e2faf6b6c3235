//! What opens above the lists: help, palette, questions, forms.

use crate::{
    Command, Millis,
    command::Group,
    draft::{Comment, Place},
    edit::Field,
    effect::Call,
    fleet::{EnvironmentKey, Fleet, Refusal, SessionKey},
    fuzzy::Search,
    host_id::HostId,
    pull::PullKey,
};

/// A dialog above everything else.
pub enum Dialog {
    /// All keys: the first line that is shown, and the chapter that they begin with.
    Help(usize, Group),
    /// What was told lately: the first line that is shown.
    Notices(usize),
    /// The commands, by name.
    Palette(Palette),
    /// The answers that an agent offers.
    Answers(Answers),
    /// Which of the destinations that a session was refused it may reach.
    Reach(Reach),
    /// A question with the answers yes and no.
    Question(Question),
    /// The form for a new session.
    Form(Box<Form>),
    /// A message to an agent, or the text of a review.
    Message(Message),
    /// Keys that are pressed for an agent.
    Keys(Keys),
}

/// The palette: commands by name.
pub struct Palette {
    /// Text that is typed.
    pub field: Field,
    /// Commands that match the text, best first.
    pub matches: Vec<Command>,
    /// Place among the matches of the selected one.
    pub at: usize,
}

impl Palette {
    /// A palette with all commands.
    #[must_use]
    pub fn new() -> Self {
        let mut palette = Self { field: Field::line(), matches: Vec::new(), at: 0 };
        palette.refilter();
        palette
    }

    /// Finds the matching commands anew.
    pub fn refilter(&mut self) {
        let mut search = Search::new(self.field.text());
        let all = Command::ALL.iter().copied().filter(|c| c.in_palette());
        let mut scored: Vec<_> = all
            .filter_map(|command| {
                let score = search.score(&[command.name()], &[command.doc()])?;
                Some((std::cmp::Reverse(score), command))
            })
            .collect();
        if !self.field.is_empty() {
            scored.sort();
        }
        self.matches = scored.into_iter().map(|(_, command)| command).collect();
        self.at = 0;
    }

    /// Moves the selection by this many matches.
    pub fn step(&mut self, by: isize) {
        self.at = self.at.saturating_add_signed(by).min(self.matches.len().saturating_sub(1));
    }
}

impl Default for Palette {
    fn default() -> Self {
        Self::new()
    }
}

/// Lines to choose from, narrowed by typing.
pub struct Choices {
    /// Lines, as they are shown.
    pub lines: Vec<String>,
    /// Text that is typed: words of a line, or its number.
    pub field: Field,
    /// Numbers of the lines that match the text, best first, from 0.
    pub matches: Vec<usize>,
    /// Place among the matches of the selected one.
    pub at: usize,
}

impl Choices {
    /// All of these lines.
    #[must_use]
    pub fn new(lines: Vec<String>) -> Self {
        let mut choices = Self { lines, field: Field::line(), matches: Vec::new(), at: 0 };
        choices.refilter();
        choices
    }

    /// Number of the selected line, from 0; None: no line matches.
    #[must_use]
    pub fn chosen(&self) -> Option<usize> {
        self.matches.get(self.at).copied()
    }

    /// Changes the text that is typed, and what matches it.
    pub fn edit(&mut self, change: impl FnOnce(&mut Field)) {
        let before = self.field.text().to_owned();
        change(&mut self.field);
        if self.field.text() != before {
            self.refilter();
        }
    }

    /// Finds the matching lines anew.
    fn refilter(&mut self) {
        let mut search = Search::new(self.field.text());
        let number = self.field.text().trim().parse::<usize>().ok();
        let mut scored: Vec<_> = (0..self.lines.len())
            .filter_map(|n| {
                let score = search.score(&[&self.lines[n]], &[&(n + 1).to_string()])?;
                // A number means its line, whatever else it stands in.
                Some((number != Some(n + 1), std::cmp::Reverse(score), n))
            })
            .collect();
        if !self.field.is_empty() {
            scored.sort();
        }
        self.matches = scored.into_iter().map(|(.., n)| n).collect();
        self.at = 0;
    }

    /// Moves the selection by this many matches.
    pub fn step(&mut self, by: isize) {
        self.at = self.at.saturating_add_signed(by).min(self.matches.len().saturating_sub(1));
    }
}

/// The answers that an agent offers.
pub struct Answers {
    /// The session that the answers are for.
    pub session: SessionKey,
    /// Name of the session.
    pub name: String,
    /// When the agent's question was changed last.
    pub asked_at: Millis,
    /// Answers that the agent offers.
    pub list: Choices,
}

/// What a session was refused, each for it alone, and for sessions of its environment to come as well.
pub struct Reach {
    /// The session that was refused it.
    pub session: SessionKey,
    /// Name of the session.
    pub name: String,
    /// What each line of the list allows: the destination, whether it may lie at a private address, and whether the recipe has it, too.
    pub means: Vec<(String, bool, bool)>,
    /// A line for each of them.
    pub list: Choices,
}

impl Reach {
    /// The choice among these refusals, of which some are nobody's to allow; None: all of them.
    #[must_use]
    pub fn new(session: SessionKey, name: String, environment: &str, refused: &[Refusal]) -> Option<Self> {
        let (mut means, mut lines) = (Vec::new(), Vec::new());
        for refusal in refused.iter().filter(|refusal| refusal.can_be_allowed()) {
            let (destination, private) = (&refusal.destination, refusal.is_private());
            // With the address, where the host tells it: whoever allows it is to see where it leads.
            let at = if private { format!(" ({})", refusal.why) } else { String::new() };
            means.extend([(destination.clone(), private, false), (destination.clone(), private, true)]);
            lines.push(format!("{destination}{at}: this session"));
            lines.push(format!("{destination}{at}: this session, and all of {environment} to come"));
        }
        (!lines.is_empty()).then(|| Self { session, name, means, list: Choices::new(lines) })
    }
}

/// A question with the answers yes and no, before something is ended or removed.
pub struct Question {
    /// What is asked; names the thing.
    pub title: String,
    /// What will happen after a yes.
    pub text: String,
    /// What is done after a yes to a question.
    pub then: Then,
    /// Name of the thing, to be told when it is done.
    pub about: String,
    /// What can be looked at instead: what is newer than this commit of this pull request.
    pub show: Option<(PullKey, String)>,
}

/// What is done after a yes to a question.
pub enum Then {
    /// This host is asked this.
    Call(HostId, Call),
    /// An offered answer is sent to a session's agent.
    Answer {
        /// The session whose agent gets the answer.
        session: SessionKey,
        /// Text of the answer.
        choice: String,
        /// When the agent's question was changed last.
        asked_at: Millis,
    },
    /// The console ends.
    Quit,
    /// The text of a verdict on a pull request is written.
    Review {
        /// The pull request.
        key: PullKey,
        /// Id of the head commit that the verdict is on.
        head: String,
        /// Word of the verdict: comment, approve or request-changes.
        verdict: &'static str,
    },
    /// This verdict is sent.
    Send(Box<Written>),
    /// The review of this pull request that is being written is forgotten.
    Discard(PullKey),
}

/// A field of [`Form`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FormField {
    /// The field of the environment.
    Environment,
    /// The field of the session's title.
    Title,
    /// The field of the agent's task.
    Task,
}

/// The form for a new session. What was typed stays until the session was created.
pub struct Form {
    /// Environments to choose from.
    pub environments: Vec<EnvironmentKey>,
    /// Place among them of the chosen one.
    pub chosen: usize,
    /// Whether the user chose it: then it stays, whatever else is there by and by.
    pub by_hand: bool,
    /// Title of the new session.
    pub title: Field,
    /// Task of the new session's agent.
    pub task: Field,
    /// The field that has the keyboard.
    pub focus: FormField,
    /// Why the last try to create the session failed; None: it did not.
    pub error: Option<String>,
    /// Generation of the ticket of the call that is under way.
    pub sending: Option<u64>,
}

impl Form {
    /// An empty form with the environments that there are; the likely one is chosen if it is there.
    #[must_use]
    pub fn new(fleet: &Fleet, likely: Option<&EnvironmentKey>) -> Self {
        let mut form = Self {
            environments: Vec::new(),
            chosen: 0,
            by_hand: false,
            title: Field::line(),
            task: Field::lines(),
            focus: FormField::Environment,
            error: None,
            sending: None,
        };
        form.refresh(fleet);
        if let Some(at) = likely.and_then(|likely| form.environments.iter().position(|key| key == likely)) {
            form.chosen = at;
        }
        if form.environments.len() == 1 {
            form.focus = FormField::Title;
        }
        form
    }

    /// Takes the environments that there are now. The chosen one stays chosen; where nobody chose, one that is ready is the
    /// likely one.
    pub fn refresh(&mut self, fleet: &Fleet) {
        let chosen = self.environment().cloned();
        self.environments = fleet.environments();
        let place = |of: &dyn Fn(&EnvironmentKey) -> bool| self.environments.iter().position(of);
        let is_ready = |key: &EnvironmentKey| fleet.environment(key).is_some_and(|e| e.state == "ready");
        let stays = chosen.filter(|key| self.by_hand || is_ready(key));
        let same = stays.and_then(|chosen| place(&|key| *key == chosen));
        self.chosen = same.or_else(|| place(&is_ready)).unwrap_or(0);
    }

    /// The chosen environment; None: there is none to choose from.
    #[must_use]
    pub fn environment(&self) -> Option<&EnvironmentKey> {
        self.environments.get(self.chosen)
    }

    /// Moves the choice by this many environments, around the ends.
    pub fn choose(&mut self, by: isize) {
        self.by_hand = true;
        let all = self.environments.len().max(1);
        self.chosen = (self.chosen + all).saturating_add_signed(by) % all;
    }

    /// The text field that has the keyboard; None: the environment has it.
    pub fn field(&mut self) -> Option<&mut Field> {
        match self.focus {
            FormField::Environment => None,
            FormField::Title => Some(&mut self.title),
            FormField::Task => Some(&mut self.task),
        }
    }

    /// Gives the keyboard to the next field, or the previous one, around the ends.
    pub fn step(&mut self, forward: bool) {
        self.focus = match (self.focus, forward) {
            (FormField::Environment, true) | (FormField::Task, false) => FormField::Title,
            (FormField::Title, true) | (FormField::Environment, false) => FormField::Task,
            (FormField::Task, true) | (FormField::Title, false) => FormField::Environment,
        };
    }
}

/// Whom a message is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The message is for the agent of this session.
    Session(SessionKey),
    /// The message is the text of a verdict on a pull request.
    Pull {
        /// The pull request.
        key: PullKey,
        /// Id of the commit that was shown.
        head: String,
        /// Id of the head that was known when the dialog was opened.
        newest: String,
        /// Word of the verdict: comment, approve or request-changes.
        verdict: &'static str,
        /// Whether drafted comments go along.
        along: bool,
    },
    /// The message is a comment on a line or in a thread of a pull request; kept until a verdict takes it along.
    Place {
        /// The pull request.
        key: PullKey,
        /// Line or thread that the comment is about.
        place: Place,
    },
}

impl Target {
    /// The pull request that the message is about; None: it is for an agent.
    #[must_use]
    pub fn pull(&self) -> Option<&PullKey> {
        match self {
            Self::Session(_) => None,
            Self::Pull { key, .. } | Self::Place { key, .. } => Some(key),
        }
    }
}

/// A verdict as it was written.
pub struct Written {
    /// The pull request that the verdict is on.
    pub key: PullKey,
    /// Id of the commit that was shown.
    pub head: String,
    /// Word of the verdict: comment, approve or request-changes.
    pub verdict: &'static str,
    /// Text of the verdict.
    pub body: String,
    /// Whether drafted comments go along.
    pub along: bool,
    /// Whether the commit is known to be an earlier revision's.
    pub older: bool,
    /// Name of the pull request.
    pub name: String,
}

/// A message to an agent, or the text of a review, being written.
pub struct Message {
    /// Whom the message is for.
    pub target: Target,
    /// Name of the session or the pull request.
    pub name: String,
    /// Text that is typed.
    pub field: Field,
    /// Why the last try to send the message failed; None: it did not.
    pub error: Option<String>,
    /// Generation of the ticket of the call that is under way.
    pub sending: Option<u64>,
}

/// Keys for an agent: each goes to it as it is pressed, in order.
pub struct Keys {
    /// The session whose agent gets the keys.
    pub session: SessionKey,
    /// Name of the session.
    pub name: String,
    /// The last keys that were sent.
    pub sent: Vec<String>,
    /// Keys that were pressed since the call under way began.
    pub waiting: Vec<String>,
    /// Why some keys were not sent.
    pub error: Option<String>,
    /// Generation of the ticket of the call that is under way.
    pub sending: Option<u64>,
}

/// A call under way, and what to tell when it is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The host that is asked.
    pub host: HostId,
    /// The call that was made.
    pub call: Call,
    /// What was done, e.g. "Deleted x".
    pub done: String,
    /// What is to be done, e.g. "delete x".
    pub what: String,
    /// The session whose question the call answers, and when that was changed last then.
    pub question: Option<(SessionKey, Millis)>,
    /// The pull request that the call reviews, and the comments of its draft that go along.
    pub review: Option<(PullKey, Vec<Comment>)>,
}

impl Asked {
    /// The words for this call, about something of this name.
    #[must_use]
    pub fn of(call: Call, host: HostId, about: &str) -> Self {
        let (done, what) = match &call {
            Call::Create { .. } => ("Created", "create"),
            Call::Send(..) => ("Sent to", "send to"),
            Call::Press(..) => ("Pressed for", "press keys for"),
            Call::Answer { allow: true, .. } => ("Allowed", "allow"),
            Call::Answer { .. } => ("Denied", "deny"),
            Call::Allow { .. } => ("Allowed", "allow"),
            Call::Delete(_) => ("Deleted", "delete"),
            Call::Restart(_) => ("Restarting", "restart"),
            Call::GoBack(..) => ("Brought back", "bring back"),
            Call::Checkpoint(_) => ("Took a checkpoint of", "take a checkpoint of"),
            Call::Suspend(_) => ("Suspended", "suspend"),
            Call::Resume(_) => ("Resumed", "resume"),
            Call::Fork(_) => ("Forked", "fork"),
            Call::Build(_) => ("Built", "build"),
            Call::Review { verdict: "approve", .. } => ("Approved", "approve"),
            Call::Review { verdict: "request-changes", .. } => ("Requested changes to", "request changes to"),
            Call::Review { .. } => ("Commented on", "comment on"),
            Call::Rerun { .. } => ("Runs again:", "run again:"),
            Call::Merge { .. } => ("Merged", "merge"),
            Call::Resolve { resolved: true, .. } => ("Resolved", "resolve"),
            Call::Resolve { .. } => ("Reopened", "reopen"),
            Call::Close(_) => ("Closed", "close"),
            Call::Reopen(_) => ("Opened again:", "open again"),
            Call::ReadPull(_) | Call::ReadClosed | Call::ReadRefused(_) | Call::ReadStory(..) => ("Read", "read"),
        };
        let (done, what) = (format!("{done} {about}"), format!("{what} {about}"));
        Self { host, call, done, what, question: None, review: None }
    }
}
