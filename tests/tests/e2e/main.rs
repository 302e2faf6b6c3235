//! End to end, with real VMs: every line of what the spine promises.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod bad_input;
mod broken_host;
mod ci;
mod ci_limits;
mod clones;
mod console;
mod cycles;
mod diffs;
mod doctor;
mod fork;
mod full_disk;
mod git;
mod harness;
mod history;
mod kills;
mod layers;
mod messages;
mod migration;
mod push_limit;
mod repositories;
mod restart;
mod reviews;
mod sessions;
mod standby;
mod suspend;
mod terminals;
mod timers;
mod troubles;
mod upgrades;
mod waits;
