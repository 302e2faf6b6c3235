//! Forges: where repositories and pull requests live. This crate knows no session.
//!
//! [`Forge`] is what the host asks of one, wherever it is: its [`Pulls`], its [`Checks`] and its [`Repositories`]. [`Local`] is
//! the one that is built in. A forge's [`Hint`]s say that something may have changed, and no more: whoever gets one reads the
//! state again, so that it does not matter when, or in which order, or how often they come. Where they come from (a push
//! through the gateway, a web hook and its signature) is the adapter's business, and so are its tokens, its pages and the
//! limits of its API.
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
//! What the gateway serves to guests, and what builds and diffs are made from, are the bare repositories of a [`Mirror`] on this
//! host. What no forge elsewhere has is [`Local`]'s own: bringing repositories in, keeping them up and serving them to people
//! ([`Keeper`]); and how long results and logs are kept. What it keeps is in a [`Storage`] of the host's.

mod bare;
mod checks;
mod error;
mod git;
mod hints;
mod hooks;
mod local;
mod mirror;
pub mod process;
mod pull_id;
mod pulls;
mod repositories;
mod storage;
mod storage_error;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

use hostd_core::ForgeId;

pub use bare::BareRepositories;
pub use checks::{Checks, Report};
pub use error::ForgeError;
pub use git::{BOUNDS, FSCK, git, trust};
pub use hints::{About, Heard, Hint, Hints};
pub use hooks::{PREFIX_VARIABLE, SLUG_VARIABLE, install};
pub use local::{FetchedBranch, Import, Keeper, Local, PushedBranch, Service};
pub use mirror::{Head, Mirror};
pub use pull_id::PullId;
pub use pulls::{Pull, PullFilter, Pulls};
pub use repositories::{Repositories, RepositoryInfo};
pub use storage::{ChangeCheck, ChangePull, ChangeUpstream, ChangedCheck, KeptPull, MakePull, PullRecord, Storage};
pub use storage_error::StorageError;

/// What the host asks of a forge. Texts that it answers are foreign.
///
/// Every question may fail with [`ForgeError::Unavailable`], and is asked again then.
pub trait Forge: Pulls + Checks + Repositories {
    /// Name of the forge.
    fn id(&self) -> &ForgeId;

    /// Hints about what changes from now on. A hint comes after what it is about can be read; a forge whose answers lag behind
    /// its events gives another, with another id, once they do not.
    fn hints(&self) -> Hints;
}
