//! A permission that is answered without the agent's terminal: its profile says by which keys.
//!
//! A key that comes too late would answer something else, so it is sent only while what the person was shown is still asked, and
//! only once.

use serde::{Deserialize, Serialize};

use super::{Denied, Effect, Message, Session, send};
use crate::{
    reports::{Kind, Permission, State},
    text,
};

/// Most bytes of what is asked for in a refusal.
const ASKED_MAX: usize = 200;

/// A permission that a person has answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answered {
    /// Id of the permission.
    pub permission: String,
    /// Id of the message whose keys answer it.
    pub message: u64,
}

impl Session {
    /// The permission that the agent's program asks for and that nobody has answered by keys yet; None: there is none.
    #[must_use]
    pub fn permission(&self) -> Option<Permission> {
        let asks = |state| state == State::Blocked(Some(Kind::Permission));
        self.reported().filter(|(_, report)| asks(report.state))?;
        self.reports.permission().filter(|permission| !self.is_answered(permission))
    }

    fn is_answered(&self, permission: &Permission) -> bool {
        self.answered.as_ref().is_some_and(|answered| answered.permission == permission.id)
    }
}

/// Presses the keys that allow or refuse what the permission of this id is for.
pub(super) fn answer(s: &mut Session, id: &str, allow: bool) -> Result<Vec<Effect>, Denied> {
    let deny = |why: &str| Err(Denied(format!("{why}; nothing was pressed")));
    let asked = s.reports.permission().filter(|_| s.exited.is_none());
    match (asked, s.permission()) {
        (Some(asked), _) if asked.id == id && s.is_answered(&asked) => {
            return deny("this permission is answered already");
        }
        (_, Some(now)) if now.id == id => {}
        (_, Some(now)) => {
            let what = text::clean(&now.text, ASKED_MAX);
            return deny(&format!("it does not ask for this permission any more, but for another one: {what}"));
        }
        _ => return deny("it does not ask for a permission any more"),
    }
    let keys = if allow { &s.answers.allow } else { &s.answers.deny };
    if keys.is_empty() {
        return deny("its agent's profile names no keys for this: attach to it and answer there");
    }
    if s.next_message().is_some() {
        return deny("a message is still on its way to it: try again");
    }
    let message = Message { keys: keys.clone(), ..Message::default() };
    let effects = send::send(s, message)?;
    s.answered = Some(Answered { permission: id.to_owned(), message: s.sent });
    Ok(effects)
}
