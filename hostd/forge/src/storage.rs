//! What the local forge keeps, and where: the host implements [`Storage`] on its database.

use std::{collections::BTreeMap, fmt::Debug};

use async_trait::async_trait;
use hostd_core::{
    UnixMillis,
    checks::Check,
    ci::Key,
    pulls::{PullRequest, Refusal, Rules},
    upstream::Upstream,
};

use super::{Pull, PullFilter, StorageError};

/// Makes a pull request of the number that it gets.
pub type MakePull = Box<dyn FnOnce(u64) -> PullRecord + Send>;
/// Makes of a pull request what it is to be.
pub type ChangePull = Box<dyn FnOnce(&PullRecord) -> Result<PullRecord, Refusal> + Send>;
/// Makes of a check what it is to be; None: it stays.
pub type ChangeCheck = Box<dyn FnOnce(Option<&Check>) -> Option<Check> + Send>;
/// Makes of an upstream what it is to be.
pub type ChangeUpstream = Box<dyn FnOnce(Option<Upstream>) -> Upstream + Send>;

/// Where the local forge keeps pull requests, checks and what repositories ask. Each call is one transaction: it is done whole
/// or not at all, and nobody else changes anything meanwhile. Where a call fails, nothing was changed.
#[async_trait]
pub trait Storage: Debug + Send + Sync {
    /// Keeps a new pull request, which `make` makes with its number; returns the open one of the same head branch instead, if
    /// there is one. True: it is new.
    async fn add_pull(
        &self,
        repository: &str,
        head_branch: &str,
        make: MakePull,
    ) -> Result<(PullRecord, bool), StorageError>;

    /// The pull request of this number.
    ///
    /// # Errors
    /// [`StorageError::Gone`] where there is none.
    async fn pull(&self, repository: &str, number: u64) -> Result<KeptPull, StorageError>;

    /// The pull requests of this selection, by repository and number.
    async fn pulls(&self, filter: PullFilter) -> Result<Vec<KeptPull>, StorageError>;

    /// Changes a pull request, and returns it as it is then; what `change` refuses is left as it was. The inner error is that
    /// of `change`.
    ///
    /// # Errors
    /// [`StorageError::Gone`] where there is none.
    async fn change_pull(
        &self,
        repository: &str,
        number: u64,
        change: ChangePull,
    ) -> Result<Result<PullRecord, Refusal>, StorageError>;

    /// What decides about a pull request with this head commit: the rules of its repository, and the commit's checks by name.
    async fn deciding(&self, repository: &str, commit: &str) -> Result<(Rules, Vec<Check>), StorageError>;

    /// Whether this commit is the head of a revision of an open pull request.
    async fn has_head(&self, repository: &str, commit: &str) -> Result<bool, StorageError>;

    /// The checks of a commit, by name.
    async fn checks(&self, repository: &str, commit: &str) -> Result<Vec<Check>, StorageError>;

    /// Keeps what `change` makes of a check.
    async fn change_check(&self, key: Key, change: ChangeCheck) -> Result<ChangedCheck, StorageError>;

    /// Forgets checks that were last changed before `before`, but those of revisions of open pull requests. Returns how many,
    /// and the ids of all logs that are still named, with whether their pull request is open.
    async fn forget_checks(&self, before: UnixMillis) -> Result<(usize, BTreeMap<String, bool>), StorageError>;

    /// The rules of a repository.
    async fn rules(&self, repository: &str) -> Result<Rules, StorageError>;

    /// Gives a repository these rules.
    async fn set_rules(&self, repository: &str, rules: Rules) -> Result<(), StorageError>;

    /// Lets a repository ask for these checks, as long as nobody has given it rules. True: it asked for others before.
    async fn suggest_checks(&self, repository: &str, required: Vec<String>) -> Result<bool, StorageError>;

    /// The upstream of a repository; None: nobody has set any.
    async fn upstream(&self, repository: &str) -> Result<Option<Upstream>, StorageError>;

    /// Keeps what `change` makes of a repository's upstream, and returns that.
    async fn change_upstream(&self, repository: &str, change: ChangeUpstream) -> Result<Upstream, StorageError>;

    /// Forgets a repository: its rules, its pull requests and their checks. Their logs are removed as those of others are
    /// that nothing names.
    async fn forget_repository(&self, repository: &str) -> Result<(), StorageError>;

    /// Gives a repository another name, with all that is kept of it. What was kept under that name, of one that was removed
    /// by hand, is forgotten.
    async fn rename_repository(&self, old: &str, new: &str) -> Result<(), StorageError>;
}

/// What is kept of a pull request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PullRecord {
    /// State of the pull request, by the rules of the core.
    pub pull: PullRequest,
    /// Number of entries of the head branch's reflog that are in its revisions.
    pub pushes: u64,
}

/// A kept pull request with all that decides about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptPull {
    /// The pull request itself.
    pub record: PullRecord,
    /// Rules of the pull request's repository.
    pub rules: Rules,
    /// Checks of the pull request's head commit, by name.
    pub checks: Vec<Check>,
}

impl From<KeptPull> for Pull {
    fn from(kept: KeptPull) -> Self {
        Self { pull: kept.record.pull, rules: kept.rules, checks: kept.checks }
    }
}

/// What came of a change of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangedCheck {
    /// The check as it was before; None: there was none.
    pub before: Option<Check>,
    /// Whether the check is another now.
    pub changed: bool,
    /// Ids of the sessions of which a pull request, whatever became of it, has the check's commit as its head.
    pub sessions: Vec<String>,
}
