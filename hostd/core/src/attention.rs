//! Whose turn it is, and why. Derived from lifecycle and activity, in one place, never stored.

use crate::{
    UnixMillis,
    pulls::Standing,
    session::{Activity, Answer, Cause, Fate, Lifecycle, Session},
    text,
};

/// In milliseconds.
const MINUTE: UnixMillis = 60_000;
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
///
/// Of a pull request as in Gerrit's attention set: whoever is waited for has the turn, and a reply hands it on. Checks take it
/// only by bad news, and nothing that an observer does moves it. `now` is for the ages in the reason.
#[must_use]
pub fn attention(session: &Session, now: UnixMillis) -> Attention {
    if session.lifecycle == Lifecycle::Suspended && !session.notice.is_empty() && !session.deleting {
        // It stays where it is until somebody does something about it.
        return Attention { turn: Turn::You, reason: text::clean(&text::one_line(&session.notice), REASON_MAX) };
    }
    let (turn, mut reason) = derive(session, now);
    if !session.notice.is_empty() && !session.deleting {
        reason = format!("{reason} ({})", session.notice);
    }
    Attention { turn, reason: text::clean(&text::one_line(&reason), REASON_MAX) }
}

/// The same in steps of a minute since the session last changed: for telling news of it from what is known, as the ages in
/// the reason grow.
#[must_use]
pub fn attention_by_minute(session: &Session, now: UnixMillis) -> Attention {
    let since = now.saturating_sub(session.updated_at).max(0);
    attention(session, session.updated_at.saturating_add(since - since % MINUTE))
}

fn derive(s: &Session, now: UnixMillis) -> (Turn, String) {
    if s.deleting {
        return (Turn::Nobody, "is being deleted".into());
    }
    match &s.lifecycle {
        Lifecycle::Crashed { cause } if s.activity == Activity::Done => {
            (Turn::Nobody, said("done", &s.text) + &format!(" ({cause})"))
        }
        Lifecycle::Crashed { cause } => (Turn::You, format!("crashed: {cause}")),
        Lifecycle::Queued | Lifecycle::Suspended if !s.waiting.is_empty() => (Turn::Nobody, s.waiting.clone()),
        Lifecycle::Queued => (Turn::Nobody, "waits for a place to start".into()),
        Lifecycle::Starting => (Turn::Agent, "starting".into()),
        Lifecycle::Resuming | Lifecycle::Suspended if s.answer.is_some() || !s.inbox.is_empty() => {
            (Turn::Agent, format!("wakes: {}", news(s)))
        }
        Lifecycle::Stopped { cause: Cause::PoweredOff } if !s.activity.is_over() => {
            (Turn::You, "powered off before the agent was done".into())
        }
        Lifecycle::Stopped { cause } if !s.activity.is_over() => {
            (Turn::You, format!("stopped before the agent was done: {cause}"))
        }
        // Somebody put it to disk while it was at work: nothing moves until somebody brings it back.
        Lifecycle::Suspended if s.activity == Activity::Working && s.exited.is_none() && !s.wanted => {
            (Turn::Nobody, "suspended while at work; resume it to go on".into())
        }
        Lifecycle::Running
        | Lifecycle::Suspending
        | Lifecycle::Suspended
        | Lifecycle::Resuming
        | Lifecycle::Stopped { .. } => by_activity(s, now),
    }
}

/// What a session is brought back for.
fn news(s: &Session) -> String {
    match &s.answer {
        Some(Answer::Checks { number, outcome, .. }) => format!("checks of #{number} {outcome}"),
        Some(Answer::Review { number, state: Fate::Merged, .. }) => format!("#{number} is merged"),
        Some(Answer::Review { number, state: Fate::Closed, .. }) => format!("#{number} is closed"),
        Some(Answer::Review { number, reviews, .. }) => {
            let verdict = reviews.last().map_or("reviewed", |review| review.verdict.word());
            format!("review of #{number}: {verdict}")
        }
        Some(Answer::TimedOut) => "its wait has lasted long enough".into(),
        Some(Answer::NoPullRequest) => "there is no pull request".into(),
        Some(Answer::Refused { .. }) => "its wait names a pull request that is not its own".into(),
        Some(Answer::Message { .. }) | None => "a message".into(),
    }
}

fn by_activity(s: &Session, now: UnixMillis) -> (Turn, String) {
    match s.activity {
        Activity::Working => (Turn::Agent, said("working", &s.text)),
        Activity::NeedsInput => (Turn::You, said("asks", &s.text)),
        Activity::WaitingChecks => (Turn::Checks, "waits on checks".to_owned() + &checks(s, now)),
        Activity::WaitingReview => reviewer(s, now),
        Activity::Idle => (Turn::You, said("idle", &s.text)),
        Activity::Done => done(s, now),
        Activity::Failed => (Turn::You, said("failed", &s.text)),
    }
}

/// `: 2 of 5, `integration` failed 3 min ago`.
fn checks(s: &Session, now: UnixMillis) -> String {
    let Some(pull) = &s.pull else { return String::new() };
    let failed = pull.failed.as_ref().map(|failed| format!(", `{}` failed {} ago", failed.name, age(failed.at, now)));
    match pull.total {
        0 => format!(" of #{}", pull.number),
        total => format!(": {} of {total}{}", pull.passed, failed.unwrap_or_default()),
    }
}

/// A review is a person's turn, unless its checks have not let it through yet.
fn reviewer(s: &Session, now: UnixMillis) -> (Turn, String) {
    let Some(pull) = &s.pull else { return (Turn::Other, said("waits for review", &s.text)) };
    let (number, since) = (pull.number, age(pull.since, now));
    match (pull.standing, pull.outcome()) {
        (_, Some("failed")) => (Turn::Agent, format!("checks of #{number}{}", checks(s, now))),
        (_, None) => (Turn::Checks, format!("waits for review of #{number} after its checks{}", checks(s, now))),
        (Standing::Approved, _) => (Turn::You, format!("#{number} is approved: merge it")),
        (Standing::ChangesRequested, _) => (Turn::Agent, format!("changes to #{number} were asked for")),
        (Standing::Outdated, _) => (Turn::You, format!("review of #{number} by you again, since {since}")),
        (Standing::Waiting, _) => (Turn::You, format!("review of #{number} by you since {since}")),
    }
}

/// The agent is done; its pull request may not be.
fn done(s: &Session, now: UnixMillis) -> (Turn, String) {
    let done = said("done", &s.text);
    match &s.pull {
        Some(pull) if pull.fate == Fate::Open => {
            let (turn, reason) = reviewer(s, now);
            match turn {
                // Nobody is there any more who would make them.
                Turn::Agent => (Turn::You, format!("{done}; {reason}")),
                turn => (turn, format!("{done}; {reason}")),
            }
        }
        Some(pull) if pull.fate == Fate::Merged => (Turn::Nobody, format!("{done}; #{} is merged", pull.number)),
        _ => (Turn::Nobody, done),
    }
}

/// `40 s`, `3 min`, `2 h`, `5 d`.
fn age(at: UnixMillis, now: UnixMillis) -> String {
    let seconds = now.saturating_sub(at).max(0) / 1000;
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..86400 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86400),
    }
}

fn said(what: &str, text: &str) -> String {
    if text.is_empty() { what.into() } else { format!("{what}: {text}") }
}
