//! What an agent, its program and the program's hooks report of what they are doing, and which of them decides.
//!
//! Best first: `session status`, OSC 7501, hooks, the gateway, what the terminal shows otherwise. Each has one report, its newest; of
//! those below `session status` the best that has one speaks. The gateway knows of one thing alone, that a model's API refuses requests
//! for now: it decides where that has ended the agent's turn. What the agent said by `session status` holds for its turn: it ends where
//! the program begins another turn or a person answers. Meanwhile the program overrules it where it knows better: that it waits
//! for a person, that it has failed, that its turn has ended though the agent said that it works.

mod terminal;

use pilothouse_terminal::status as osc;
use serde::{Deserialize, Serialize};

use crate::{
    UnixMillis,
    profile::Meaning,
    session::Activity,
    text,
    usage::{Limit, Refusal},
};

pub use terminal::{Seen, of_terminal};

/// Longest text of a report, and longest title, in bytes.
const TEXT_MAX: (usize, usize) = (4096, 192);
/// Longest name of a program, of an event or of a host, and longest id of a record, in bytes.
const NAME_MAX: (usize, usize) = (253, 128);
/// Most milliseconds by which a turn is seen to begin later than it does.
const SEEN_LATE: UnixMillis = 2_000;
/// Most choices of a report that are kept, and the longest of them, in bytes.
const CHOICES_MAX: (usize, usize) = (16, 256);

/// Who reports, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// The agent, by `session status`.
    Agent,
    /// The agent's program, by the Program Status Protocol, OSC 7501.
    Program,
    /// A hook of the agent's program.
    Hook,
    /// The gateway, of what models' APIs answer.
    Gateway,
    /// The agent's terminal: its title and the row of its cursor, by the marks of the profile, and its progress.
    Terminal,
}

impl Source {
    /// All sources, best first.
    pub const ALL: [Self; 5] = [Self::Agent, Self::Program, Self::Hook, Self::Gateway, Self::Terminal];

    /// The word of the API and of `--json`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Agent => "session-status",
            Self::Program => "osc-7501",
            Self::Hook => "hook",
            Self::Gateway => "gateway",
            Self::Terminal => "terminal",
        }
    }
}

/// What is being done, as a report says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// There is nothing to do.
    Idle,
    /// The agent works.
    Working,
    /// There is a result.
    Done,
    /// The agent waits for a person; None: it is not said for what.
    Blocked(Option<Kind>),
    /// The agent has failed.
    Error,
    /// The agent was stopped by a limit of its model's rate or of its quota.
    Limited,
}

/// What an agent waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A person's approval.
    Permission,
    /// A person's answer.
    Question,
    /// A log-in, or a token.
    Auth,
}

impl State {
    /// The word of the API and of `--json`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Working => "working",
            Self::Done => "done",
            Self::Blocked(_) => "blocked",
            Self::Error => "error",
            Self::Limited => "limited",
        }
    }

    /// The word of what is waited for; empty: nothing, or it is not said.
    #[must_use]
    pub fn kind(self) -> &'static str {
        match self {
            Self::Blocked(Some(Kind::Permission)) => "permission",
            Self::Blocked(Some(Kind::Question)) => "question",
            Self::Blocked(Some(Kind::Auth)) => "auth",
            _ => "",
        }
    }

    /// The state of these words; None: there is none.
    #[must_use]
    pub fn from_words(state: &str, kind: &str) -> Option<Self> {
        let kind = match kind {
            "permission" => Some(Kind::Permission),
            "question" => Some(Kind::Question),
            "auth" => Some(Kind::Auth),
            _ => None,
        };
        [Self::Idle, Self::Working, Self::Done, Self::Blocked(kind), Self::Error, Self::Limited]
            .into_iter()
            .find(|known| known.word() == state)
    }

    /// Whether the agent's turn is over.
    #[must_use]
    pub fn is_at_rest(self) -> bool {
        matches!(self, Self::Idle | Self::Done | Self::Error | Self::Limited)
    }

    /// Whether the agent's turn is over, in good order.
    #[must_use]
    pub fn has_ended(self) -> bool {
        matches!(self, Self::Idle | Self::Done)
    }
}

