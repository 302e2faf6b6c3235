//! Pull requests: their revisions, reviews and threads, and when they may be merged.
//!
//! ```text
//!          Merge                Merged
//!   open ────────▶ merging ───────────────▶ merged
//!    │ ▲              │
//!    │ └──────────────┘ Abandoned
//!    └─────────────────────────────────────▶ closed      Close, BranchGone
//!    ▲                                         │
//!    └─────────────────────────────────────────┘ Reopen
//! ```
//!
//! Every push to the head branch makes a [`Revision`]. A [`Review`] is of one head commit, the one that its reviewer saw: it
//! is refused when the head has moved meanwhile, unless the reviewer says to know that; an approval counts for that commit alone.
//! A request for changes stands until its reviewer approves.
//!
//! `merging` is written down before the base branch moves, so that a host that dies in between can tell whether it did.

mod merge;
mod rules;
mod step;
#[cfg(test)]
pub(crate) mod tests;
mod trees;
mod types;

pub use merge::may_merge;
pub use rules::{DirectPush, MergeMethod, Rules};
pub use step::{NewComment, NewReview, PullInput, Refusal, step};
pub use trees::MergedTrees;
pub use types::{
    Author, Closing, Comment, Merge, NewPull, Place, PullRequest, PullState, Resolved, Review, Revision, Standing,
    Thread, Verdict, Who, WhyClosed,
};
