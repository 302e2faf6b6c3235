//! Checks: the CI results of a commit, and what they come to together.

use serde::{Deserialize, Serialize};

use crate::{UnixMillis, ci::SUPERSEDED};

/// Longest name of a check, in bytes.
pub const NAME_MAX: usize = 128;

/// State of a check's run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CheckState {
    /// The check waits for a place to run.
    Queued,
    /// The check runs.
    Running,
    /// The check ended and found nothing wrong.
    Passed,
    /// The check ended and found something wrong.
    Failed,
    /// The check could not be run to its end, and says nothing about the commit.
    Errored,
    /// The check was ended by a person, or because a newer revision came.
    Cancelled,
}

impl CheckState {
    /// Every state, in the order of declaration.
    pub const ALL: [Self; 6] =
        [Self::Queued, Self::Running, Self::Passed, Self::Failed, Self::Errored, Self::Cancelled];

    /// The word of the API and of `--json`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Errored => "errored",
            Self::Cancelled => "cancelled",
        }
    }

    /// Returns the state with this word; None: no state has it.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.word() == word)
    }

    /// Whether the run has ended, one way or another.
    #[must_use]
    pub fn is_over(self) -> bool {
        !matches!(self, Self::Queued | Self::Running)
    }

    /// Whether the run has ended otherwise than with [`CheckState::Passed`].
    #[must_use]
    pub fn is_bad(self) -> bool {
        self.is_over() && self != Self::Passed
    }
}

/// The newest run of one check on one commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// Name of the check, unique on its commit; at most [`NAME_MAX`] bytes.
    pub name: String,
    /// State of the run.
    pub state: CheckState,
    /// What the check found, in one line; may be empty.
    pub summary: String,
    /// URL where people read more; may be empty.
    pub url: String,
    /// Id of the run's kept log; None: no log was kept.
    pub log: Option<String>,
    /// When the run was first reported.
    pub started_at: UnixMillis,
    /// When the run was last reported.
    pub updated_at: UnixMillis,
}

impl Check {
    /// Whether the run was cancelled only because a newer revision came. It says nothing: where its commit is a head again, the
    /// check is run again.
    #[must_use]
    pub fn is_superseded(&self) -> bool {
        self.state == CheckState::Cancelled && self.summary == SUPERSEDED
    }

    /// Whether a result of the check is still to come: its run has not ended, or was superseded.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !self.state.is_over() || self.is_superseded()
    }
}

/// What the checks of a commit come to together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// No check is required, and none was reported.
    Nothing,
    /// Not all checks have ended, and none has failed.
    Pending {
        /// Number of checks that have passed.
        passed: usize,
        /// Number of checks that count.
        total: usize,
        /// Names of the checks that have not ended, in order.
        open: Vec<String>,
    },
    /// Every check that counts has passed.
    Passed,
    /// A check has failed; of several, the one that failed first.
    Failed {
        /// Name of the check.
        name: String,
        /// State of the check: failed, errored or cancelled.
        state: CheckState,
        /// When the check ended.
        at: UnixMillis,
    },
}

impl Outcome {
    /// The word of the API and of `--json`.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Nothing => "none",
            Self::Pending { .. } => "pending",
            Self::Passed => "passed",
            Self::Failed { .. } => "failed",
        }
    }

    /// Whether the outcome answers a wait for checks: all have passed, or one has failed.
    #[must_use]
    pub fn is_done(&self) -> bool {
        matches!(self, Self::Passed | Self::Failed { .. })
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Nothing => f.write_str("no checks"),
            Self::Pending { passed, total, .. } => write!(f, "{passed} of {total} checks passed"),
            Self::Passed => f.write_str("checks passed"),
            Self::Failed { name, state, .. } => write!(f, "`{name}` {}", state.word()),
        }
    }
}

