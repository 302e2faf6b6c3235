use std::{fmt::Debug, path::PathBuf};

use async_trait::async_trait;
use hostd_core::pulls::Rules;

use super::ForgeError;

/// The repositories of a forge, and what they ask of their pull requests.
#[async_trait]
pub trait Repositories: Debug + Send + Sync {
    /// All repositories that the host may use, by name.
    async fn repositories(&self) -> Result<Vec<RepositoryInfo>, ForgeError>;

    /// The repository of this name.
    async fn repository(&self, name: &str) -> Result<RepositoryInfo, ForgeError>;

    /// What a repository asks of its pull requests and of who pushes: its branch's protection, in the words of the core.
    async fn rules(&self, repository: &str) -> Result<Rules, ForgeError>;

    /// Gives a repository other rules. A forge whose rules are set elsewhere refuses, and says where.
    async fn set_rules(&self, repository: &str, rules: Rules) -> Result<(), ForgeError>;

    /// Lets a repository's pull requests wait for these checks, as long as nobody has given it rules. A forge whose rules are
    /// set elsewhere leaves them.
    async fn suggest_checks(&self, repository: &str, required: Vec<String>) -> Result<(), ForgeError>;

    /// The whole id of a commit, of which at least 7 digits are given.
    async fn commit(&self, repository: &str, commit: &str) -> Result<String, ForgeError>;

    /// Names of a repository's branches that begin with `prefix`, in order.
    async fn branches(&self, repository: &str, prefix: &str) -> Result<Vec<String>, ForgeError>;
}

/// A repository as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepositoryInfo {
    /// Name of the repository.
    pub name: String,
    /// URL from which guests clone the repository.
    pub url: String,
    /// Path of the bare repository on this host; None: it is not on this host.
    pub path: Option<PathBuf>,
    /// Name of the branch that the repository's HEAD names; empty: its HEAD is broken.
    pub default_branch: String,
    /// Commit that the default branch points to; empty: there is no such branch.
    pub head: String,
}
