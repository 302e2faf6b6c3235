//! End to end, with real VMs: every line of what the spine promises.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod bad_input;
mod broken_host;
mod console;
mod git;
mod restart;
mod sessions;
mod suspend;
mod terminals;