/// Derives the outcome of a commit's checks: done when all `required` ones are, failed as soon as one of them is; the first
/// failure in time counts. Where nothing is required, all that were reported are judged.
#[must_use]
pub fn outcome(required: &[String], checks: &[Check]) -> Outcome {
    let names: Vec<&str> = match required {
        [] => checks.iter().map(|check| check.name.as_str()).collect(),
        required => required.iter().map(String::as_str).collect(),
    };
    if names.is_empty() {
        return Outcome::Nothing;
    }
    let find = |name: &str| checks.iter().find(|check| check.name == name);
    let bad = names.iter().filter_map(|name| find(name)).filter(|check| check.state.is_bad() && !check.is_open());
    // Of several at one time, the first by name's place in the list: min_by_key keeps the first.
    if let Some(check) = bad.min_by_key(|check| check.updated_at) {
        return Outcome::Failed { name: check.name.clone(), state: check.state, at: check.updated_at };
    }
    let is_open = |name: &&&str| find(name).is_none_or(Check::is_open);
    let open: Vec<String> = names.iter().filter(is_open).map(|name| (*name).to_owned()).collect();
    match names.len() {
        _ if open.is_empty() => Outcome::Passed,
        total => Outcome::Pending { passed: total - open.len(), total, open },
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*, sample::select};
    use rstest::rstest;

    use super::*;

    fn check(name: &str, state: CheckState, at: UnixMillis) -> Check {
        let (summary, url) = (String::new(), String::new());
        Check { name: name.into(), state, summary, url, log: None, started_at: 0, updated_at: at }
    }

    #[rstest]
    #[case::nothing(&[], &[], "no checks")]
    #[case::unreported(&["a", "b"], &[], "0 of 2 checks passed")]
    #[case::running(&["a", "b"], &[("a", CheckState::Passed), ("b", CheckState::Running)], "1 of 2 checks passed")]
    #[case::passed(&["a"], &[("a", CheckState::Passed), ("b", CheckState::Running)], "checks passed")]
    #[case::others_do_not_count(&["a"], &[("a", CheckState::Passed), ("b", CheckState::Failed)], "checks passed")]
    #[case::first_in_time(&["a", "b"], &[("b", CheckState::Failed), ("a", CheckState::Errored)], "`b` failed")]
    #[case::before_all_are_done(&["a", "b", "c"], &[("c", CheckState::Errored)], "`c` errored")]
    #[case::none_required(&[], &[("x", CheckState::Cancelled)], "`x` cancelled")]
    fn outcomes(#[case] required: &[&str], #[case] checks: &[(&str, CheckState)], #[case] says: &str) {
        let required: Vec<String> = required.iter().map(ToString::to_string).collect();
        let checks: Vec<Check> = (1..).zip(checks).map(|(at, (name, state))| check(name, *state, at)).collect();
        assert_eq!(outcome(&required, &checks).to_string(), says);
    }

    #[test]
    fn what_a_newer_revision_ended_is_no_outcome() {
        let superseded = Check { summary: SUPERSEDED.into(), ..check("a", CheckState::Cancelled, 1) };
        let checks = [superseded, check("b", CheckState::Passed, 2)];
        for required in [vec![], vec!["a".to_owned(), "b".to_owned()]] {
            assert_eq!(outcome(&required, &checks).to_string(), "1 of 2 checks passed");
        }
    }

    #[test]
    fn words_lead_back() {
        for state in CheckState::ALL {
            assert_eq!(CheckState::from_word(state.word()), Some(state));
        }
        assert_eq!(CheckState::from_word("success"), None);
    }

    proptest! {
        #[test]
        fn done_means_all_passed_or_a_required_one_failed(
            required in vec(select(&["a", "b", "c"][..]), 1..4),
            states in vec((select(&["a", "b", "c", "d"][..]), select(&CheckState::ALL[..])), 0..6),
        ) {
            let required: Vec<String> = required.into_iter().map(str::to_owned).collect();
            let mut checks: Vec<Check> = vec![];
            for (at, (name, state)) in (1..).zip(states) {
                checks.retain(|check| check.name != name);
                checks.push(check(name, state, at));
            }
            let find = |name: &String| checks.iter().find(|check| check.name == *name);
            match outcome(&required, &checks) {
                Outcome::Passed => {
                    prop_assert!(required.iter().all(|name| find(name).is_some_and(|c| c.state == CheckState::Passed)));
                }
                Outcome::Failed { name, .. } => {
                    prop_assert!(required.contains(&name) && find(&name).is_some_and(|c| c.state.is_bad()));
                }
                Outcome::Pending { open, .. } => {
                    prop_assert!(!open.is_empty());
                    prop_assert!(required.iter().all(|name| find(name).is_none_or(|c| !c.state.is_bad())));
                }
                Outcome::Nothing => prop_assert!(false, "something is required"),
            }
        }
    }
}
