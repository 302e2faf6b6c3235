//! What the end-to-end tests and benches stand on: a real `hostd` on a data folder of its own, the real `pilothouse` as a
//! command and on a PTY, and the certainty that nothing is left running.
//!
//! Everything here panics on trouble: it is used by tests alone.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod api;
pub mod command;
pub mod console;
pub mod golden;
pub mod host;
pub mod paths;
pub mod process;
pub mod wait;

pub use command::{Outcome, run};
pub use console::Console;
pub use host::Host;
pub use wait::until;
