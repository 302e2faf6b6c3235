//! Messages of people: posted to the inbox, given to the guest one at a time, and gone once the agent has read them.

use super::{Activity, Denied, Effect, Lifecycle, Message, Session, agent, deliver, go_on, inbox::is_under_way};

pub(super) fn send(s: &mut Session, message: Message) -> Result<Vec<Effect>, Denied> {
    may_send(s)?;
    go_on::seen_to(s);
    // It is answered, however long it takes until that can be typed: what is sent after it answers another question.
    if s.activity == Activity::NeedsInput && message.answers() {
        agent::goes_on(s);
    }
    // Keys may be what ends a program that reads nothing.
    let at_once = s.lifecycle == Lifecycle::Running && !message.keys.is_empty() && (s.typing || s.unread);
    if at_once {
        s.sent += 1;
        let message = Message { id: s.sent, ..message };
        return Ok(vec![Effect::Press { generation: s.generation, message }]);
    }
    if message.of_restart {
        // One that was not read is of a restart that is over.
        s.inbox.retain(|message| !message.of_restart);
    }
    s.post(message);
    match s.lifecycle {
        Lifecycle::Running => Ok(deliver::go_on(s)),
        Lifecycle::Suspended => Ok(s.want()),
        Lifecycle::Suspending => {
            s.wake = true;
            Ok(vec![])
        }
        _ => Ok(vec![]),
    }
}

fn may_send(s: &Session) -> Result<(), Denied> {
    match s.lifecycle {
        Lifecycle::Stopped { .. } | Lifecycle::Crashed { .. } => {
            Err(Denied(format!("it is {}; restart it before you send to it", s.lifecycle.word())))
        }
        // One that waits for its start has another agent then.
        Lifecycle::Running | Lifecycle::Suspending | Lifecycle::Suspended | Lifecycle::Resuming
            if s.exited.is_some() =>
        {
            Err(Denied("its agent has ended; restart the session before you send to it".into()))
        }
        _ if s.inbox.len() >= Session::INBOX => {
            Err(Denied(format!("{} messages wait for it already; wait until they are read", Session::INBOX)))
        }
        _ => Ok(()),
    }
}

/// Effects for a VM that runs on with another link: the guest's message is followed again, and what waited is given to the
/// agent.
pub(super) fn on(s: &mut Session) -> Vec<Effect> {
    let followed = s.inbox.first().filter(|_| s.unread).cloned();
    let mut effects: Vec<_> =
        followed.map(|message| Effect::Type { generation: s.generation, message }).into_iter().collect();
    effects.extend(deliver::go_on(s));
    effects
}

pub(super) fn typed(s: &mut Session, id: u64) -> Vec<Effect> {
    if !is_under_way(s, id) || s.unread {
        return vec![];
    }
    // An agent that has ended reads nothing: the message is kept for the next one.
    (s.typing, s.unread) = (false, s.exited.is_none());
    deliver::go_on(s)
}

pub(super) fn read(s: &mut Session, id: u64) -> Vec<Effect> {
    if !is_under_way(s, id) {
        return vec![];
    }
    (s.typing, s.unread) = (false, false);
    let message = s.inbox.remove(0);
    if s.activity == Activity::Done && s.exited.is_none() && message.answers() {
        // Whoever was done has something to do again.
        s.set_activity(Activity::Working, String::new());
    }
    deliver::go_on(s)
}

pub(super) fn not_typed(s: &mut Session, id: u64) -> Vec<Effect> {
    // Where it was an answer to a permission, another one may be given.
    s.answered.take_if(|answered| answered.message == id);
    if !is_under_way(s, id) {
        return vec![];
    }
    (s.typing, s.unread) = (false, false);
    if s.answer.is_some() { deliver::go_on(s) } else { vec![] }
}
