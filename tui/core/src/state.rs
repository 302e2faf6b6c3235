//! All that the console knows and shows.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    Effect, Keymap, Millis,
    attach::{Attach, Viewer},
    carry::Carry,
    dialog::{Asked, Dialog, Form, FormField},
    diff::DiffView,
    draft::Draft,
    edit::Field,
    fleet::{EnvironmentKey, Fleet, Permission, Refusal, Session, SessionKey, Turn},
    host_id::HostId,
    key::Key,
    list::List,
    log::LogView,
    notice::Notices,
    preview::Screens,
    pull::{Pull, PullKey},
    story::StoryView,
    terminal::Terminal,
    ticket::{Slot, Ticket},
    when::{Condition, Conditions},
};

/// The lists of the console.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// The list of the sessions of all hosts, by turn.
    Sessions,
    /// The queue of open pull requests.
    Review,
    /// The list of all hosts.
    Hosts,
    /// The list of the environments of all hosts.
    Environments,
    /// The list of crashed sessions.
    Crashes,
}

impl View {
    /// Every list, in the order of the header.
    pub const ALL: [Self; 5] = [Self::Sessions, Self::Review, Self::Hosts, Self::Environments, Self::Crashes];

    /// Name of the list in the header.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Sessions => "Sessions",
            Self::Review => "Review",
            Self::Hosts => "Hosts",
            Self::Environments => "Environments",
            Self::Crashes => "Crashes",
        }
    }
}

/// Filter of a list.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Words that are typed.
    pub field: Field,
    /// Whether the words are being typed.
    pub typing: bool,
}

/// A build that this console watches.
#[derive(Clone, Debug, Default)]
pub struct Building {
    /// Number from 1 of the step under way, and number of steps.
    pub step: (u32, u32),
    /// Name of the step under way.
    pub name: String,
    /// Last lines of output.
    pub output: Vec<String>,
    /// Why the build failed; None: it did not.
    pub failed: Option<String>,
}

impl Building {
    /// Most lines of output that are kept.
    pub const LINES: usize = 200;
}

/// Key of what is selected in a list, if anything is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Detailed {
    Session(Option<SessionKey>),
    Pull(Option<PullKey>),
    Host(Option<HostId>),
    Environment(Option<EnvironmentKey>),
}

