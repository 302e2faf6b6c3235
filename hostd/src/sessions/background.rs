//! What is done beside the sessions' own lives: watched, shown, tidied, passed on.

pub(super) mod build_gc;
pub(super) mod denials;
pub(super) mod draining;
pub(super) mod forge_hints;
pub(super) mod last_events;
pub(super) mod memory_pressure;
pub(super) mod poll;
mod sampling;