impl From<Meaning> for State {
    fn from(meaning: Meaning) -> Self {
        match meaning {
            Meaning::Working => Self::Working,
            Meaning::Idle => Self::Idle,
            Meaning::Permission => Self::Blocked(Some(Kind::Permission)),
            Meaning::Question => Self::Blocked(Some(Kind::Question)),
        }
    }
}

impl From<osc::State> for State {
    fn from(state: osc::State) -> Self {
        let kind = |kind| match kind {
            osc::Kind::Permission => Kind::Permission,
            osc::Kind::Question => Kind::Question,
            osc::Kind::Auth => Kind::Auth,
        };
        match state {
            osc::State::Idle => Self::Idle,
            osc::State::Working => Self::Working,
            osc::State::Done => Self::Done,
            osc::State::Blocked(what) => Self::Blocked(what.map(kind)),
            osc::State::Error => Self::Error,
        }
    }
}

/// One report. Foreign: [`Reports::take`] bounds and cleans it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    /// When it was first said so.
    pub at: UnixMillis,
    /// What is being done.
    pub state: State,
    /// What is said of it, in one line; may be empty.
    pub text: String,
    /// Title of what is being done; may be empty.
    pub title: String,
    /// How much of it is done, 0 to 100.
    pub progress: Option<u8>,
    /// Name of the program, of the event of a hook, or of the host of an API; may be empty.
    pub app: String,
    /// Id of the program's record that says so; empty: the root.
    pub id: String,
    /// Answers to choose from.
    pub choices: Vec<String>,
    /// When a limit ends.
    pub until: Option<UnixMillis>,
    /// Number that tells what is asked with [`State::Blocked`] from all else that this source asks, also in the same words; 0:
    /// nothing is asked, or the source has no such number.
    pub asked: u64,
}

impl Default for Report {
    fn default() -> Self {
        Self::new(State::Idle, 0)
    }
}

impl Report {
    /// A report that says nothing but this.
    #[must_use]
    pub fn new(state: State, at: UnixMillis) -> Self {
        let text = String::new;
        let (progress, until, choices) = (None, None, vec![]);
        Self { at, state, text: text(), title: text(), progress, app: text(), id: text(), choices, until, asked: 0 }
    }

    /// That the API of this host has told of a limit.
    #[must_use]
    pub fn of_limit(limit: &Limit, host: &str, at: UnixMillis) -> Self {
        let app = text::clean(host, NAME_MAX.0);
        Self { text: limit.refusal.words().into(), app, until: limit.until, ..Self::new(State::Limited, at) }
    }

    /// Whether the gateway itself has refused a request, since the session's budget was used up.
    #[must_use]
    pub fn is_over_budget(&self) -> bool {
        self.state == State::Limited && self.text == Refusal::OverBudget.words()
    }

    /// What a terminal's records say all in all; None: there are none.
    #[must_use]
    pub fn of_records(records: &osc::Records, at: UnixMillis) -> Option<Self> {
        let (id, record) = records.foremost()?;
        let asks = matches!(record.state, osc::State::Blocked(_));
        Some(Self {
            asked: if asks { records.made_by(id) } else { 0 },
            text: record.message.clone(),
            title: record.title.clone(),
            progress: record.progress,
            app: records.app(id).into(),
            id: id.into(),
            ..Self::new(record.state.into(), at)
        })
    }

    /// The text, else the title.
    #[must_use]
    pub fn words(&self) -> &str {
        if self.text.is_empty() { &self.title } else { &self.text }
    }

    /// Whether the other says the same, whenever it was said.
    #[must_use]
    pub fn says(&self, other: &Self) -> bool {
        Self { at: other.at, ..self.clone() } == *other
    }

    /// Whether this is no more than this source has said before, in the other. Each refusal is one of its own, and so is each end of a turn
    /// that a hook tells, though nobody saw the turn begin.
    #[must_use]
    pub fn repeats(&self, source: Source, known: &Self) -> bool {
        let of_its_own = source == Source::Gateway || (source == Source::Hook && self.state.is_at_rest());
        if of_its_own { known == self } else { known.says(self) }
    }

