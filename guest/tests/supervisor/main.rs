//! The guest's half of every promise, in a process like any other: what a host may say on a link, what programs in the guest may
//! ask.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends where something is not as it should be"
)]

mod command;
mod connect;
mod direct;
mod exec;
mod host_requests;
mod link;
mod port;
mod proxy;
mod support;
mod terminal;
mod typing;
