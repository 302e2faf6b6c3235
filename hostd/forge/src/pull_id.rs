use hostd_core::{ForgeId, pulls::PullRequest};

/// Identity of a pull request.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PullId {
    /// Forge that the pull request is on.
    pub forge: ForgeId,
    /// Name of the pull request's repository.
    pub repository: String,
    /// Number of the pull request in its repository, from 1.
    pub number: u64,
}

impl PullId {
    /// The pull request of this number in a repository of this forge.
    #[must_use]
    pub fn new(forge: ForgeId, repository: impl Into<String>, number: u64) -> Self {
        Self { forge, repository: repository.into(), number }
    }

    /// The identity of this pull request.
    #[must_use]
    pub fn of(pull: &PullRequest) -> Self {
        Self::new(pull.forge.clone(), &*pull.repository, pull.number)
    }
}

/// `REPOSITORY#NUMBER`, behind the forge's name where it is not the one that is built in.
impl std::fmt::Display for PullId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { forge, repository, number } = self;
        if !forge.is_local() {
            write!(f, "{forge}:")?;
        }
        write!(f, "{repository}#{number}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forge_elsewhere_is_named() {
        assert_eq!(PullId::new(ForgeId::local(), "widgets", 3).to_string(), "widgets#3");
        assert_eq!(PullId::new(ForgeId::new("codeberg"), "widgets", 3).to_string(), "codeberg:widgets#3");
    }
}
