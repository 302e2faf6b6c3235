//! What tests use in place of a forge and of a host's database.
#![allow(clippy::unwrap_used, reason = "for tests alone")]

mod contract;
pub mod fake_forge;
mod memory_storage;

pub use contract::keeps_its_contract;
pub use memory_storage::MemoryStorage;
