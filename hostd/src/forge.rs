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
//! and diffs are made; bringing repositories in, keeping them up and serving them to people ([`Keeper`]); and how long results and logs are kept.

#[cfg(test)]
pub(crate) mod elsewhere;
mod error;
mod git;
mod hints;
mod hooks;
mod local;
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
pub use hints::{Heard, Hints};
pub(crate) use hooks::{PREFIX_VARIABLE, SLUG_VARIABLE, install};
pub use local::{FetchedBranch, Import, Keeper, Local, PushedBranch, Service};
pub use repositories::{Head, Repositories};

/// What the host asks of a forge. Texts that it answers are foreign.
///
/// Every question may fail with [`ForgeError::Unavailable`], and is asked again then.
#[async_trait]
pub trait Forge: Debug + Send + Sync {
    /// All repositories that the host may use, by name.
    async fn repositories(&self) -> Result<Vec<RepositoryInfo>, ForgeError>;

    /// One repository.
    async fn repository(&self, name: &str) -> Result<RepositoryInfo, ForgeError>;

    /// What a repository asks of its pull requests: its branch's protection, in the words of the core.
    async fn rules(&self, repository: &str) -> Result<Rules, ForgeError>;

    /// Gives a repository other rules. A forge whose rules are set elsewhere refuses, and says where.
    async fn set_rules(&self, repository: &str, rules: Rules) -> Result<(), ForgeError>;

    /// Lets a repository's pull requests wait for these checks, as long as nobody has given it rules. A forge whose rules are
    /// set elsewhere leaves them.
    async fn suggest_checks(&self, repository: &str, required: Vec<String>) -> Result<(), ForgeError>;

    /// The whole id of a commit, of which at least 7 digits are given.
    async fn commit(&self, repository: &str, commit: &str) -> Result<String, ForgeError>;

    /// The branches of a repository whose names begin so, in order.
    async fn branches(&self, repository: &str, prefix: &str) -> Result<Vec<String>, ForgeError>;

    /// Pull requests as last read, by repository and number. [`PullRequest::author`] is whoever opened it with
    /// [`Forge::open`], which an adapter keeps where its forge does not.
    async fn pulls(&self, which: Which) -> Result<Vec<Pull>, ForgeError>;

    /// One pull request as last read.
    async fn known(&self, id: &PullId) -> Result<Pull, ForgeError>;

    /// One pull request, read again. Ids of its reviews rise with their age; each head that was seen is a revision.
    async fn pull(&self, id: &PullId) -> Result<Pull, ForgeError>;

    /// Opens a pull request for a branch that was pushed; the open one of that branch, if there is one. From then on
    /// [`Forge::pulls`] has it, however slow the forge is.
    async fn open(&self, new: NewPull) -> Result<Pull, ForgeError>;

    /// Gives a review. The places of its comments must be there in the commits that they are of.
    async fn review(&self, id: &PullId, review: NewReview) -> Result<Pull, ForgeError>;

    /// Closes it: nothing comes of it, and its branch stays. One that is closed stays as it is.
    async fn close(&self, id: &PullId, who: Who) -> Result<Pull, ForgeError>;

    /// Opens one again that is closed, with what was pushed meanwhile. Its head branch is made again from its last revision
    /// where it is gone; its base branch must be there.
    async fn reopen(&self, id: &PullId, who: Who) -> Result<Pull, ForgeError>;

    /// Settles a thread, or takes that back.
    async fn resolve(&self, id: &PullId, who: Who, thread: u64, resolved: bool) -> Result<Pull, ForgeError>;

    /// Merges it, whole or not at all. `head` is the commit that `who` saw; another is refused.
    async fn merge(&self, id: &PullId, who: Who, head: &str) -> Result<Pull, ForgeError>;

    /// Keeps what is known of a check of a commit. True: it is news.
    async fn report(&self, repository: &str, commit: &str, report: Report) -> Result<bool, ForgeError>;

    /// The checks of a commit, by name; of several runs of one, the last.
    async fn checks(&self, repository: &str, commit: &str) -> Result<Vec<Check>, ForgeError>;

    /// What a check printed, or the end of it: at most a few MiB. [`Check::log`] is the forge's name for it. None: the forge
    /// has none, or none any more.
    async fn log(&self, repository: &str, check: &Check) -> Result<Option<Vec<u8>>, ForgeError>;

    /// Something may have been pushed to branches of this repository whose names begin so: reads it again.
    async fn look(&self, repository: &str, branches: &str) -> Result<(), ForgeError>;

    /// What may have changed, from now on. A hint comes after what it is about can be read; a forge whose answers lag behind
    /// its events gives another, with another id, once they do not.
    fn hints(&self) -> Hints;

    /// Ids of the sessions that a hint may concern; None: all that work on its repository.
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

/// A repository as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepositoryInfo {
    /// Its name.
    pub name: String,
    /// Where guests clone it from.
    pub url: String,
    /// Where it is on this host, if it is here.
    pub path: Option<PathBuf>,
    /// The branch that its HEAD names; empty: its HEAD is broken.
    pub default_branch: String,
    /// What that branch points to; empty: it is not there.
    pub head: String,
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
    /// The same for the same news, however often it comes: [`Hints`] gives it once. Foreign.
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
