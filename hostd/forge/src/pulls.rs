use std::fmt::Debug;

use async_trait::async_trait;
use hostd_core::{
    checks::{Check, Outcome, outcome},
    pulls::{NewPull, NewReview, PullRequest, Rules, Standing, Who},
};

use super::{ForgeError, PullId};

/// The pull requests of a forge.
#[async_trait]
pub trait Pulls: Debug + Send + Sync {
    /// Pull requests as last read, by repository and number. [`PullRequest::author`] is whoever opened it with
    /// [`Pulls::open`], which an adapter keeps where its forge does not.
    async fn pulls(&self, filter: PullFilter) -> Result<Vec<Pull>, ForgeError>;

    /// One pull request as last read.
    async fn known(&self, id: &PullId) -> Result<Pull, ForgeError>;

    /// Reads one pull request again. Ids of its reviews rise with their age; each head that was seen is a revision.
    async fn pull(&self, id: &PullId) -> Result<Pull, ForgeError>;

    /// Reads the open pull requests of a repository again whose head branches begin with `branches`: something may have been
    /// pushed to them.
    async fn refresh(&self, repository: &str, branches: &str) -> Result<(), ForgeError>;

    /// Opens a pull request for a branch that was pushed; returns the open one of that branch, if there is one. From then on
    /// [`Pulls::pulls`] has it, however slow the forge is.
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
}

/// Selection of pull requests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PullFilter {
    /// Name of the repository whose pull requests are asked for; None: those of all.
    pub repository: Option<String>,
    /// Id of the session whose pull requests are asked for; None: those of all.
    pub session: Option<String>,
    /// Whether merged and closed pull requests are asked for, too.
    pub all: bool,
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
