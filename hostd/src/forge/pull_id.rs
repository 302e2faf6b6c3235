use hostd_core::pulls::PullRequest;

/// Identity of a pull request.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PullId {
    /// Name of the pull request's repository.
    pub repository: String,
    /// Number of the pull request in its repository, from 1.
    pub number: u64,
}

impl PullId {
    /// The identity of this pull request.
    #[must_use]
    pub fn of(pull: &PullRequest) -> Self {
        Self { repository: pull.repository.clone(), number: pull.number }
    }
}

impl std::fmt::Display for PullId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}#{}", self.repository, self.number)
    }
}
