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
        "checks" | "review" | "changes" => ("◔", Scope::StateBusy),
        "asks" | "permission" | "sign in" | "limited" | "budget" | "merge" | "calls" | "may ask" | "disk full"
        | "stands still" => ("?", Scope::StateAsks),
        "idle" => ("◌", Scope::StateAsks),
        "crashed" | "failed" => ("✗", Scope::StateBad),
        "suspended" => ("‖", Scope::StateQuiet),
        _ => ("○", Scope::StateQuiet),
    }
}

/// Glyph and style of what a session's turn is about: what a person is asked for looks the same wherever the session is.
pub(super) fn session(session: &Session) -> (&'static str, Scope) {
    match (session.word(), session.turn) {
        ("review" | "merge" | "checks" | "changes", Turn::You) => ("?", Scope::StateAsks),
        // It goes on without anybody.
        ("limited", Turn::Agent) => ("◔", Scope::StateBusy),
        (word, _) => look(word),
    }
}

/// Glyph and style of what a part of a program is doing.
pub(super) fn part(state: &str) -> (&'static str, Scope) {
    look(match state {
        "blocked" => "asks",
        "error" => "failed",
        state => state,
    })
}

/// Glyph and style of how a session is kept, where its word does not say it: on disk, or on its way there or back; and that
/// something went wrong with that.
pub(super) fn kept(session: &Session) -> (&'static str, Scope) {
    let lifecycle = &*session.lifecycle;
    match lifecycle {
        _ if session.word() == lifecycle => (" ", Scope::Text),
        "suspended" | "suspending" | "resuming" => look(lifecycle),
        _ if !session.notice.is_empty() => ("!", Scope::StateBad),
        _ => (" ", Scope::Text),
    }
}

/// Words for what a session's turn is about, and for how it is kept where that says more.
pub(super) fn standing_of(session: &Session) -> String {
    match &*session.lifecycle {
        "" | "running" => session.word().to_owned(),
        kept if kept == session.word() => kept.to_owned(),
        kept => format!("{} · {kept}", session.word()),
    }
}

/// Glyph and style of what reviews come to.
pub(super) fn standing(word: &str) -> (&'static str, Scope) {
    match word {
        "approved" => ("✓", Scope::StateGood),
        "changes-requested" => ("◔", Scope::StateBusy),
        "closed" => ("○", Scope::StateQuiet),
        _ => ("?", Scope::StateAsks),
    }
}

/// Short word for what reviews come to.
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

/// Reason of a session's turn without the state word that stands beside it.
pub(super) fn why(session: &Session) -> &str {
    let reason = &*session.reason;
    let rest = reason.strip_prefix(session.word()).unwrap_or(reason);
    match rest.strip_prefix(": ") {
        Some(rest) => rest,
        None if rest.is_empty() => "",
        None => reason,
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("asks", "needs-input", Turn::You)]
    #[case("permission", "needs-input", Turn::You)]
    #[case("review", "waiting-review", Turn::You)]
    #[case("merge", "waiting-review", Turn::You)]
    #[case("calls", "working", Turn::You)]
    #[case("may ask", "working", Turn::You)]
    #[case("disk full", "working", Turn::You)]
    fn what_a_person_is_asked_for_looks_the_same_wherever_it_is_kept(
        #[case] word: &str,
        #[case] activity: &str,
        #[case] turn: Turn,
    ) {
        let kept_as = |lifecycle: &str| Session {
            word: word.into(),
            activity: activity.into(),
            turn,
            lifecycle: lifecycle.into(),
            ..Session::default()
        };
        for (lifecycle, glyph) in [("running", " "), ("suspended", "‖"), ("suspending", "◑")] {
            let it = kept_as(lifecycle);
            assert_eq!((session(&it), it.word()), (("?", Scope::StateAsks), word));
            assert_eq!(kept(&it).0, glyph, "and how it is kept is second");
        }
        assert_eq!(standing_of(&kept_as("suspended")), format!("{word} · suspended"));
        let failed = Session { notice: "could not be suspended: no room".into(), ..kept_as("running") };
        assert_eq!(kept(&failed).0, "!");
    }

    #[test]
    fn what_never_ran_does_nothing() {
        let crashed = Session { lifecycle: "crashed".into(), activity: "working".into(), ..Session::default() };
        assert_eq!((standing_of(&crashed).as_str(), crashed.doing()), ("crashed", ""));
    }
}