    fn cleaned(mut self) -> Self {
        let line = |text: &str, max| text::clean(&text::one_line(&text::clean(text, max)), max);
        self.text = line(&self.text, TEXT_MAX.0);
        self.title = line(&self.title, TEXT_MAX.1);
        self.app = line(&self.app, NAME_MAX.0);
        self.id = line(&self.id, NAME_MAX.1);
        self.choices =
            self.choices.iter().take(CHOICES_MAX.0).map(|choice| text::clean(choice, CHOICES_MAX.1)).collect();
        self.progress = self.progress.map(|progress| progress.min(100));
        self
    }
}

/// A permission that an agent's program asks a person for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permission {
    /// Id of the permission, which no other permission of the session has: an answer names it.
    pub id: String,
    /// What is to be allowed, such as a tool and its arguments; may be empty.
    pub text: String,
}

/// The newest report of each source.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Reports {
    /// By `session status`, in the agent's present turn.
    pub agent: Option<Report>,
    /// By OSC 7501.
    pub program: Option<Report>,
    /// By a hook.
    pub hook: Option<Report>,
    /// By the gateway: that a model's API has refused a request, or, working, that one has begun to answer since; None: one has answered
    /// to the end, or none has refused anything.
    pub gateway: Option<Report>,
    /// When somebody first typed on the agent's terminal after that refusal; 0: nobody has.
    pub typed_at: UnixMillis,
    /// By what the terminal shows otherwise.
    pub terminal: Option<Report>,
    /// When the agent's last turn was seen to begin; 0: it has had none.
    pub turn_at: UnixMillis,
    /// Since when the agent had been at rest before that; 0: it was at no rest that is known.
    pub rested_at: UnixMillis,
}

impl Reports {
    /// The newest report of a source.
    #[must_use]
    pub fn of(&self, source: Source) -> Option<&Report> {
        match source {
            Source::Agent => self.agent.as_ref(),
            Source::Program => self.program.as_ref(),
            Source::Hook => self.hook.as_ref(),
            Source::Gateway => self.gateway.as_ref(),
            Source::Terminal => self.terminal.as_ref(),
        }
    }

    /// Takes a report of a source; None: it says nothing any more. What says the same as before keeps its time: see
    /// [`Report::repeats`].
    pub fn take(&mut self, source: Source, report: Option<Report>) {
        let report = report.map(Report::cleaned);
        if let (Some(known), Some(report)) = (self.of(source), &report)
            && report.repeats(source, known)
        {
            return;
        }
        let before = self.observed().map(|(_, report)| (report.state, report.at));
        match source {
            Source::Agent => self.agent = report,
            Source::Program => self.program = report,
            Source::Hook => self.hook = report,
            Source::Gateway => (self.gateway, self.typed_at) = (report, 0),
            Source::Terminal => self.terminal = report,
        }
        self.note_turn(before);
    }

    /// Notes where a turn of the agent has begun.
    fn note_turn(&mut self, before: Option<(State, UnixMillis)>) {
        let works = |report: &Report| report.state == State::Working;
        if let Some(at) = self.observed().filter(|(_, report)| works(report)).map(|(_, report)| report.at) {
            let rested = before.filter(|(state, _)| state.is_at_rest());
            let anew = rested.is_some();
            if let Some((_, since)) = rested {
                self.rested_at = since;
                // What the agent said was of its turn before.
                self.agent = None;
            }
            if anew || self.turn_at == 0 {
                self.turn_at = at.max(1);
            }
        } else if let Some(agent) = self.agent.as_ref().filter(|agent| works(agent) && self.turn_at == 0) {
            self.turn_at = agent.at.max(1);
        }
    }

