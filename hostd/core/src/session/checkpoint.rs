//! Checkpoints: snapshots of a session that runs on, and how it goes back to one.

use super::{Effect, Lifecycle, Session, bounds::TEXT_MAX, input::Denied, send, step::stands_still_for};
use crate::{UnixMillis, text};

/// How the notice of a checkpoint that failed begins.
const NOT_CHECKPOINTED: &str = "no checkpoint could be taken: ";

/// The session's VM comes to a stand; what is on disk only has all that a checkpoint would have.
pub(super) fn begin(s: &mut Session) -> Result<Vec<Effect>, Denied> {
    match s.lifecycle {
        Lifecycle::Suspended | Lifecycle::Suspending => {
            Err(Denied(format!("it is {}: all of it is on disk already", s.lifecycle.word())))
        }
        Lifecycle::Running => stands_still_for(s).map(|()| vec![]),
        _ => Err(Denied(format!("it is {}; a checkpoint is taken of a session that runs", s.lifecycle.word()))),
    }
}

/// The session runs on, and the checkpoint is there.
pub(super) fn taken(s: &mut Session) -> Vec<Effect> {
    if s.notice.starts_with(NOT_CHECKPOINTED) {
        s.notice.clear();
    }
    runs_on(s)
}

/// The session runs on, and there is no checkpoint.
pub(super) fn failed(s: &mut Session, why: &str) -> Vec<Effect> {
    // Whatever else is told there counts more.
    if s.lifecycle == Lifecycle::Running && (s.notice.is_empty() || s.notice.starts_with(NOT_CHECKPOINTED)) {
        s.notice = format!("{NOT_CHECKPOINTED}{}", text::clean(why, TEXT_MAX));
    }
    runs_on(s)
}

fn runs_on(s: &mut Session) -> Vec<Effect> {
    if std::mem::take(&mut s.forking) && s.lifecycle == Lifecycle::Running { send::on(s) } else { vec![] }
}

/// The session is as it was `then`, suspended and wanted. What is not the agent's own stays: who the session is, what it has spent
/// and may reach, its pull request, and messages that were sent since and not read.
pub(super) fn restore(s: &mut Session, then: Session, now: UnixMillis) -> Result<Vec<Effect>, Denied> {
    let mut effects = match s.lifecycle {
        _ if s.forking => return Err(super::step::forked_now()),
        Lifecycle::Running => vec![Effect::End],
        Lifecycle::Suspended | Lifecycle::Stopped { .. } | Lifecycle::Crashed { .. } => vec![],
        _ => {
            let word = s.lifecycle.word();
            return Err(Denied(format!(
                "it is {word}; go back to a checkpoint when it runs, is suspended, or has ended"
            )));
        }
    };
    let mut inbox = then.inbox.clone();
    // What the forge said since is read from it again.
    inbox.extend(s.inbox.iter().filter(|message| message.id > then.sent && !message.of_forge).cloned());
    inbox.truncate(Session::INBOX);
    *s = Session {
        id: s.id.clone(),
        slug: s.slug.clone(),
        title: s.title.clone(),
        owner: s.owner.clone(),
        lifecycle: Lifecycle::Suspended,
        // What is said of the life that is given up is not of this one any more.
        generation: s.generation.max(then.generation) + 1,
        began: s.began,
        inbox,
        sent: s.sent,
        typing: false,
        wake: false,
        wanted: true,
        waiting: String::new(),
        notice: String::new(),
        forking: false,
        delivering: false,
        answered: None,
        went_on: 0,
        limit_tries: 0,
        // A person's act begins a new row of crashes.
        crashes: vec![],
        up_at: 0,
        restart: s.restart,
        pull: s.pull.clone(),
        spending: s.spending,
        budget: s.budget,
        allowed: s.allowed.clone(),
        deleting: false,
        created_at: s.created_at,
        updated_at: now.max(s.updated_at),
        turned_at: s.turned_at,
        ..then
    };
    // What its model's API said meanwhile is of no agent that is there.
    (s.reports.gateway, s.reports.typed_at) = (None, 0);
    effects.push(Effect::Admit);
    effects.extend((s.wait.is_some() || s.pull.is_some()).then_some(Effect::Observe));
    Ok(effects)
}
