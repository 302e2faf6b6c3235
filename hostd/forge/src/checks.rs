use std::fmt::Debug;

use async_trait::async_trait;
use hostd_core::checks::{Check, CheckState};

use super::ForgeError;

/// The checks of a forge's commits.
#[async_trait]
pub trait Checks: Debug + Send + Sync {
    /// Keeps what is known of a check of a commit; returns whether that is news.
    async fn report(&self, repository: &str, commit: &str, report: Report) -> Result<bool, ForgeError>;

    /// The checks of a commit, by name; of several runs of one, the last.
    async fn checks(&self, repository: &str, commit: &str) -> Result<Vec<Check>, ForgeError>;

    /// What a check printed, or the end of it: at most a few MiB. [`Check::log`] is the forge's name for it. None: the forge
    /// has no log of the check, or none any more.
    async fn log(&self, repository: &str, check: &Check) -> Result<Option<Vec<u8>>, ForgeError>;
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
