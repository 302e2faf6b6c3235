//! The oldest message of a session's inbox: on its way to the guest, or in it unread.

use super::{Activity, Effect, Lifecycle, Session, agent};

/// Types the oldest message, unless another is not read yet or nobody would read it.
pub(super) fn type_next(s: &mut Session) -> Vec<Effect> {
    if s.typing || s.unread || s.forking || s.lifecycle != Lifecycle::Running || s.exited.is_some() {
        return vec![];
    }
    forget_late_answer(s);
    let Some(mut message) = s.inbox.first().cloned() else { return vec![] };
    if message.id == 0 {
        // Of a record of before messages had one.
        s.sent += 1;
        message.id = s.sent;
        s.inbox[0].id = s.sent;
    }
    s.typing = true;
    // An answer has been given: the question is no longer open, nor is what has stopped the agent.
    if matches!(s.activity, Activity::NeedsInput | Activity::Idle | Activity::Failed) && message.answers() {
        agent::goes_on(s);
    }
    vec![Effect::Type { generation: s.generation, message }]
}

/// Removes an answer from the inbox that was not typed before its question was over: its keys would mean something else.
fn forget_late_answer(s: &mut Session) {
    let Some(answered) = &s.answered else { return };
    if s.reports.permission().is_none_or(|permission| permission.id != answered.permission) {
        let id = answered.message;
        s.inbox.retain(|message| message.id != id);
    }
}

/// Whether the message with this id is on its way to the guest, or in it unread.
pub(super) fn is_under_way(s: &Session, id: u64) -> bool {
    (s.typing || s.unread) && s.inbox.first().is_some_and(|message| message.id == id)
}
