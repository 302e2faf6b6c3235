//! What an agent says of itself, what is reported of it, what its terminal shows of it, and its end.

use super::{Activity, Effect, Session, Status};
use crate::{
    UnixMillis,
    reports::{Kind, Report, Source, State, activity},
    signs::Sign,
};

/// Most milliseconds by which a status may arrive later than a sign of the terminal that came after it.
const ASIDE: UnixMillis = 2_000;

/// The agent gave a status of itself.
pub(super) fn says(s: &mut Session, status: Status, now: UnixMillis) -> Vec<Effect> {
    let state = match status.activity {
        Activity::NeedsInput => State::Blocked(Some(Kind::Question)),
        Activity::Idle => State::Idle,
        Activity::Done => State::Done,
        Activity::Failed => State::Error,
        Activity::Working | Activity::WaitingChecks | Activity::WaitingReview => State::Working,
    };
    let Status { text, choices, .. } = status;
    reports(s, Source::Agent, Some(Report { text, choices, ..Report::new(state, now) }))
}

/// What the agent does was reported. What it says itself counts even while it waits by command: it may take its wait back.
pub(super) fn reports(s: &mut Session, source: Source, report: Option<Report>) -> Vec<Effect> {
    // What is refused to a program that has ended is of others that it has left there.
    let answers = source == Source::Gateway && report.as_ref().is_none_or(|report| report.state != State::Limited);
    if s.exited.is_some() && source != Source::Agent && !answers {
        return vec![];
    }
    // Something was sent to it since, or its task is about to begin: what does not decide is no news of it then. That its model answers is
    // none either, and a hook may tell once more of the turn before, as of Claude Code's reminder that it waits.
    let said_since = s.reported().is_none();
    let decided = s.reports.deciding().map(|(source, report)| (source, report.clone()));
    // A title that says nothing any more is not that of a program at rest.
    let left = source == Source::Terminal
        && report.is_none()
        && s.reported().is_some_and(|(source, _)| source == Source::Terminal);
    let (before, asked) = (s.reports.clone(), asks(s));
    let answered = answers && report.is_none();
    s.reports.take(source, report);
    if answered || (source != Source::Gateway && s.reports.ended_well()) {
        s.limit_tries = 0;
    }
    goes_on_unless_asked(s, asked || left);
    if source == Source::Agent {
        s.oom_killed.clear();
    }
    let decides = s.reports.deciding().map(|(source, report)| (source, report.clone())) != decided;
    let news = s.reports != before && s.wait.is_none() && !(said_since && (answers || !decides));
    if source == Source::Agent || news { follow(s) } else { vec![] }
}

/// Somebody typed what may be an answer, and output came after it.
pub(super) fn answered(s: &mut Session, at: UnixMillis, entered: bool) -> Vec<Effect> {
    if s.exited.is_some() || s.wait.is_some() || !s.reports.are_answered(at, entered) {
        return vec![];
    }
    let (before, asked) = (s.reports.all_in_all(), asks(s));
    s.reports.answered(at, entered);
    if s.reports.all_in_all() == before {
        return vec![];
    }
    goes_on_unless_asked(s, asked);
    follow(s)
}

/// Whether the agent asks, as it is reported.
fn asks(s: &Session) -> bool {
    s.reported().is_some_and(|(_, report)| matches!(report.state, State::Blocked(_)))
}

/// An agent that asked, or whose terminal alone said that it was at rest, and of which nothing is reported any more, works.
fn goes_on_unless_asked(s: &mut Session, asked: bool) {
    if asked && s.reports.deciding().is_none() {
        s.set_activity(Activity::Working, String::new());
    }
}

/// A message answers what the agent asked, or gives it something to do. A program that asks says itself when it goes on: what
/// was sent may be no answer to it.
pub(super) fn goes_on(s: &mut Session) {
    let asks =
        |(source, report): (Source, Report)| source == Source::Program && matches!(report.state, State::Blocked(_));
    if !s.reported().is_some_and(asks) {
        s.set_activity(Activity::Working, String::new());
    }
}

/// Has the session's activity follow what is reported, where anything is.
pub(super) fn follow(s: &mut Session) -> Vec<Effect> {
    let ended = s.ended_turn();
    let Some((source, report)) = s.reports.all_in_all() else { return vec![] };
    if source != Source::Agent && report.state.has_ended() && s.begins_task() {
        s.set_activity(Activity::Working, "begins its task".into());
        return vec![];
    }
    let follows = activity(source, report.state);
    if ended && s.activity == Activity::Done && source != Source::Agent && follows == Activity::Idle {
        // Its turn is over still, and its pull request is merged.
        return vec![];
    }
    let agent = s.reports.agent.take();
    s.set_activity(follows, report.words().into());
    s.choices = report.choices;
    s.reports.agent = agent;
    s.tells_turns |= s.ended_turn();
    // What happened while it worked was not told.
    if s.ended_turn() && !ended && s.repository.is_some() { vec![Effect::Observe] } else { vec![] }
}

/// Keeps a sign, unless the agent has spoken since or has ended. Output and statuses come by different ways, so a status may
/// arrive late.
pub(super) fn shows(s: &mut Session, sign: Sign) -> Vec<Effect> {
    let over = |at: UnixMillis| at.saturating_add(ASIDE) < s.spoke_at;
    s.sign = match sign.cleaned() {
        Sign::Prompt { since, .. } if over(since) => Sign::Nothing,
        Sign::Called { at, .. } if over(at) => Sign::Nothing,
        _ if s.exited.is_some() => Sign::Nothing,
        sign => sign,
    };
    vec![]
}
