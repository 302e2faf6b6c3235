//! States as a glyph, a word and a style.

use crate::{
    fleet::{Connection, Session, Turn},
    theme::Scope,
};

/// Glyph and style of a state word of sessions and environments.
pub(super) fn look(word: &str) -> (&'static str, Scope) {
    match word {
        "working" | "running" => ("●", Scope::StateGood),
        "done" | "ready" => ("✓", Scope::StateGood),
        "starting" | "resuming" | "building" => ("◐", Scope::StateBusy),
        "suspending" | "deleting" => ("◑", Scope::StateBusy),
        "checks" | "review" => ("◔", Scope::StateBusy),
        "asks" => ("?", Scope::StateAsks),
        "idle" => ("◌", Scope::StateAsks),
        "crashed" | "failed" => ("✗", Scope::StateBad),
        "suspended" => ("‖", Scope::StateQuiet),
        _ => ("○", Scope::StateQuiet),
    }
}

/// Glyph and style of how reviews stand.
pub(super) fn standing(word: &str) -> (&'static str, Scope) {
    match word {
        "approved" => ("✓", Scope::StateGood),
        "changes-requested" => ("◔", Scope::StateBusy),
        _ => ("?", Scope::StateAsks),
    }
}

/// The same in a short word.
pub(super) fn standing_word(word: &str) -> &str {
    match word {
        "waiting" => "review",
        "outdated" => "again",
        "changes-requested" => "changes",
        other => other,
    }
}

/// Glyph and style of what checks come to.
pub(super) fn outcome(word: &str) -> (&'static str, Scope) {
    match word {
        "passed" => ("✓", Scope::StateGood),
        "failed" => ("✗", Scope::StateBad),
        "pending" => ("◐", Scope::StateBusy),
        _ => ("○", Scope::StateQuiet),
    }
}

/// Glyph and style of a check's state.
pub(super) fn check(word: &str) -> (&'static str, Scope) {
    match word {
        "passed" => ("✓", Scope::StateGood),
        "failed" | "errored" => ("✗", Scope::StateBad),
        "running" => ("◐", Scope::StateBusy),
        _ => ("○", Scope::StateQuiet),
    }
}

/// Glyph, word and style of a connection.
pub(super) fn connection(connection: &Connection) -> (&'static str, &'static str, Scope) {
    match connection {
        Connection::Up(_) => ("●", "up", Scope::StateGood),
        Connection::Connecting(None) => ("◐", "connecting", Scope::StateBusy),
        Connection::Connecting(Some(_)) => ("✗", "not there", Scope::StateBad),
        Connection::Lost(..) => ("✗", "lost", Scope::StateBad),
    }
}

pub(super) fn turn(turn: Turn) -> Scope {
    match turn {
        Turn::You => Scope::TurnYou,
        Turn::Checks => Scope::TurnChecks,
        Turn::Other => Scope::TurnOther,
        Turn::Agent => Scope::TurnAgent,
        Turn::Nobody => Scope::TurnNobody,
    }
}

/// The reason without the state word that stands beside it.
pub(super) fn why(session: &Session) -> &str {
    let reason = &*session.reason;
    let rest = reason.strip_prefix(session.word()).unwrap_or(reason);
    match rest.strip_prefix(": ") {
        Some(rest) => rest,
        None if rest.is_empty() => "",
        None => reason,
    }
}
