//! One thing that happened to a session, as the console knows it.

use crate::{Millis, text};

/// Longest text that is kept of an event, in bytes; hosts cut it shorter.
pub(crate) const TEXT_MAX: usize = 1024;

/// One thing that happened to a session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// Number of the event, rising over all sessions of its host.
    pub id: i64,
    /// When it happened.
    pub at: Millis,
    /// On whose behalf it was done, in words.
    pub who: String,
    /// Word for what happened, such as `created` or `merged`.
    pub what: String,
    /// What happened, in words; one line.
    pub text: String,
}

impl Event {
    /// Returns the event without anything that could hurt a terminal or a layout.
    #[must_use]
    pub fn cleaned(self) -> Self {
        let Self { id, at, who, what, text } = self;
        let line = |foreign: String, max| text::one_line(&foreign, max);
        Self { id, at, who: line(who, 256), what: line(what, 64), text: line(text, TEXT_MAX) }
    }
}

/// What an event means to whoever reads the story.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// Something went wrong.
    Bad,
    /// Somebody is asked for something.
    Asks,
    /// Something came to a good end.
    Good,
    /// Something happened.
    Plain,
}

impl Mood {
    /// The mood of an event with this word. A word that is not known is plain.
    #[must_use]
    pub fn of(what: &str) -> Self {
        match what {
            "crashed" | "failed" | "oom-killed" | "disk-full" | "repository-broken" | "suspend-failed"
            | "wake-failed" => Self::Bad,
            "asks" | "needs-permission" | "needs-sign-in" | "changes-requested" | "budget-used-up" => Self::Asks,
            "approved" | "merged" | "done" => Self::Good,
            _ => Self::Plain,
        }
    }
}
