//! One supervisor task for each session: feeds inputs to the core, carries out its effects.
//!
//! ```text
//!  api ──▶ Fleet ──▶ supervisor ── step ──▶ store (state and effects, one commit) ──▶ effects
//!                        ▲  └─ publishes in the feed ──▶ watchers               admit, start, type, end, remove
//!                        └───────────────────── what came of them, and what the VM and its guest report ┘
//! ```
//!
//! A supervisor owns its session's VM: it alone starts and ends it.

mod background;
mod context;
mod disk;
mod drain;
mod error;
mod feed;
mod fleet;
mod message;
mod meter;
mod pool;
mod registry;
mod samples;
mod supervisor;
#[cfg(test)]
mod tests;
mod timings;
mod usage;
mod view;
mod vm;

pub use context::Deps;
pub use error::FleetError;
pub use feed::{Change, EnvironmentView, Feed, News, Reader, Snapshot, WarmView};
pub(crate) use fleet::Figures;
pub use fleet::{Accounts, CreateSession, Fleet, Follow, ForkOrder, Hands, SendOrder, Triage};
pub use message::AtStop;
pub use registry::Busy;
pub use samples::Sample;
pub use timings::Timings;
pub use usage::Usage;
pub use view::SessionView;