    /// Somebody has answered by a key, and output came after that: what no report would end is over. A hook is not told of
    /// answers, and the agent may not say that it has got one. Whatever ends a turn after it was not a refusal alone. `entered`: one of
    /// the keys was Enter, as a line needs.
    pub fn answered(&mut self, at: UnixMillis, entered: bool) {
        let asked = |report: &Report| matches!(report.state, State::Blocked(_)) && report.at <= at;
        if self.hook.as_ref().is_some_and(asked) {
            self.hook = Some(Report::new(State::Working, at));
        }
        self.agent.take_if(|report| entered && asked(report));
        if self.typed_at == 0 && self.refusal().is_some_and(|refusal| refusal.at < at) {
            self.typed_at = at;
        }
    }

    /// Whether [`Reports::answered`] would change anything.
    #[must_use]
    pub fn are_answered(&self, at: UnixMillis, entered: bool) -> bool {
        let mut after = self.clone();
        after.answered(at, entered);
        after != *self
    }

    /// The best report but the agent's own.
    fn observed(&self) -> Option<(Source, &Report)> {
        // A hook is not told of every end: of Esc, or of an error of the model's. A title that came later is.
        let ended = |hook: &Report, title: &Report| {
            hook.state == State::Working && title.state != State::Working && title.at > hook.at
        };
        let sources = match (&self.hook, &self.terminal) {
            (Some(hook), Some(title)) if ended(hook, title) => [Source::Program, Source::Terminal, Source::Hook],
            _ => [Source::Program, Source::Hook, Source::Terminal],
        };
        sources.into_iter().find_map(|source| Some(source).zip(self.of(source)))
    }

    /// The report that decides, and whose it is; None: nobody has said anything.
    #[must_use]
    pub fn deciding(&self) -> Option<(Source, &Report)> {
        match (&self.agent, self.observed()) {
            (Some(agent), Some((source, seen))) if !overrules(seen, source, agent) => Some((Source::Agent, agent)),
            (_, Some(seen)) => Some(seen),
            (agent, None) => agent.as_ref().map(|agent| (Source::Agent, agent)),
        }
    }

    /// What is said all in all: the deciding report, with what a hook knows more of than the program's own report.
    #[must_use]
    pub fn all_in_all(&self) -> Option<(Source, Report)> {
        let (source, report) = self.deciding()?;
        let mut report = report.clone();
        if let (Source::Program, Some(hook)) = (source, &self.hook) {
            let asks = matches!(report.state, State::Blocked(_)) && report.state == hook.state;
            let rests = report.state.has_ended() && hook.state.has_ended() && report.text.is_empty();
            if (asks || rests) && !hook.text.is_empty() {
                report.text.clone_from(&hook.text);
            }
            // That its model refuses it is more than that it has stopped.
            if hook.state == State::Limited && report.state.is_at_rest() && hook.at >= self.turn_at {
                (report.state, report.until) = (State::Limited, hook.until);
                report.text.clone_from(&hook.text);
            }
        }
        let works = |report: &Report| report.state == State::Working;
        if let Some(terminal) = self.terminal.as_ref().filter(|terminal| works(terminal) && works(&report)) {
            report.progress = report.progress.or(terminal.progress);
        }
        match self.refusal_that_ended_turn() {
            // Whichever ends later: it is refused until then.
            Some(refusal) if report.state == State::Limited => report.until = report.until.max(refusal.until),
            Some(refusal) => return Some((Source::Gateway, refusal.clone())),
            None => {}
        }
        Some((source, report))
    }

    /// The refusal of a model's API, as the gateway saw it, that ended the agent's turn: it came in that turn, no API answered after it
    /// and nobody typed, and then the turn was over. None: nothing of the kind is known.
    #[must_use]
    pub fn refusal_that_ended_turn(&self) -> Option<&Report> {
        let (source, report) = self.deciding()?;
        let refusal = self.refusal()?;
        let typed = (1..=report.at).contains(&self.typed_at);
        let ended = self.in_turn(refusal) && refusal.at <= report.at && !typed;
        (ended && report.state.is_at_rest() && source != Source::Agent).then_some(refusal)
    }

    /// The last refusal of a model's API, after which none has begun to answer; None: there is none.
    #[must_use]
    pub fn refusal(&self) -> Option<&Report> {
        self.gateway.as_ref().filter(|report| report.state == State::Limited)
    }

