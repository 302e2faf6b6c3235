//! What opens above the lists: help, palette, questions, forms.

use crate::{
    Command, Millis,
    edit::Field,
    effect::Call,
    fleet::{EnvironmentKey, Fleet, HostId, SessionKey},
    fuzzy::Fuzzy,
    pull::{LineComment, PullKey},
};

/// The dialog on top.
pub enum Dialog {
    /// All keys; the first line shown.
    Help(usize),
    /// Commands by name.
    Palette(Palette),
    /// Yes or no.
    Question(Question),
    /// A new session.
    Form(Box<Form>),
    /// A message to an agent, or a review.
    Message(Message),
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
        let mut fuzzy = Fuzzy::new(self.field.text());
        let all = Command::ALL.iter().copied().filter(|c| c.in_palette());
        let mut scored: Vec<_> = all
            .filter_map(|command| {
                // The name counts more than its description.
                let by_name = fuzzy.score(command.name()).map(|score| 2 * score + 100);
                let score = by_name.or_else(|| fuzzy.score(command.doc()))?;
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
}

/// What is done after a yes.
pub enum Then {
    /// A host is asked this.
    Call(HostId, Call),
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
    /// Empty, with the environments that there are.
    #[must_use]
    pub fn new(fleet: &Fleet) -> Self {
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
        /// The head that was on the screen.
        head: String,
        /// comment or request-changes.
        verdict: &'static str,
    },
    /// A line of this pull request's head; kept until a verdict takes it along.
    Line {
        /// Which pull request.
        key: PullKey,
        /// The head that was on the screen.
        head: String,
        /// The file there.
        path: String,
        /// From 1.
        line: u32,
    },
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
    pub review: Option<(PullKey, Vec<LineComment>)>,
}

impl Asked {
    /// For this call, about something of this name.
    #[must_use]
    pub fn of(call: Call, host: HostId, about: &str) -> Self {
        let (done, what) = match &call {
            Call::Create { .. } => ("Created", "create"),
            Call::Send(..) => ("Sent to", "send to"),
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
        };
        let (done, what) = (format!("{done} {about}"), format!("{what} {about}"));
        Self { host, call, done, what, question: None, review: None }
    }
}
