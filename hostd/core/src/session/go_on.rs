//! An agent that was stopped by its model's API, and that goes on without a person once that answers again.
//!
//! A limit that says when it ends is waited for where the agent's profile says so; a budget that is raised is over at once. An agent that
//! is still there is told by a message, one that a limit has ended is started again with its conversation. Both happen once for each
//! refusal, not where a person has typed or sent anything since, and where limits follow each other after ever longer pauses and not for
//! ever.

use super::{Effect, Lifecycle, Message, Session, TypedEvents, agent, send, step};
use crate::{
    UnixMillis,
    profile::AfterRateLimit,
    reports::{Report, Source, State},
};

/// Most times that an agent goes on after a limit before its model has answered it again.
const TRIES: u32 = 8;
/// Pause before the second of these times, in milliseconds; each further one is twice as long.
const PAUSE: UnixMillis = 60_000;

/// What an agent is told when a limit is over.
const LIMIT_OVER: &str = "You were stopped by a limit of your model, which is over. Go on where you were.";
/// What an agent is told when its session's budget was raised.
const RAISED: &str = "You were stopped because the session's budget was used up. It was raised: go on where you were.";

impl Session {
    /// The refusal of its model's API that has stopped the agent; None: it was not stopped by any, or somebody has seen to it since: by a
    /// message, or by typing.
    #[must_use]
    pub fn stopped_by(&self) -> Option<&Report> {
        let refusal = match self.exited {
            // A signal, and a shell's word for one, is somebody's doing.
            Some(0 | 128..) => None,
            Some(_) => self.reports.refusal(),
            None => {
                let limited = self.reported().is_some_and(|(_, report)| report.state == State::Limited);
                self.reports.refusal_that_ended_turn().filter(|_| limited)
            }
        };
        refusal.filter(|refusal| refusal.at != self.went_on && self.reports.typed_at == 0)
    }

    /// The refusal of a model's API that an agent at work has to wait for at this moment; None: there is none. One that nobody knows the
    /// end of is over for now where somebody has told the agent something since.
    #[must_use]
    pub fn refusal_in_force(&self, now: UnixMillis) -> Option<&Report> {
        let refusal = self.reports.refusal_in_force(now)?;
        (refusal.until.is_some() || refusal.at != self.went_on).then_some(refusal)
    }

    /// When the agent goes on by itself; None: it was not stopped by a limit, or it does not.
    #[must_use]
    pub fn goes_on_at(&self) -> Option<UnixMillis> {
        let may =
            self.after_rate_limit == AfterRateLimit::Resume && self.limit_tries < TRIES && self.used_up().is_none();
        // One whose conversation is not known would begin anew: that is a person's to say.
        let is_there = self.exited.is_none() || self.resumes;
        if !may || !is_there || !self.can_be_told() {
            return None;
        }
        let refusal = self.stopped_by()?;
        let until = self.reported().map_or(refusal.until, |(_, report)| report.until)?;
        let pause = if self.limit_tries == 0 { 0 } else { PAUSE << (self.limit_tries - 1) };
        Some(until.max(refusal.at.saturating_add(pause)))
    }

    /// Whether something can be done about the agent now that nobody else is about to do.
    fn can_be_told(&self) -> bool {
        let kept = matches!(self.lifecycle, Lifecycle::Running | Lifecycle::Suspended);
        kept && !self.deleting && !self.forking && self.inbox.is_empty() && self.typed_events != TypedEvents::Never
    }
}

/// The limit that stopped the agent may be over.
pub(super) fn limit_is_over(s: &mut Session, now: UnixMillis) -> Vec<Effect> {
    if s.goes_on_at().is_none_or(|at| at > now) {
        return vec![];
    }
    seen_to(s);
    s.limit_tries += 1;
    if s.exited.is_none() {
        return tell(s, LIMIT_OVER);
    }
    start_again(s, LIMIT_OVER)
}

/// Starts an agent again that has ended, with its conversation.
fn start_again(s: &mut Session, told: &'static str) -> Vec<Effect> {
    let Ok(effects) = step::restart(s, false) else { return vec![] };
    s.post(Message::of_restart(told));
    effects
}

/// The session's budget was used up, and is so no longer: what was refused for it is of no account any more. Another limit stays.
pub(super) fn budget_raised(s: &mut Session) -> Vec<Effect> {
    if !s.reports.refusal().is_some_and(Report::is_over_budget) {
        return vec![];
    }
    // One whose conversation is not known would begin anew: that is a person's to say.
    let is_there = s.exited.is_none() || s.resumes;
    if !is_there || s.stopped_by().is_none() || !s.can_be_told() {
        return agent::reports(s, Source::Gateway, None);
    }
    seen_to(s);
    s.reports.take(Source::Gateway, None);
    if s.exited.is_none() { tell(s, RAISED) } else { start_again(s, RAISED) }
}

/// Notes that the agent is told something after what has stopped it.
pub(super) fn seen_to(s: &mut Session) {
    s.went_on = s.reports.refusal().map_or(s.went_on, |refusal| refusal.at);
}

fn tell(s: &mut Session, text: &str) -> Vec<Effect> {
    // Whoever cannot be told, since its VM has just ended, is a person's.
    send::send(s, Message::line(text)).unwrap_or_default()
}
