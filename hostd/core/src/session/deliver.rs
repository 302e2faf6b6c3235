//! Waits and their answers: none is lost, none is told twice, none is of another head commit.
//!
//! What answers a wait is worked out again from each observation of the forge until it is handed over, so that it does not
//! matter when, or how often, or in which state of the VM an event comes.

use super::{
    Activity, Effect, Fate, Lifecycle, Session, Wait, WaitFor, agent,
    inbox::type_next,
    turn,
    wait::{Answer, Due, Observation},
};

/// The agent began a wait, or repeats one that is known.
pub(super) fn began(s: &mut Session, wait: Wait) -> Vec<Effect> {
    if wait.id <= s.asked || s.exited.is_some() {
        return vec![];
    }
    s.asked = wait.id;
    if s.delivering {
        // What became of the answer to the one before is still to be heard.
        s.next_wait = Some(wait);
        return vec![];
    }
    begin(s, wait)
}

fn begin(s: &mut Session, wait: Wait) -> Vec<Effect> {
    s.answer = None;
    let what = wait.what;
    s.wait = Some(wait);
    match what {
        WaitFor::Checks => s.set_activity(Activity::WaitingChecks, String::new()),
        WaitFor::Review => s.set_activity(Activity::WaitingReview, String::new()),
        // A question stays open.
        WaitFor::Message if s.activity == Activity::NeedsInput => {}
        WaitFor::Message => s.set_activity(Activity::Idle, "waits for a message".into()),
    }
    if what == WaitFor::Message { bring(s) } else { vec![Effect::Observe] }
}

/// The agent's wait with this id ended without an answer.
pub(super) fn withdrawn(s: &mut Session, id: u64) -> Vec<Effect> {
    s.next_wait.take_if(|wait| wait.id == id);
    match &s.wait {
        Some(wait) if wait.id == id && !s.delivering => end_wait(s),
        _ => vec![],
    }
}

/// The session's pull request was read from the forge; `seen` is None where it has none.
pub(super) fn observed(s: &mut Session, seen: Option<Observation>) -> Vec<Effect> {
    let before = (s.answer.clone(), s.inbox.len());
    s.adopt_old_reviews();
    let seen = seen.map(|seen| {
        let delivered = s.delivered_of(seen.pull.number);
        seen.cleaned(&delivered)
    });
    let was_open = s.pull.as_ref().is_some_and(|pull| pull.fate == Fate::Open);
    s.pull = seen.as_ref().map(|seen| seen.pull.clone());
    match &s.wait {
        Some(wait) if wait.what != WaitFor::Message && !s.delivering && s.answer != Some(Answer::TimedOut) => {
            s.answer = match (&seen, wait.pull) {
                (Some(seen), _) => seen.answers_to(wait, &s.delivered_of(seen.pull.number)),
                (None, Some(number)) => Some(Answer::not_own(number, &[])),
                (None, None) => Some(Answer::NoPullRequest),
            };
        }
        Some(_) => {}
        None => turn::observed(s, seen.as_ref(), was_open),
    }
    let could_not = s.lifecycle == Lifecycle::Suspended && !s.notice.is_empty();
    if could_not && before == (s.answer.clone(), s.inbox.len()) {
        // It was tried for this, and says why that failed: it is left to a person.
        return vec![];
    }
    bring(s)
}

/// The wait with this id has lasted until its `until`.
pub(super) fn time_is_up(s: &mut Session, id: u64) -> Vec<Effect> {
    match &s.wait {
        Some(wait) if wait.id == id && s.answer.is_none() && !s.delivering => {
            s.answer = Some(Answer::TimedOut);
            bring(s)
        }
        _ => vec![],
    }
}

/// The agent's wait took its answer.
pub(super) fn delivered(s: &mut Session) -> Vec<Effect> {
    if !s.delivering {
        return vec![];
    }
    match s.answer.take() {
        Some(Answer::Message { text }) => {
            let free = usize::from(s.unread);
            let at = s.inbox.iter().skip(free).position(|message| message.is_line() && message.text == text);
            if let Some(at) = at {
                s.inbox.remove(free + at);
            }
        }
        Some(answer) => s.remember(&answer),
        None => {}
    }
    end_wait(s)
}

/// The agent's wait took this answer at the handshake that brings the session back.
pub(super) fn went_along(s: &mut Session, due: Due) -> Vec<Effect> {
    if s.wait.as_ref().is_none_or(|wait| wait.id != due.wait) {
        return vec![];
    }
    (s.answer, s.delivering) = (Some(due.answer), true);
    delivered(s)
}

/// No command waited for the answer; it is worked out again for the next wait.
pub(super) fn not_delivered(s: &mut Session) -> Vec<Effect> {
    if s.delivering { end_wait(s) } else { vec![] }
}

fn end_wait(s: &mut Session) -> Vec<Effect> {
    let next = s.next_wait.take();
    forget(s);
    let mut effects = vec![];
    if matches!(s.activity, Activity::WaitingChecks | Activity::WaitingReview | Activity::Idle | Activity::NeedsInput) {
        s.set_activity(Activity::Working, String::new());
        effects = agent::follow(s);
    }
    effects.extend(match next {
        Some(wait) => begin(s, wait),
        None => go_on(s),
    });
    effects
}

/// Forgets waits and their answer: the commands that waited in the guest are gone.
pub(super) fn forget(s: &mut Session) {
    (s.wait, s.next_wait, s.answer, s.delivering) = (None, None, None, false);
}

/// Gives the agent what is there for it, and has a suspended session resumed for that; nothing is done where there is nothing.
fn bring(s: &mut Session) -> Vec<Effect> {
    if !s.has_something() {
        return vec![];
    }
    match s.lifecycle {
        Lifecycle::Running => go_on(s),
        Lifecycle::Suspended => s.want(),
        Lifecycle::Suspending => {
            s.wake = true;
            vec![]
        }
        _ => vec![],
    }
}

/// Gives the agent what is there for it, one thing at a time: the answer to its wait, else the oldest message.
pub(super) fn go_on(s: &mut Session) -> Vec<Effect> {
    if s.wait.is_none() {
        turn::type_answer(s);
        return type_next(s);
    }
    if s.delivering || s.typing || s.forking || s.lifecycle != Lifecycle::Running || s.exited.is_some() {
        return vec![];
    }
    match s.due() {
        Some(Due { wait, answer }) => {
            (s.answer, s.delivering) = (Some(answer.clone()), true);
            vec![Effect::Deliver { generation: s.generation, wait, answer }]
        }
        // It is not in the way of a wait for something else.
        None => type_next(s),
    }
}
