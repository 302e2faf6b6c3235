//! Snapshots: a clone's memory as a delta against its template.

pub mod delta;
