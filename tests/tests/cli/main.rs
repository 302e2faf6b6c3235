//! The command line against a host that is made up: the real binary, a real socket, commands that run right here.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends where something is not as it should be")]

mod answers;
mod attach;
mod console;
mod cp;
mod environments;
mod exec;
mod fake;
mod forward;
mod git_remote;
mod program;
mod reviews;
mod ssh;
mod terminal;
mod wait;
