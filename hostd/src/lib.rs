//! The Pilothouse host daemon: runs every agent session in a microVM of its own.
//!
//! Dependencies point one way: `api -> sessions -> hostd_core`; adapters (`guest`, `environments`, `ci`, `diff`, `gateway`,
//! `check_webhook`, `admission`, `store`, `terminals`) know nothing of `api`, and `daemon` ties them together. The VM engine is
//! `hostd_vm`, the forges are `hostd_forge`.

pub mod admission;
pub mod api;
pub mod ballast;
pub mod check_webhook;
pub mod ci;
mod clock;
pub mod credentials;
pub mod daemon;
pub mod data_folder;
mod descriptors;
pub mod dial;
pub mod diff;
pub mod doctor;
pub mod environments;
pub mod gateway;
pub mod guest;
mod guest_vm;
pub mod host_status;
pub mod local_services;
pub mod log;
mod meter;
pub mod metrics;
mod registry;
pub mod selftest;
pub mod service;
pub mod sessions;
mod signals;
pub mod spending;
pub mod stop;
pub mod store;
pub mod terminals;
#[cfg(test)]
mod testing;

pub use hostd_forge as forge;
use hostd_forge::process;
pub use hostd_vm as vm;
use hostd_vm::disk;