/// All that the console knows and shows. [`crate::update`] alone changes it.
pub struct State {
    /// When the state was last changed.
    pub now: Millis,
    /// Columns and rows of the window.
    pub size: (u16, u16),
    /// Keymap; for the help and the hints.
    pub keymap: Arc<Keymap>,
    /// Everything that is known of the hosts.
    pub fleet: Fleet,
    /// The list that is shown.
    pub view: View,
    /// The list of sessions, by turn; headings with their counts.
    pub sessions: List<(Turn, usize), SessionKey>,
    /// The list of open pull requests.
    pub pulls: List<(), PullKey>,
    /// Whether the queue shows closed pull requests, too.
    pub closed_shown: bool,
    /// Name of the check that was chosen, in whichever pull request has one of that name.
    pub check: Option<String>,
    /// Reviews that are being written; none of them is empty.
    pub drafts: BTreeMap<PullKey, Draft>,
    /// Id of the commit of each pull request whose changes were shown last.
    pub seen: BTreeMap<PullKey, String>,
    /// The pull request that is looked at, with all that was said.
    pub whole: Option<(PullKey, Pull)>,
    /// First row shown of the details of what is selected. Of a session and of a long environment they begin at 1: at 0 its
    /// terminal stands there, or a summary.
    pub details: usize,
    /// Destinations that the session was refused whose details are looked at, as far as they were read.
    pub refused: Option<(SessionKey, Vec<Refusal>)>,
    /// The session whose refused destinations are being read, to be asked which of them it may reach.
    pub reaches: Option<SessionKey>,
    /// Whether the selected session's story is shown in the place of its terminal and details.
    pub story_shown: bool,
    /// The story of the selected session, while it or the details are shown.
    pub story: Option<StoryView>,
    /// The list of all hosts.
    pub hosts: List<(), HostId>,
    /// The list of environments.
    pub environments: List<(), EnvironmentKey>,
    /// The list of crashed sessions, the latest first.
    pub crashes: List<(), SessionKey>,
    /// Filters of the lists, in the order of [`View::ALL`].
    pub filters: [Filter; 5],
    /// Whether the preview is wanted.
    pub preview_shown: bool,
    /// The terminal beside the list.
    pub preview: Option<Viewer>,
    /// Last screens of sessions that are not shown.
    pub screens: Screens,
    /// The terminal in the whole window.
    pub attach: Option<Attach>,
    /// The log in the whole window.
    pub log: Option<LogView>,
    /// The changes in the whole window.
    pub diff: Option<DiffView>,
    /// The dialog on top.
    pub dialog: Option<Dialog>,
    /// A form for a new session that was begun and put away.
    pub draft: Option<Box<Form>>,
    /// The environment that the last session was created in here.
    pub environment_used: Option<EnvironmentKey>,
    /// Messages to agents that were begun and put away.
    pub unsent: BTreeMap<SessionKey, Field>,
    /// Builds that this console watches, or that failed.
    pub builds: BTreeMap<EnvironmentKey, Building>,
    /// What ends with the console, in a sentence; leaving asks then.
    pub ends_with_it: Option<String>,
    /// Notices that are shown and remembered.
    pub notices: Notices,
    /// Whether the window has the keyboard, as far as its terminal tells.
    pub focused: bool,
    /// Keys of a chord that is not complete.
    pub pending: Vec<Key>,
    /// Calls under way, by their ticket's generation.
    pub(crate) calls: BTreeMap<u64, Asked>,
    /// The call that reads a whole pull request, by its ticket's generation, and when that was changed last by then.
    pub(crate) reading_pull: Option<(u64, PullKey, Millis)>,
    /// Comments that are on their way to another revision.
    pub(crate) carry: Option<Carry>,
    /// Pairs of commits between which comments were carried: from, to.
    pub(crate) carried: BTreeSet<(PullKey, String, String)>,
    /// Title and task of the form for a new session, as they are kept.
    pub(crate) form_kept: (String, String),
    /// When what is being typed is to be kept.
    pub(crate) keep_at: Option<Millis>,
    /// Builds under way, by their ticket's generation.
    pub(crate) building: BTreeMap<u64, EnvironmentKey>,
    /// What happens to text that a program wants on the clipboard.
    pub copy: crate::copy::Policy,
    /// Whether the bell rings when it becomes a person's turn.
    pub bell: bool,
    /// Whether to become the writer as soon as the attached terminal is there.
    pub(crate) take_when_live: bool,
    /// Whether the lists are older than the fleet.
    pub(crate) stale: bool,
    /// Key of what the details were shown of last.
    pub(crate) detailed: Option<Detailed>,
    /// Whether the filter of the shown list was changed by typing.
    pub(crate) filter_typed: bool,
    /// Whether the last update may have changed what is shown.
    pub(crate) visible: bool,
    /// Lines about whose turn it has become by the update under way, and why.
    pub(crate) alerts: Vec<String>,
    /// Whether they ring the bell: a program's own bell has not rung for all of them.
    pub(crate) alerts_ring: bool,
    /// Effects of the update under way.
    pub(crate) out: Vec<Effect>,
    generation: u64,
}

impl State {
    /// A console of hosts that were not heard from yet, in a window of this size.
    #[must_use]
    pub fn new(
        hosts: impl IntoIterator<Item = (HostId, String)>,
        keymap: Arc<Keymap>,
        size: (u16, u16),
        now: Millis,
    ) -> Self {
        let mut state = Self {
            now,
            size,
            keymap,
            fleet: Fleet::new(hosts),
            view: View::Sessions,
            sessions: List::default(),
            pulls: List::default(),
            closed_shown: false,
            check: None,
            drafts: BTreeMap::new(),
            seen: BTreeMap::new(),
            whole: None,
            details: 0,
            refused: None,
            reaches: None,
            story_shown: false,
            story: None,
            hosts: List::default(),
            environments: List::default(),
            crashes: List::default(),
            filters: Default::default(),
            preview_shown: true,
            preview: None,
            screens: Screens::default(),
            attach: None,
            log: None,
            diff: None,
            dialog: None,
            draft: None,
            environment_used: None,
            unsent: BTreeMap::new(),
            builds: BTreeMap::new(),
            ends_with_it: None,
            notices: Notices::default(),
            focused: true,
            pending: Vec::new(),
            calls: BTreeMap::new(),
            reading_pull: None,
            carry: None,
            carried: BTreeSet::new(),
            form_kept: Default::default(),
            keep_at: None,
            building: BTreeMap::new(),
            copy: crate::copy::Policy::default(),
            bell: true,
            take_when_live: false,
            stale: false,
            detailed: None,
            filter_typed: false,
            visible: true,
            alerts: Vec::new(),
            alerts_ring: false,
            out: Vec::new(),
            generation: 0,
        };
        state.rebuild();
        state
    }

    /// Whether the last update may have changed what is shown. Keys that only go to a program change nothing here.
    #[must_use]
    pub fn changed(&self) -> bool {
        self.visible
    }

    /// A new ticket for a slot; none is used twice.
    pub(crate) fn ticket(&mut self, slot: Slot) -> Ticket {
        self.generation += 1;
        Ticket { slot, generation: self.generation }
    }

    /// Filter of the shown list.
    #[must_use]
    pub fn filter(&self) -> &Filter {
        &self.filters[self.view as usize]
    }

