//! One supervisor task for each session: feeds inputs to the core, carries out its effects.
//!
//! ```text
//!  api ──▶ Fleet ──▶ supervisor ── step ──▶ store (state and effects, one commit) ──▶ effects
//!                        ▲  └─ publishes on the board ──▶ watchers              admit, start, type, end, remove
//!                        └───────────────────── what came of them, and what the VM and its guest report ┘
//! ```
//!
//! A supervisor owns its session's VM: it alone starts and ends it.

mod accounts;
mod board;
mod commands;
mod copies;
mod create;
mod diff;
mod error;
mod events;
mod fleet;
mod fork;
mod handle;
mod host;
mod layers;
mod leftovers;
mod links;
mod message;
mod pool;
mod refresh;
mod relief;
mod repository;
mod resolve;
mod room;
mod running;
mod shelf;
mod start;
mod supervisor;
mod suspend;
#[cfg(test)]
mod tests;
mod tops;
mod usage;
mod view;
mod waits;

pub use accounts::Accounts;
pub use board::{Board, Change, EnvironmentView, News, Reader, Snapshot, WarmView};
pub use commands::{Busy, SendOrder};
pub use create::Order;
pub use error::FleetError;
pub use fleet::{Fleet, Parts};
pub use fork::ForkOrder;
pub use host::{HostStatus, memory_available, memory_total};
pub use usage::Usage;
pub use view::SessionView;

/// Milliseconds since the Unix epoch.
pub(crate) fn now() -> hostd_core::UnixMillis {
    jiff::Timestamp::now().as_millisecond()
}