    /// Whether a refusal came in the agent's last turn. That begins a moment before anybody sees it.
    #[must_use]
    pub fn in_turn(&self, refusal: &Report) -> bool {
        refusal.at > self.rested_at && refusal.at.saturating_add(SEEN_LATE) >= self.turn_at
    }

    /// The refusal of a model's API that an agent at work has to wait for at this moment; None: there is none.
    #[must_use]
    pub fn refusal_in_force(&self, now: UnixMillis) -> Option<&Report> {
        let in_force = |refusal: &&Report| refusal.until.map_or(self.in_turn(refusal), |until| until > now);
        self.refusal().filter(in_force)
    }

    /// The permission that is asked for, as far as it is known who asks; None: none is.
    ///
    /// Its id is of all that its words come from: where any of that changes, it is another permission.
    #[must_use]
    pub fn permission(&self) -> Option<Permission> {
        let (source, report) = self.all_in_all()?;
        if report.state != State::Blocked(Some(Kind::Permission)) {
            return None;
        }
        let of = |report: &Report| format!("{}.{}", report.at, report.asked);
        let hook = self.hook.as_ref().filter(|hook| source != Source::Hook && hook.state == report.state);
        let id = format!("{}:{}:{}", source.word(), of(&report), hook.map(of).unwrap_or_default());
        Some(Permission { id, text: report.words().into() })
    }

    /// Whether the agent's turn has ended, and no refusal was why.
    #[must_use]
    pub fn ended_well(&self) -> bool {
        self.turn_ended().is_some() && self.refusal_that_ended_turn().is_none()
    }

    /// When the agent's turn ended, in good order, as its program or a hook says; None: it has not, or the agent's own word
    /// decides.
    #[must_use]
    pub fn turn_ended(&self) -> Option<UnixMillis> {
        let (source, report) = self.deciding()?;
        (source != Source::Agent && report.state.has_ended() && self.turn_at > 0).then_some(report.at)
    }
}

/// Whether what is seen of the program counts more than what its agent said.
fn overrules(seen: &Report, source: Source, agent: &Report) -> bool {
    match seen.state {
        // It cannot go on without a person, whatever else in it may say meanwhile.
        State::Blocked(_) if source == Source::Program => true,
        State::Blocked(_) | State::Error | State::Limited => seen.at > agent.at,
        State::Idle | State::Done => agent.state == State::Working && seen.at > agent.at,
        State::Working => false,
    }
}

