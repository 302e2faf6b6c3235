//! An agent that was stopped by its model's API, and that goes on without a person once that answers again.
//!
//! A limit that says when it ends is waited for where the agent's profile says so; a budget that is raised is over at once. An agent that
//! is still there is told by a message, one that has ended is started again with its conversation. Both happen once for each refusal, and
//! where limits follow each other after ever longer pauses and not for ever.

use super::{Effect, Lifecycle, Message, Session, TypedEvents, send, step};
use crate::{
    UnixMillis,
    profile::AfterRateLimit,
    reports::{Report, State},
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
    /// The refusal of its model's API that has stopped the agent; None: it was not stopped by any, or it has gone on since.
    #[must_use]
    pub fn stopped_by(&self) -> Option<&Report> {
        let refusal = match self.exited {
            Some(0) => None,
            Some(_) => self.reports.gateway.as_ref(),
            None => {
                let limited = self.reported().is_some_and(|(_, report)| report.state == State::Limited);
                self.reports.refusal_that_ended_turn().filter(|_| limited)
            }
        };
        refusal.filter(|refusal| refusal.at > self.went_on)
    }

    /// When the agent goes on by itself; None: it was not stopped by a limit, or it does not.
    #[must_use]
    pub fn goes_on_at(&self) -> Option<UnixMillis> {
        let may =
            self.after_rate_limit == AfterRateLimit::Resume && self.limit_tries < TRIES && self.used_up().is_none();
        if !may || !self.can_be_told() {
            return None;
        }
        let refusal = self.stopped_by()?;
        let pause = if self.limit_tries == 0 { 0 } else { PAUSE << (self.limit_tries - 1) };
        Some(refusal.until?.max(refusal.at.saturating_add(pause)))
    }

    /// Whether something can be done about the agent now that nobody else is about to do.
    fn can_be_told(&self) -> bool {
        let kept = matches!(self.lifecycle, Lifecycle::Running | Lifecycle::Suspended);
        kept && !self.deleting && !self.forking && self.inbox.is_empty() && self.typed_events != TypedEvents::Never
    }
}

/// The limit that stopped the agent may be over. `resumes`: an agent that has ended can be started again with its conversation.
pub(super) fn limit_is_over(s: &mut Session, resumes: bool, now: UnixMillis) -> Vec<Effect> {
    if s.goes_on_at().is_none_or(|at| at > now) {
        return vec![];
    }
    note(s);
    s.limit_tries += 1;
    match s.exited {
        None => tell(s, LIMIT_OVER),
        Some(_) if resumes => match step::restart(s, false) {
            Ok(effects) => {
                s.post(Message::of_restart(LIMIT_OVER));
                effects
            }
            Err(_) => vec![],
        },
        Some(_) => vec![],
    }
}

/// The session's budget was used up, and is so no longer.
pub(super) fn budget_raised(s: &mut Session) -> Vec<Effect> {
    if s.exited.is_some() || s.stopped_by().is_none() || !s.can_be_told() {
        return vec![];
    }
    note(s);
    tell(s, RAISED)
}

/// Notes that the agent goes on after what has stopped it.
fn note(s: &mut Session) {
    s.went_on = s.reports.gateway.as_ref().map_or(s.went_on, |refusal| refusal.at);
}

fn tell(s: &mut Session, text: &str) -> Vec<Effect> {
    // Whoever cannot be told, since its VM has just ended, is a person's.
    send::send(s, Message::line(text)).unwrap_or_default()
}