    pub(crate) fn filter_mut(&mut self) -> &mut Filter {
        &mut self.filters[self.view as usize]
    }

    /// Key of the session that commands are about, in the lists that have some.
    #[must_use]
    pub fn selected_key(&self) -> Option<&SessionKey> {
        match self.view {
            View::Sessions => self.sessions.selected(),
            View::Crashes => self.crashes.selected(),
            View::Review | View::Hosts | View::Environments => None,
        }
    }

    /// The session that commands are about, with its key.
    #[must_use]
    pub fn selected(&self) -> Option<(&SessionKey, &Session)> {
        let key = self.selected_key()?;
        Some((key, self.fleet.session(key)?))
    }

    /// Number of rows that the shown list would fill.
    #[must_use]
    pub fn rows_wanted(&self) -> usize {
        match self.view {
            View::Sessions => self.sessions.rows().len(),
            View::Review => self.pulls.rows().len(),
            View::Hosts => self.hosts.rows().len(),
            View::Environments => self.environments.rows().len(),
            View::Crashes => self.crashes.rows().len(),
        }
    }

    /// Conditions that hold now, for bindings.
    #[must_use]
    pub fn conditions(&self) -> Conditions {
        let now = Conditions::default().with(Condition::Always);
        match (&self.dialog, &self.attach, &self.log) {
            (Some(dialog), ..) => dialog_conditions(now, dialog),
            (None, Some(attach), _) => attach_conditions(now, attach),
            (None, None, Some(log)) if log.filtering => now.with(Condition::Filter).with(Condition::Text),
            (None, None, Some(log)) => now.with(Condition::Log).with_if(Condition::Filtered, !log.filter.is_empty()),
            (None, None, None) if self.diff.is_some() => now.with(Condition::Diff),
            (None, None, None) if self.filter().typing => now.with(Condition::Filter).with(Condition::Text),
            (None, None, None) => self.list_conditions(now),
        }
    }

    /// Conditions that hold for the lists, also while something is open above them.
    pub(crate) fn conditions_below(&self) -> Conditions {
        self.list_conditions(Conditions::default().with(Condition::Always))
    }

    fn list_conditions(&self, now: Conditions) -> Conditions {
        let view = match self.view {
            View::Sessions => Condition::Sessions,
            View::Review => Condition::Review,
            View::Hosts => Condition::Hosts,
            View::Environments => Condition::Environments,
            View::Crashes => Condition::Crashes,
        };
        let choices = self.selected().is_some_and(|(_, s)| !s.choices.is_empty());
        let permission = self.selected().and_then(|(_, session)| session.permission.as_ref());
        now.with(Condition::List)
            .with(view)
            .with_if(Condition::Choices, choices)
            .with_if(Condition::Permission, permission.is_some_and(Permission::has_keys))
            .with_if(Condition::Filtered, !self.filter().field.is_empty())
    }

    /// Whether pasted text has somewhere to go.
    #[must_use]
    pub fn takes_text(&self) -> bool {
        let now = self.conditions();
        now.has(Condition::Text) || (now.has(Condition::Attached) && !now.has(Condition::Scroll))
    }

    /// Whether the program in the attached terminal asked for the mouse.
    #[must_use]
    pub fn wants_mouse(&self) -> bool {
        let attach = self.attach.as_ref().filter(|a| self.dialog.is_none() && a.viewer.role.writer);
        let terminal = attach.and_then(|a| a.viewer.terminal.as_ref());
        terminal.is_some_and(Terminal::wants_mouse)
    }
}

fn dialog_conditions(now: Conditions, dialog: &Dialog) -> Conditions {
    match dialog {
        // They are read alike.
        Dialog::Help(..) | Dialog::Notices(_) => now.with(Condition::Help),
        // They are typed into alike.
        Dialog::Palette(_) | Dialog::Answers(_) | Dialog::Reach(_) => {
            now.with(Condition::Palette).with(Condition::Text)
        }
        Dialog::Question(_) => now.with(Condition::Question),
        Dialog::Message(_) => now.with(Condition::Message).with(Condition::Text),
        Dialog::Keys(_) => now.with(Condition::Keys).with(Condition::Text),
        Dialog::Form(form) => now
            .with(Condition::Form)
            .with_if(Condition::Text, form.focus != FormField::Environment)
            .with_if(Condition::Lines, form.focus == FormField::Task),
    }
}

fn attach_conditions(now: Conditions, attach: &Attach) -> Conditions {
    let alternate = attach.viewer.terminal.as_ref().is_some_and(|t| t.screen().alternate_screen());
    now.with(Condition::Attached)
        .with_if(Condition::Scroll, attach.scrolling)
        .with_if(Condition::Alternate, alternate)
        .with_if(Condition::Writer, attach.viewer.role.writer)
}