/// What the session's agent is doing where this source's report of this state decides.
#[must_use]
pub fn activity(source: Source, state: State) -> Activity {
    match (state, source) {
        (State::Working, _) => Activity::Working,
        (State::Blocked(_), _) => Activity::NeedsInput,
        (State::Idle, _) => Activity::Idle,
        (State::Done, Source::Agent) => Activity::Done,
        // The end of a turn is not that of the task.
        (State::Done, _) => Activity::Idle,
        (State::Error | State::Limited, _) => Activity::Failed,
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use Source::{Agent, Hook, Program, Terminal};

    const ASKS: State = State::Blocked(Some(Kind::Question));
    const PERMISSION: State = State::Blocked(Some(Kind::Permission));

    /// Reports of one after the other, a second apart.
    fn after(all: &[(Source, State)]) -> Reports {
        let mut reports = Reports::default();
        for (n, (source, state)) in all.iter().enumerate() {
            let at = 1000 * (i64::try_from(n).unwrap() + 1);
            reports.take(*source, Some(Report::new(*state, at)));
        }
        reports
    }

    #[rstest]
    #[case::nobody(&[], None)]
    #[case::agent_alone(&[(Agent, State::Done)], Some((Agent, State::Done)))]
    #[case::the_best_speaks(&[(Program, State::Working), (Hook, State::Idle), (Terminal, ASKS)], Some((Program, State::Working)))]
    #[case::the_newest_speaks(&[(Hook, PERMISSION), (Hook, State::Working)], Some((Hook, State::Working)))]
    #[case::a_title_knows_of_an_end_that_no_hook_told(
        &[(Hook, State::Working), (Terminal, State::Idle)], Some((Terminal, State::Idle))
    )]
    #[case::an_older_title_does_not(&[(Terminal, State::Idle), (Hook, State::Working)], Some((Hook, State::Working)))]
    #[case::what_a_hook_asks_stays_asked(&[(Hook, PERMISSION), (Terminal, State::Idle)], Some((Hook, PERMISSION)))]
    #[case::of_the_program_a_title_knows_nothing_more(
        &[(Program, State::Working), (Terminal, State::Idle)], Some((Program, State::Working))
    )]
    #[case::agent_keeps_its_word_in_its_turn(
        &[(Program, State::Working), (Agent, State::Done), (Program, State::Idle)], Some((Agent, State::Done))
    )]
    #[case::not_in_the_next_turn(
        &[(Program, State::Working), (Agent, State::Done), (Program, State::Idle), (Program, State::Working)],
        Some((Program, State::Working))
    )]
    #[case::a_question_of_its_own_stays_open(
        &[(Program, State::Working), (Agent, ASKS), (Program, State::Idle)], Some((Agent, ASKS))
    )]
    #[case::working_gives_way_to_the_end_of_the_turn(
        &[(Program, State::Working), (Agent, State::Working), (Program, State::Idle)], Some((Program, State::Idle))
    )]
    #[case::working_has_its_words(&[(Program, State::Working), (Agent, State::Working)], Some((Agent, State::Working)))]
    #[case::a_permission_overrules(&[(Agent, State::Working), (Program, PERMISSION)], Some((Program, PERMISSION)))]
    #[case::whatever_is_said_meanwhile(&[(Program, PERMISSION), (Agent, State::Working)], Some((Program, PERMISSION)))]
    #[case::of_a_hook_only_a_later_one(&[(Hook, PERMISSION), (Agent, State::Working)], Some((Agent, State::Working)))]
    #[case::a_failure_overrules(&[(Agent, State::Done), (Program, State::Error)], Some((Program, State::Error)))]
    #[case::a_permission_is_no_new_turn(
        &[(Program, State::Working), (Agent, State::Done), (Program, PERMISSION), (Program, State::Working)],
        Some((Agent, State::Done))
    )]
    fn who_decides(#[case] all: &[(Source, State)], #[case] expected: Option<(Source, State)>) {
        assert_eq!(after(all).deciding().map(|(source, report)| (source, report.state)), expected);
    }

    #[rstest]
    #[case(&[(Program, State::Idle)], None)]
    #[case(&[(Program, State::Working), (Program, State::Idle)], Some(2000))]
    #[case(&[(Hook, State::Working), (Hook, State::Done)], Some(2000))]
    #[case(&[(Program, State::Working), (Program, State::Error)], None)]
    #[case(&[(Agent, State::Working), (Program, State::Idle)], Some(2000))]
    #[case(&[(Program, State::Working), (Agent, State::Done), (Program, State::Idle)], None)]
    #[case(&[(Program, State::Working), (Program, State::Idle), (Program, State::Idle)], Some(2000))]
    fn when_a_turn_ended(#[case] all: &[(Source, State)], #[case] expected: Option<UnixMillis>) {
        assert_eq!(after(all).turn_ended(), expected);
    }

    #[test]
    fn a_key_ends_what_no_report_would() {
        let mut hook = after(&[(Hook, PERMISSION)]);
        assert!(!hook.are_answered(999, true), "the key came before it");
        assert!(hook.are_answered(1500, false));
        hook.answered(1500, false);
        assert_eq!(hook.deciding().map(|(_, report)| report.state), Some(State::Working));
        let mut agent = after(&[(Agent, ASKS)]);
        assert!(!agent.are_answered(1500, false), "a line is entered");
        agent.answered(1500, true);
        assert_eq!(agent.deciding(), None);
        let program = after(&[(Program, PERMISSION)]);
        assert!(!program.are_answered(1500, true), "the program says so itself");
    }

    #[test]
    fn a_hook_adds_what_it_knows() {
        let mut reports = after(&[(Program, State::Working), (Program, PERMISSION)]);
        reports.take(Hook, Some(Report { text: "Bash(rm -rf x)".into(), ..Report::new(PERMISSION, 3000) }));
        let (source, report) = reports.all_in_all().unwrap();
        assert_eq!((source, &*report.text), (Program, "Bash(rm -rf x)"));
        reports.take(Program, Some(Report::new(State::Idle, 4000)));
        assert_eq!(reports.all_in_all().unwrap().1.text, "");
        let until = Some(9000);
        reports.take(Hook, Some(Report { until, text: "out of quota".into(), ..Report::new(State::Limited, 4000) }));
        let (_, report) = reports.all_in_all().unwrap();
        assert_eq!((report.state, report.until, &*report.text), (State::Limited, until, "out of quota"));
        reports.take(Program, Some(Report::new(State::Working, 9500)));
        reports.take(Program, Some(Report::new(State::Idle, 9900)));
        assert_eq!(reports.all_in_all().unwrap().1.state, State::Idle, "of an earlier turn");
    }

    #[test]
    fn progress_that_the_terminal_shows_is_that_of_whoever_works() {
        let mut reports = after(&[(Program, State::Working)]);
        reports.take(Terminal, Some(Report { progress: Some(40), ..Report::new(State::Working, 2000) }));
        let all = |reports: &Reports| reports.all_in_all().map(|(source, report)| (source, report.progress));
        assert_eq!(all(&reports), Some((Program, Some(40))));
        reports.take(Program, Some(Report { progress: Some(7), ..Report::new(State::Working, 3000) }));
        assert_eq!(all(&reports), Some((Program, Some(7))), "it knows better");
        reports.take(Program, Some(Report::new(State::Idle, 4000)));
        assert_eq!(all(&reports), Some((Program, None)));
    }

    #[test]
    fn a_permission_is_another_one_as_soon_as_anything_of_it_changes() {
        let asks = |source, at, asked, text: &str, reports: &mut Reports| {
            reports.take(source, Some(Report { asked, text: text.into(), ..Report::new(PERMISSION, at) }));
            reports.permission().unwrap()
        };
        let mut reports = after(&[(Program, State::Working)]);
        assert_eq!(reports.permission(), None);
        let first = asks(Program, 2000, 7, "Bash(ls)", &mut reports);
        assert_eq!(first.text, "Bash(ls)");
        assert_eq!(asks(Program, 2500, 7, "Bash(ls)", &mut reports), first, "it is said again");
        let again = asks(Program, 3000, 9, "Bash(ls)", &mut reports);
        assert_ne!(again.id, first.id, "it was answered meanwhile");
        let told = asks(Hook, 3000, 3000, "Bash(rm -rf x)", &mut reports);
        assert_eq!((&*told.text, told.id == again.id), ("Bash(rm -rf x)", false), "its words are others");
        reports.take(Program, Some(Report::new(ASKS, 4000)));
        assert_eq!(reports.permission(), None);
        let mut hook = after(&[]);
        assert_eq!(asks(Hook, 3000, 3000, "Bash(ls)", &mut hook).text, "Bash(ls)");
    }

    #[test]
    fn what_is_said_again_keeps_its_time_and_foreign_text_is_bounded() {
        let mut reports = after(&[(Program, State::Working), (Program, State::Working)]);
        assert_eq!(reports.program.as_ref().unwrap().at, 1000);
        let text = "\u{1b}[31m\u{202e}x\n".repeat(5000);
        let all = Report { title: text.clone(), app: text.clone(), id: text.clone(), ..Report::new(State::Idle, 5) };
        reports.take(Program, Some(Report { choices: vec![text.clone(); 99], text, progress: Some(200), ..all }));
        let report = reports.program.unwrap();
        assert!(
            report.text.len() <= 4096 && report.title.len() <= 192 && report.app.len() <= 253 && report.id.len() <= 128
        );
        assert!(report.choices.len() == 16 && report.progress == Some(100));
        assert!(!report.text.contains(['\u{1b}', '\u{202e}', '\n']));
    }
}
