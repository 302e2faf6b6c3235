use crate::checks::Check;

/// Name of a check of a commit in a repository.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Name of the repository in the local forge.
    pub repository: String,
    /// Id of the commit, whole.
    pub commit: String,
    /// Name of the check.
    pub name: String,
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { repository, commit, name } = self;
        write!(f, "`{name}` of {repository} at {}", commit.get(..12).unwrap_or(commit))
    }
}

/// Summary of a check that was cancelled because nobody waits for its commit any more.
pub const SUPERSEDED: &str = "superseded";

/// Whether a check of a commit that somebody waits for is still to be run; `known`: its last report. A run that was under way
/// when its host died is to be run again, and so is one that was superseded by a commit that has been withdrawn since.
#[must_use]
pub fn is_wanted(known: Option<&Check>) -> bool {
    known.is_none_or(Check::is_open)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::checks::CheckState;

    #[rstest]
    #[case::queued(CheckState::Queued, "", true)]
    #[case::cut_off(CheckState::Running, "", true)]
    #[case::passed(CheckState::Passed, "", false)]
    #[case::failed(CheckState::Failed, SUPERSEDED, false)]
    #[case::errored(CheckState::Errored, "", false)]
    #[case::cancelled_by_somebody(CheckState::Cancelled, "by ann", false)]
    #[case::withdrawn(CheckState::Cancelled, SUPERSEDED, true)]
    fn what_is_not_over_is_wanted(#[case] state: CheckState, #[case] summary: &str, #[case] wanted: bool) {
        let check = Check {
            name: "unit".into(),
            state,
            summary: summary.into(),
            url: String::new(),
            log: None,
            started_at: 1,
            updated_at: 1,
        };
        assert_eq!(is_wanted(Some(&check)), wanted);
    }

    #[test]
    fn what_was_never_run_is_wanted() {
        assert!(is_wanted(None));
    }
}
