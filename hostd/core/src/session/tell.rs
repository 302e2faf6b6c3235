//! Waits and their answers: none is lost, none is told twice, none is of another head commit.
//!
//! What answers a wait is worked out again from each observation of the forge until it is handed over, so that it does not
//! matter when, or how often, or in which state of the VM an event comes.

use super::{
    Activity, Effect, Fate, Lifecycle, Message, Session, Wait, WaitFor,
    step::{set_activity, type_next, want},
    wait::{Answer, Observation},
};

/// The agent began a wait, or repeats one that is known.
pub(super) fn began(s: &mut Session, wait: Wait) -> Vec<Effect> {
    if wait.id <= s.asked || s.exited.is_some() {
        return vec![];
    }
    s.asked = wait.id;
    if s.telling {
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
        WaitFor::Checks => set_activity(s, Activity::WaitingChecks, String::new()),
        WaitFor::Review => set_activity(s, Activity::WaitingReview, String::new()),
        // A question stays open.
        WaitFor::Message if s.activity == Activity::NeedsInput => {}
        WaitFor::Message => set_activity(s, Activity::Idle, "waits for a message".into()),
    }
    if what == WaitFor::Message { bring(s) } else { vec![Effect::Observe] }
}

/// The agent's wait with this id ended without an answer.
pub(super) fn withdrawn(s: &mut Session, id: u64) -> Vec<Effect> {
    s.next_wait.take_if(|wait| wait.id == id);
    match &s.wait {
        Some(wait) if wait.id == id && !s.telling => over(s),
        _ => vec![],
    }
}

/// The session's pull request was read from the forge; `seen` is None where it has none.
pub(super) fn observed(s: &mut Session, seen: Option<Observation>) -> Vec<Effect> {
    let before = (s.answer.clone(), s.inbox.len());
    s.told_before();
    let seen = seen.map(|seen| {
        let told = s.told_of(seen.pull.number);
        seen.cleaned(&told)
    });
    s.pull = seen.as_ref().map(|seen| seen.pull.clone());
    match &s.wait {
        Some(wait) if wait.what != WaitFor::Message && !s.telling && s.answer != Some(Answer::TimedOut) => {
            s.answer = match (&seen, wait.pull) {
                (Some(seen), _) => seen.answers_to(wait, &s.told_of(seen.pull.number)),
                (None, Some(number)) => Some(Answer::not_own(number, &[])),
                (None, None) => Some(Answer::NoPullRequest),
            };
        }
        None if s.typed_events => {
            if let Some(seen) = seen {
                by_terminal(s, &seen);
            }
        }
        _ => {}
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
        Some(wait) if wait.id == id && s.answer.is_none() && !s.telling => {
            s.answer = Some(Answer::TimedOut);
            bring(s)
        }
        _ => vec![],
    }
}

/// The agent's wait took its answer.
pub(super) fn told(s: &mut Session) -> Vec<Effect> {
    if !s.telling {
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
    over(s)
}

/// No command waited for the answer; it is worked out again for the next wait.
pub(super) fn not_told(s: &mut Session) -> Vec<Effect> {
    if s.telling { over(s) } else { vec![] }
}

fn over(s: &mut Session) -> Vec<Effect> {
    let next = s.next_wait.take();
    forget(s);
    if matches!(s.activity, Activity::WaitingChecks | Activity::WaitingReview | Activity::Idle | Activity::NeedsInput) {
        set_activity(s, Activity::Working, String::new());
    }
    match next {
        Some(wait) => begin(s, wait),
        None => go_on(s),
    }
}

/// Forgets waits and their answer: the commands that waited in the guest are gone.
pub(super) fn forget(s: &mut Session) {
    (s.wait, s.next_wait, s.answer, s.telling) = (None, None, None, false);
}

/// Gives the agent what is there for it, and has a suspended session resumed for that; nothing is done where there is nothing.
fn bring(s: &mut Session) -> Vec<Effect> {
    if !s.has_something() {
        return vec![];
    }
    match s.lifecycle {
        Lifecycle::Running => go_on(s),
        Lifecycle::Suspended => want(s),
        Lifecycle::Suspending => {
            s.wake = true;
            vec![]
        }
        _ => vec![],
    }
}

/// Gives the agent what is there for it, one thing at a time: the answer to its wait, else the oldest message.
pub(super) fn go_on(s: &mut Session) -> Vec<Effect> {
    let Some(wait) = &s.wait else { return type_next(s) };
    if s.telling || s.typing || s.forking || s.lifecycle != Lifecycle::Running || s.exited.is_some() {
        return vec![];
    }
    let id = wait.id;
    if wait.what == WaitFor::Message && s.answer.is_none() {
        let line = s.next_message().filter(|message| message.is_line());
        s.answer = line.map(|message| Answer::Message { text: message.text.clone() });
    }
    match s.answer.clone() {
        Some(answer) => {
            s.telling = true;
            vec![Effect::Tell { generation: s.generation, wait: id, answer }]
        }
        // It is not in the way of a wait for something else.
        None => type_next(s),
    }
}

/// Puts what is new about the pull request into the inbox of an agent that does not wait by command.
fn by_terminal(s: &mut Session, seen: &Observation) {
    if s.exited.is_some() || s.inbox.len() + 2 > Session::INBOX {
        return;
    }
    let told = s.told_of(seen.pull.number);
    let checks = seen.answers(WaitFor::Checks, &told).filter(|_| seen.pull.total > 0 && !seen.checks_told(&told));
    let review = seen.answers(WaitFor::Review, &told);
    let review = review.filter(|answer| match answer {
        Answer::Review { state, reviews, .. } => !reviews.is_empty() || (*state != Fate::Open && !told.over),
        _ => false,
    });
    for answer in [checks, review].into_iter().flatten() {
        s.remember(&answer);
        s.post(Message::line(answer.in_words()));
    }
}
