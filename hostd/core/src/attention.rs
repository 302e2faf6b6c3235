//! Whose turn it is, and why. Derived from lifecycle and activity, in one place, never stored.

use crate::{
    session::{Activity, Cause, Lifecycle, Session},
    text,
};

/// Longest reason, in bytes.
const REASON_MAX: usize = 512;

/// Whose turn it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Turn {
    /// A person looking at the console must act.
    You,
    /// Checks run.
    Checks,
    /// Another person must act.
    Other,
    /// The agent works, or is on its way.
    Agent,
    /// It is over, or waits for a place.
    Nobody,
}

impl Turn {
    /// The word of the API and of `--json`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::You => "you",
            Self::Checks => "checks",
            Self::Other => "other",
            Self::Agent => "agent",
            Self::Nobody => "nobody",
        }
    }
}

/// Whose turn it is, with a reason that stands alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attention {
    /// Whose turn.
    pub turn: Turn,
    /// Why, in words for a person; one line.
    pub reason: String,
}

/// Derives whose turn it is. Total: every combination of lifecycle and activity has an answer.
#[must_use]
pub fn attention(session: &Session) -> Attention {
    let (turn, mut reason) = derive(session);
    if !session.notice.is_empty() && !session.deleting {
        reason = format!("{reason} ({})", session.notice);
    }
    Attention { turn, reason: text::clean(&text::one_line(&reason), REASON_MAX) }
}

fn derive(s: &Session) -> (Turn, String) {
    if s.deleting {
        return (Turn::Nobody, "is being deleted".into());
    }
    match &s.lifecycle {
        Lifecycle::Crashed { cause } if s.activity == Activity::Done => {
            (Turn::Nobody, said("done", &s.text) + &format!(" ({cause})"))
        }
        Lifecycle::Crashed { cause } => (Turn::You, format!("crashed: {cause}")),
        Lifecycle::Queued => (Turn::Nobody, "waits for a place to start".into()),
        Lifecycle::Starting => (Turn::Agent, "starting".into()),
        Lifecycle::Stopped { cause: Cause::PoweredOff } if !s.activity.is_over() => {
            (Turn::You, "powered off before the agent was done".into())
        }
        Lifecycle::Stopped { cause } if !s.activity.is_over() => {
            (Turn::You, format!("stopped before the agent was done: {cause}"))
        }
        // Somebody put it to disk while it was at work: nothing moves until somebody brings it back.
        Lifecycle::Suspended if s.activity == Activity::Working && s.exited.is_none() => {
            (Turn::Nobody, "suspended while at work; resume it to go on".into())
        }
        Lifecycle::Running
        | Lifecycle::Suspending
        | Lifecycle::Suspended
        | Lifecycle::Resuming
        | Lifecycle::Stopped { .. } => by_activity(s),
    }
}

fn by_activity(s: &Session) -> (Turn, String) {
    match s.activity {
        Activity::Working => (Turn::Agent, said("working", &s.text)),
        Activity::NeedsInput => (Turn::You, said("asks", &s.text)),
        Activity::WaitingChecks => (Turn::Checks, said("waits on checks", &s.text)),
        Activity::WaitingReview => (Turn::Other, said("waits for review", &s.text)),
        Activity::Idle => (Turn::You, said("idle", &s.text)),
        Activity::Done => (Turn::Nobody, said("done", &s.text)),
        Activity::Failed => (Turn::You, said("failed", &s.text)),
    }
}

fn said(what: &str, text: &str) -> String {
    if text.is_empty() { what.into() } else { format!("{what}: {text}") }
}
