//! The Pilothouse host daemon: runs every agent session in a microVM of its own.
//!
//! Dependencies point one way: `api -> sessions -> hostd_core`; adapters (`vm`, `guest`, `environments`, `ci`, `diff`, `forge`,
//! `gateway`, `reports`, `room`, `store`, `terminals`) know nothing of `api`, and `daemon` ties them together.

pub mod api;
pub mod ballast;
pub mod ci;
mod clock;
pub mod daemon;
pub mod data_folder;
mod descriptors;
pub mod diff;
mod disk;
pub mod doctor;
pub mod environments;
pub mod forge;
pub mod gateway;
pub mod guest;
mod guest_vm;
pub mod host_status;
mod process;
pub mod reports;
pub mod room;
pub mod selftest;
pub mod sessions;
mod signals;
pub mod store;
pub mod terminals;
pub mod vm;
