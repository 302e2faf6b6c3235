//! Which states can be waited for, and whether one is reached or out of reach.

use std::fmt;

use pilothouse_proto::hostd::v1::Session;

use crate::cli::format::plain;

const LIFECYCLE: [&str; 9] =
    ["queued", "starting", "running", "suspending", "suspended", "resuming", "stopped", "crashed", "deleted"];
const ACTIVITY: [&str; 9] =
    ["not-started", "working", "needs-input", "waiting-checks", "waiting-review", "idle", "done", "failed", "ended"];
const TURN: [&str; 5] = ["agent", "you", "checks", "other", "nobody"];

/// The states waited for; any of them will do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target(Vec<String>);

/// What a session's state means for a wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The session is in a state that is waited for.
    Reached,
    /// The state may still come.
    NotYet,
    /// The state cannot come by itself any more; why.
    Never(String),
    /// As [`Verdict::Never`], unless a report is still on its way.
    NeverSoon(String),
}

impl Target {
    /// Parses the words; an unknown one is an error that lists them all.
    pub(crate) fn parse(words: &[String]) -> Result<Self, String> {
        let mut target = Vec::new();
        for word in words.iter().map(|word| word.trim().to_lowercase().replace('_', "-")) {
            if ![&LIFECYCLE[..], &ACTIVITY, &TURN].concat().contains(&word.as_str()) {
                let all = [&LIFECYCLE[..], &ACTIVITY, &TURN].map(|words| words.join(", ")).join("; ");
                return Err(format!("there is no state `{word}`; there are {all}"));
            }
            target.push(word);
        }
        Ok(Self(target))
    }

    /// Whether deletion is waited for.
    pub(crate) fn is_deleted(&self) -> bool {
        self.has("deleted")
    }

    fn has(&self, word: &str) -> bool {
        self.0.iter().any(|target| target == word)
    }

    fn has_lifecycle(&self) -> bool {
        self.0.iter().any(|target| LIFECYCLE.contains(&target.as_str()))
    }

    /// Judges a session. A VM that is down comes up again, and an agent that is done starts again, only when a person says so:
    /// nobody should wait for that.
    pub(crate) fn judge(&self, session: &Session) -> Verdict {
        let words = [&session.lifecycle, &session.activity, &session.attention];
        if words.iter().any(|word| self.has(word)) {
            return Verdict::Reached;
        }
        if self.is_deleted() || session.deleting {
            return Verdict::NotYet;
        }
        let why = plain(&session.reason);
        match (session.lifecycle.as_str(), session.activity.as_str()) {
            ("crashed" | "stopped", _) => Verdict::NeverSoon(why),
            (_, "done" | "failed") if !self.has_lifecycle() => Verdict::Never(why),
            _ => Verdict::NotYet,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(" or "))
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn session(lifecycle: &str, activity: &str, attention: &str) -> Session {
        Session {
            lifecycle: lifecycle.into(),
            activity: activity.into(),
            attention: attention.into(),
            reason: "why".into(),
            ..Default::default()
        }
    }

    fn target(words: &str) -> Target {
        Target::parse(&words.split(',').map(String::from).collect::<Vec<_>>()).unwrap()
    }

    #[rstest]
    #[case("running", ("running", "working", "agent"), Verdict::Reached)]
    #[case("done", ("running", "done", "nobody"), Verdict::Reached)]
    #[case("you", ("crashed", "working", "you"), Verdict::Reached)]
    #[case("done,crashed", ("crashed", "working", "you"), Verdict::Reached)]
    #[case("Needs_Input", ("running", "needs-input", "you"), Verdict::Reached)]
    #[case("done", ("running", "working", "agent"), Verdict::NotYet)]
    #[case("done", ("running", "needs-input", "you"), Verdict::NotYet)]
    #[case("stopped", ("running", "done", "nobody"), Verdict::NotYet)]
    #[case("deleted", ("crashed", "failed", "you"), Verdict::NotYet)]
    #[case("done", ("running", "failed", "you"), Verdict::Never("why".into()))]
    #[case("needs-input", ("running", "done", "nobody"), Verdict::Never("why".into()))]
    #[case("done", ("crashed", "ended", "you"), Verdict::NeverSoon("why".into()))]
    #[case("working", ("starting", "not-started", "agent"), Verdict::NotYet)]
    #[case("running", ("stopped", "done", "nobody"), Verdict::NeverSoon("why".into()))]
    fn states_are_judged(#[case] words: &str, #[case] at: (&str, &str, &str), #[case] want: Verdict) {
        assert_eq!(target(words).judge(&session(at.0, at.1, at.2)), want);
    }

    #[test]
    fn unknown_words_are_errors_that_list_the_known() {
        let error = Target::parse(&["finished".into()]).unwrap_err();
        assert!(error.starts_with("there is no state `finished`; there are queued, "), "{error}");
        assert!(error.contains("needs-input") && error.contains("nobody"), "{error}");
    }
}
