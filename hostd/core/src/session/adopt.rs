//! A VM that outlives its hostd: taken over by the next one, with what was under way.

use super::{Effect, Lifecycle, Session, send};

/// hostd has started, and takes the session's VM over. Until it has it, all stays as it was.
pub(super) fn begin(s: &mut Session) -> Vec<Effect> {
    if !matches!(s.lifecycle, Lifecycle::Running | Lifecycle::Suspending) {
        return vec![];
    }
    s.waiting.clear();
    // What happened on the forge meanwhile told nobody.
    if s.wait.is_some() || s.pull.is_some() { vec![Effect::Observe] } else { vec![] }
}

/// The VM is this hostd's. A fork that was under way is made or not, a suspend is done again where nobody wants the session back at
/// once. What was on its way into the guest goes there again: a guest takes it once.
pub(super) fn done(s: &mut Session) -> Vec<Effect> {
    s.forking &= s.lifecycle != Lifecycle::Running;
    match s.lifecycle {
        Lifecycle::Suspending if std::mem::take(&mut s.wake) => {
            s.lifecycle = Lifecycle::Running;
            send::on(s)
        }
        Lifecycle::Suspending => vec![Effect::Suspend],
        Lifecycle::Running if s.typing || s.delivering => {
            let message = s.inbox.first().filter(|_| s.typing || s.unread).cloned();
            let typed = message.map(|message| Effect::Type { generation: s.generation, message });
            let due = s.wait.as_ref().map(|wait| wait.id).zip(s.answer.clone()).filter(|_| s.delivering);
            let deliver = |(wait, answer)| Effect::Deliver { generation: s.generation, wait, answer };
            typed.into_iter().chain(due.map(deliver)).collect()
        }
        Lifecycle::Running => send::on(s),
        _ => vec![],
    }
}
