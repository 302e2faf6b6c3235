//! What opens above the lists: help, palette, questions, forms.

use crate::{
    Command, Millis,
    command::Group,
    draft::{Comment, Place},
    edit::Field,
    effect::Call,
    fleet::{EnvironmentKey, Fleet, HostId, SessionKey},
    fuzzy::Search,
    pull::PullKey,
};

/// The dialog on top.
pub enum Dialog {
    /// All keys: the first line shown, and the chapter that they begin with.
    Help(usize, Group),
    /// What was told lately; the first line shown.
    Notices(usize),
    /// Commands by name.
    Palette(Palette),
    /// The answers that an agent offers.
    Answers(Answers),
    /// Yes or no.
    Question(Question),
    /// A new session.
    Form(Box<Form>),
    /// A message to an agent, or a review.
    Message(Message),
    /// Keys for an agent.
    Keys(Keys),
}

/// Commands by name.
pub struct Palette {
    /// What is typed.
    pub field: Field,
    /// The commands that match it, best first.
    pub matches: Vec<Command>,
    /// Which one is selected.
    pub at: usize,
}

impl Palette {
    /// With all commands.
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

    /// Selects another one.
    pub fn step(&mut self, by: isize) {
        self.at = self.at.saturating_add_signed(by).min(self.matches.len().saturating_sub(1));
    }
}

impl Default for Palette {
    fn default() -> Self {
        Self::new()
    }
}

/// The answers that an agent offers, narrowed by typing.
pub struct Answers {
    /// Whom they are for.
    pub session: SessionKey,
    /// Its name.
    pub name: String,
    /// All that it offers.
    pub choices: Vec<String>,
    /// When its question was changed last.
    pub asked_at: Millis,
    /// What is typed: words of an answer, or its number.
    pub field: Field,
    /// The answers that match it, best first, counted from 0.
    pub matches: Vec<usize>,
    /// Which one of these is selected.
    pub at: usize,
}

impl Answers {
    /// With all of them.
    #[must_use]
    pub fn new(session: SessionKey, name: String, choices: Vec<String>, asked_at: Millis) -> Self {
        let mut answers = Self { session, name, choices, asked_at, field: Field::line(), matches: Vec::new(), at: 0 };
        answers.refilter();
        answers
    }

    /// Finds the matching answers anew.
    pub fn refilter(&mut self) {
        let mut search = Search::new(self.field.text());
        let number = self.field.text().trim().parse::<usize>().ok();
        let mut scored: Vec<_> = (0..self.choices.len())
            .filter_map(|n| {
                let score = search.score(&[&self.choices[n]], &[&(n + 1).to_string()])?;
                // A number means its answer, whatever else it stands in.
                Some((number != Some(n + 1), std::cmp::Reverse(score), n))
            })
            .collect();
        if !self.field.is_empty() {
            scored.sort();
        }
        self.matches = scored.into_iter().map(|(.., n)| n).collect();
        self.at = 0;
    }

    /// Selects another one.
    pub fn step(&mut self, by: isize) {
        self.at = self.at.saturating_add_signed(by).min(self.matches.len().saturating_sub(1));
    }
}

/// Yes or no, before something is ended or removed.
pub struct Question {
    /// What is asked; names the thing.
    pub title: String,
    /// What will happen.
    pub text: String,
    /// What is done then.
    pub then: Then,
    /// Whose name to tell when it is done.
    pub about: String,
    /// What can be looked at instead: what is newer than this commit of this pull request.
    pub show: Option<(PullKey, String)>,
}

/// What is done after a yes.
pub enum Then {
    /// A host is asked this.
    Call(HostId, Call),
    /// This answer is sent.
    Answer {
        /// To whom.
        session: SessionKey,
        /// What it offers.
        choice: String,
        /// When its question was changed last.
        asked_at: Millis,
    },
    /// The console ends.
    Quit,
    /// The text of a verdict on this commit of this pull request is written.
    Review {
        /// Which pull request.
        key: PullKey,
        /// The commit.
        head: String,
        /// comment, approve or request-changes.
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
    /// Which environment.
    Environment,
    /// What to call it.
    Title,
    /// What to do.
    Task,
}

/// A new session. What was typed stays until it was created.
pub struct Form {
    /// To choose from.
    pub environments: Vec<EnvironmentKey>,
    /// Which one.
    pub chosen: usize,
    /// Somebody chose it: it stays, whatever else is there by and by.
    pub by_hand: bool,
    /// What to call it.
    pub title: Field,
    /// What to do.
    pub task: Field,
    /// The field that has the keyboard.
    pub focus: FormField,
    /// Why it was not created.
    pub error: Option<String>,
    /// The call that is under way.
    pub sending: Option<u64>,
}

impl Form {
    /// Empty, with the environments that there are; the likely one chosen if it is there.
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

