//! Forges: where repositories and pull requests live.
//!
//! [`Forge`] is what the host asks of one; [`Local`] is the one that is built in. A forge's [`Hint`]s say that something may
//! have changed, and no more: whoever gets one reads the state again. Where hints come from (a push through the gateway, a
//! web hook and its signature) is the adapter's business.

mod git;
mod hooks;
mod local;
mod repositories;

use std::{fmt::Debug, io, path::PathBuf};

use async_trait::async_trait;
use hostd_core::{
    checks::{Check, CheckState, Outcome, outcome},
    pulls::{NewPull, NewReview, PullRequest, Refusal, Rules, Standing, Who},
};
use tokio::sync::broadcast;

use crate::store::StoreError;

pub use crate::store::Which;
pub(crate) use git::{git, trust};
pub(crate) use hooks::{PREFIX_VARIABLE, SLUG_VARIABLE, install};
pub use local::{Import, Local};
pub use repositories::{Repositories, RepositoryInfo};

/// What the host asks of a forge.
#[async_trait]
pub trait Forge: Debug + Send + Sync {
    /// Pull requests as last read, by repository and number.
    async fn pulls(&self, which: Which) -> Result<Vec<Pull>, ForgeError>;

    /// One pull request, read again.
    async fn pull(&self, id: &PullId) -> Result<Pull, ForgeError>;

    /// The branches of a repository whose names begin so, in order.
    async fn branches(&self, repository: &str, prefix: &str) -> Result<Vec<String>, ForgeError>;

    /// Opens a pull request for a branch that was pushed; the open one of that branch, if there is one.
    async fn open(&self, new: NewPull) -> Result<Pull, ForgeError>;

    /// Gives a review. The places of its comments must be there in the head commit.
    async fn review(&self, id: &PullId, review: NewReview) -> Result<Pull, ForgeError>;

    /// Merges it, whole or not at all. `head` is the commit that `who` saw.
    async fn merge(&self, id: &PullId, who: Who, head: &str) -> Result<Pull, ForgeError>;

    /// Keeps what is known of a check of a commit. True: it is news.
    async fn report(&self, repository: &str, commit: &str, report: Report) -> Result<bool, ForgeError>;

    /// The checks of a commit, by name.
    async fn checks(&self, repository: &str, commit: &str) -> Result<Vec<Check>, ForgeError>;

    /// Something may have been pushed to branches of this repository whose names begin so: reads it again.
    async fn look(&self, repository: &str, branches: &str) -> Result<(), ForgeError>;

    /// What may have changed, from now on. Who lags reads everything again.
    fn hints(&self) -> broadcast::Receiver<Hint>;
}

/// Names a pull request.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PullId {
    /// Its repository.
    pub repository: String,
    /// From 1.
    pub number: u64,
}

impl PullId {
    /// Of this pull request.
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

/// A pull request with all that decides about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pull {
    /// The pull request.
    pub pull: PullRequest,
    /// Of its repository.
    pub rules: Rules,
    /// Of its head commit, by name.
    pub checks: Vec<Check>,
}

impl Pull {
    /// What its checks come to.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        outcome(&self.rules.required_checks, &self.checks)
    }

    /// How its reviews stand.
    #[must_use]
    pub fn standing(&self) -> Standing {
        self.pull.standing(&self.rules)
    }
}

/// What is known of a check. Its texts are foreign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Unique on its commit.
    pub name: String,
    /// Where it stands.
    pub state: CheckState,
    /// In a line, what it found.
    pub summary: String,
    /// Where people read more: http or https.
    pub url: String,
    /// What it printed, to be kept; None: what was kept before stays.
    pub log: Option<Vec<u8>>,
}

/// Something may have changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hint {
    /// The same for the same news, however often it comes.
    pub id: String,
    /// Where.
    pub repository: String,
    /// What.
    pub about: About,
}

/// What may have changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum About {
    /// The pull request of this number: revisions, reviews, state.
    Pull(u64),
    /// The checks of this commit.
    Checks(String),
    /// The repository itself: it is new, or has other rules.
    Repository,
}

/// Why a question to the forge has no answer. The text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum ForgeError {
    /// No such repository.
    #[error("there is no repository `{name}`; add it with `pilothouse repo add SOURCE --name {name}`")]
    NoRepository {
        /// Asked for.
        name: String,
    },
    /// The repository has no such branch.
    #[error("repository `{name}` has no branch `{branch}`; push one to {}", .path.display())]
    NoBranch {
        /// The repository.
        name: String,
        /// Asked for.
        branch: String,
        /// Where it is.
        path: PathBuf,
    },
    /// The repository has no such commit.
    #[error("repository `{name}` has no commit `{commit}`; give its whole id, as `git rev-parse HEAD` prints it")]
    NoCommit {
        /// The repository.
        name: String,
        /// Asked for.
        commit: String,
    },
    /// No such pull request.
    #[error("there is no pull request {0}; `pilothouse review ls --all` lists them")]
    NoPull(PullId),
    /// What a comment is about is not there.
    #[error("{0}")]
    NoPlace(String),
    /// Something in the request is not allowed.
    #[error("{0}")]
    Invalid(String),
    /// The rules refuse it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It cannot be merged as it is.
    #[error("{0}")]
    NotMergeable(String),
    /// Both sides changed the same.
    #[error("{id} conflicts with `{base}` in {}; merge or rebase `{base}` into it, and push", .paths.join(", "))]
    Conflicts {
        /// The pull request.
        id: PullId,
        /// The branch it is to be merged into.
        base: String,
        /// Where, at most [`ForgeError::PATHS`].
        paths: Vec<String>,
    },
    /// A repository could not be brought in; nothing of it is left.
    #[error("{0}")]
    NotImported(String),
    /// The name belongs to another repository.
    #[error("there is a repository `{0}` already; choose another name with --name")]
    Taken(String),
    /// git is not there, or did not answer.
    #[error("git: {0}; is git installed?")]
    Git(io::Error),
    /// git answered otherwise than it should.
    #[error("{what} failed: git says: {said}")]
    GitFailed {
        /// What was to be done.
        what: &'static str,
        /// Its words.
        said: String,
    },
    /// A file of ours.
    #[error("{}: {error}", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// Not kept.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ForgeError {
    /// Most paths that are named.
    pub const PATHS: usize = 20;
}
