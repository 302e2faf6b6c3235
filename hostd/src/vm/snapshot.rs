//! Snapshots: a clone's memory as a delta against its template, and how it lies on disk.

pub mod delta;
pub mod store;