    /// The chosen one.
    #[must_use]
    pub fn environment(&self) -> Option<&EnvironmentKey> {
        self.environments.get(self.chosen)
    }

    /// Chooses another one, around the ends.
    pub fn choose(&mut self, by: isize) {
        self.by_hand = true;
        let all = self.environments.len().max(1);
        self.chosen = (self.chosen + all).saturating_add_signed(by) % all;
    }

    /// The text field that has the keyboard.
    pub fn field(&mut self) -> Option<&mut Field> {
        match self.focus {
            FormField::Environment => None,
            FormField::Title => Some(&mut self.title),
            FormField::Task => Some(&mut self.task),
        }
    }

    /// Goes to the next field, or the previous one, around the ends.
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
    /// The agent of this session.
    Session(SessionKey),
    /// The readers of this pull request.
    Pull {
        /// Which.
        key: PullKey,
        /// The commit that was shown.
        head: String,
        /// The head that was known then.
        newest: String,
        /// comment, approve or request-changes.
        verdict: &'static str,
        /// What was drafted goes along.
        along: bool,
    },
    /// A line or a thread of this pull request; kept until a verdict takes it along.
    Place {
        /// Which pull request.
        key: PullKey,
        /// Where.
        place: Place,
    },
}

impl Target {
    /// The pull request that it is on.
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
    /// On which pull request.
    pub key: PullKey,
    /// The commit that was shown.
    pub head: String,
    /// comment, approve or request-changes.
    pub verdict: &'static str,
    /// In words.
    pub body: String,
    /// What was drafted goes along.
    pub along: bool,
    /// The commit is known to be an earlier revision's.
    pub older: bool,
    /// What to call it.
    pub name: String,
}

/// A message to an agent, or a review.
pub struct Message {
    /// To whom.
    pub target: Target,
    /// Its name.
    pub name: String,
    /// What is typed.
    pub field: Field,
    /// Why it was not sent.
    pub error: Option<String>,
    /// The call that is under way.
    pub sending: Option<u64>,
}

/// Keys for an agent: each goes to it as it is pressed, in order.
pub struct Keys {
    /// Of whose session.
    pub session: SessionKey,
    /// Its name.
    pub name: String,
    /// Those that were sent, the last ones.
    pub sent: Vec<String>,
    /// Those that were pressed since the call under way began.
    pub waiting: Vec<String>,
    /// Why some were not sent.
    pub error: Option<String>,
    /// The call that is under way.
    pub sending: Option<u64>,
}

/// A call under way: what to tell when it is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Whom.
    pub host: HostId,
    /// What.
    pub call: Call,
    /// What is done, e.g. "Deleted x".
    pub done: String,
    /// What is to be done, e.g. "delete x".
    pub what: String,
    /// The session whose question it answers, as it was changed last then.
    pub question: Option<(SessionKey, Millis)>,
    /// The pull request that it reviews, and what of its draft goes along.
    pub review: Option<(PullKey, Vec<Comment>)>,
}

impl Asked {
    /// For this call, about something of this name.
    #[must_use]
    pub fn of(call: Call, host: HostId, about: &str) -> Self {
        let (done, what) = match &call {
            Call::Create { .. } => ("Created", "create"),
            Call::Send(..) => ("Sent to", "send to"),
            Call::Press(..) => ("Pressed for", "press keys for"),
            Call::Delete(_) => ("Deleted", "delete"),
            Call::Restart(_) => ("Restarting", "restart"),
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
            Call::ReadPull(_) => ("Read", "read"),
        };
        let (done, what) = (format!("{done} {about}"), format!("{what} {about}"));
        Self { host, call, done, what, question: None, review: None }
    }
}
