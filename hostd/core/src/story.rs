//! A session's story: what happened to it, when, and on whose behalf. Derived from each change of a session or of its pull
//! requests, and kept in the transaction that keeps the change.

mod pulls;
mod sessions;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use crate::{UnixMillis, actor::Actor, text};

pub use pulls::of_pull;
pub use sessions::{created, forked, inherited, of_session};

/// Longest text of an event, in bytes.
const TEXT_MAX: usize = 400;

/// One thing that happened to a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Id of the session that it happened to.
    pub session: String,
    /// When it happened.
    pub at: UnixMillis,
    /// On whose behalf it was done.
    pub actor: Actor,
    /// What happened, as the word of the API and of `--json`, such as `created` or `merged`.
    pub what: String,
    /// What happened, in words for a person: one line without control characters, at most 400 bytes.
    pub text: String,
}

impl Event {
    /// An event, its text made one clean line and bounded.
    #[must_use]
    pub fn new(session: &str, at: UnixMillis, actor: Actor, what: &str, said: &str) -> Self {
        let text = text::clean(&text::one_line(said), TEXT_MAX);
        Self { session: session.into(), at, actor, what: what.into(), text }
    }
}
