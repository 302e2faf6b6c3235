//! Checks that this host runs itself: what is to be run of which commits, and what is run next.

mod plan;
mod wanted;

pub use plan::{Next, Place, Queued, next};
pub use wanted::{Key, SUPERSEDED, is_wanted};
