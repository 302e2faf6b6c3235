//! Forges: where repositories and pull requests live.
//!
//! [`Forge`] is what the host asks of one, wherever it is; [`Local`] is the one that is built in. A forge's [`Hint`]s say that
//! something may have changed, and no more: whoever gets one reads the state again, so that it does not matter when, or in
//! which order, or how often they come. Where they come from (a push through the gateway, a web hook and its signature) is the
//! adapter's business, and so are its tokens, its pages and the limits of its API.
//!
//! What a forge elsewhere would answer from; paths are below its repository:
//!
//! ```text
//!             GitHub                            GitLab                             Forgejo
//! pulls       pulls, pulls/N/reviews            merge_requests, N/discussions      pulls, pulls/N/reviews
//! branches    git/matching-refs/heads/PREFIX    repository/branches?search=        branches
//! merge       pulls/N/merge with `sha`          merge_requests/N/merge with `sha`  pulls/N/merge with `head_commit_id`
//! report      statuses/SHA                      statuses/SHA                       statuses/SHA
//! checks      commits/SHA/check-runs, /status   repository/commits/SHA/statuses    commits/SHA/statuses
//! log         actions/jobs/ID/logs              jobs/ID/trace                      none
//! commit      commits/REF                       repository/commits/SHA             git/commits/SHA
//! rules       rules/branches/BRANCH             approval_rules, the project        branch_protections
//! Hint::id    X-GitHub-Delivery                 Idempotency-Key                    X-Forgejo-Delivery
//! ```
//!
//! What none of them has is [`Local`]'s own: bare [`Repositories`], which the gateway serves to guests and from which builds
//! and diffs are made; bringing repositories in, keeping them up and serving them to people ([`Keeper`]); and how long results
//! and logs are kept.

#[cfg(test)]
pub(crate) mod elsewhere;
mod error;
mod git;
mod hints;
mod hooks;
mod local;
mod pull_id;
mod repositories;

use std::{fmt::Debug, path::PathBuf};

use async_trait::async_trait;
use hostd_core::{
    checks::{Check, CheckState, Outcome, outcome},
    pulls::{NewPull, NewReview, PullRequest, Rules, Standing, Who},
};

pub use crate::store::Which;
pub use error::ForgeError;
pub(crate) use git::{BOUNDS, FSCK, git, trust};
pub use hints::{About, Heard, Hint, Hints};
pub(crate) use hooks::{PREFIX_VARIABLE, SLUG_VARIABLE, install};
pub use local::{FetchedBranch, Import, Keeper, Local, PushedBranch, Service};
pub use pull_id::PullId;
pub use repositories::{Head, Repositories};

/// What the host asks of a forge. Texts that it answers are foreign.
///
/// Every question may fail with [`ForgeError::Unavailable`], and is asked again then.
#[async_trait]
pub trait Forge: Debug + Send + Sync {
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

    /// Pull requests as last read, by repository and number. [`PullRequest::author`] is whoever opened it with
    /// [`Forge::open`], which an adapter keeps where its forge does not.
    async fn pulls(&self, which: Which) -> Result<Vec<Pull>, ForgeError>;

    /// One pull request as last read.
    async fn known(&self, id: &PullId) -> Result<Pull, ForgeError>;

    /// Reads one pull request again. Ids of its reviews rise with their age; each head that was seen is a revision.
    async fn pull(&self, id: &PullId) -> Result<Pull, ForgeError>;

    /// Opens a pull request for a branch that was pushed; returns the open one of that branch, if there is one. From then on
    /// [`Forge::pulls`] has it, however slow the forge is.
    async fn open(&self, new: NewPull) -> Result<Pull, ForgeError>;

    /// Gives a review. The places of its comments must be there in the commits that they are of.
    async fn review(&self, id: &PullId, review: NewReview) -> Result<Pull, ForgeError>;

    /// Closes a pull request without a merge; its branch stays. A closed one stays as it is.
    async fn close(&self, id: &PullId, who: Who) -> Result<Pull, ForgeError>;

    /// Opens a closed pull request again, with what was pushed meanwhile. Its head branch is made again from its last revision
    /// where it is gone; its base branch must be there.
    async fn reopen(&self, id: &PullId, who: Who) -> Result<Pull, ForgeError>;

    /// Marks a thread as resolved, or as open again.
    async fn resolve(&self, id: &PullId, who: Who, thread: u64, resolved: bool) -> Result<Pull, ForgeError>;

    /// Merges a pull request, whole or not at all. `head` is the commit that `who` saw; another is refused.
    async fn merge(&self, id: &PullId, who: Who, head: &str) -> Result<Pull, ForgeError>;

    /// Keeps what is known of a check of a commit; returns whether that is news.
    async fn report(&self, repository: &str, commit: &str, report: Report) -> Result<bool, ForgeError>;

    /// The checks of a commit, by name; of several runs of one, the last.
    async fn checks(&self, repository: &str, commit: &str) -> Result<Vec<Check>, ForgeError>;

    /// What a check printed, or the end of it: at most a few MiB. [`Check::log`] is the forge's name for it. None: the forge
    /// has no log of the check, or none any more.
    async fn log(&self, repository: &str, check: &Check) -> Result<Option<Vec<u8>>, ForgeError>;

    /// Reads a repository's branches again whose names begin with `branches`: something may have been pushed to them.
    async fn look(&self, repository: &str, branches: &str) -> Result<(), ForgeError>;

    /// Hints about what changes from now on. A hint comes after what it is about can be read; a forge whose answers lag behind
    /// its events gives another, with another id, once they do not.
    fn hints(&self) -> Hints;

    /// Ids of the sessions that a hint may concern; None: all that work on the hint's repository.
    ///
    /// As of now: what a session's pull request turns into later is told by a hint of its own.
    async fn concerned(&self, hint: &Hint) -> Option<Vec<String>> {
        let repository = hint.repository.clone();
        let found = match &hint.about {
            About::Pull(number) => self.known(&PullId { repository, number: *number }).await.map(|known| vec![known]),
            About::Checks(commit) => {
                let all = self.pulls(Which { repository: Some(repository), session: None, all: true }).await;
                all.map(|all| all.into_iter().filter(|whole| whole.pull.head() == commit).collect())
            }
            About::Repository => return None,
        };
        let found = found.inspect_err(|error| tracing::debug!(%error, "whom a hint concerns is not known")).ok()?;
        Some(found.into_iter().map(|whole| whole.pull.author.session).collect())
    }
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

/// A pull request with all that decides about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pull {
    /// The pull request itself.
    pub pull: PullRequest,
    /// Rules of the pull request's repository.
    pub rules: Rules,
    /// Checks of the pull request's head commit, by name.
    pub checks: Vec<Check>,
}

impl Pull {
    /// What the checks of the head come to.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        outcome(&self.rules.required_checks, &self.checks)
    }

    /// What the reviews come to.
    #[must_use]
    pub fn standing(&self) -> Standing {
        self.pull.standing(&self.rules)
    }
}

/// A report of a check. Its texts are foreign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Name of the check, unique on its commit.
    pub name: String,
    /// State of the check.
    pub state: CheckState,
    /// What the check found, in a line; may be empty.
    pub summary: String,
    /// URL where people read more, http or https; empty: there is none.
    pub url: String,
    /// What the check printed, to be kept; None: the log kept for this run before stays.
    pub log: Option<Vec<u8>>,
}
