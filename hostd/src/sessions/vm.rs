//! A session's VM: started, put to disk, brought back, forked, kept as a checkpoint, read in a copy, and taken over
//! or ended where an earlier hostd left it.

pub(super) mod adopt;
pub(super) mod changes;
pub(super) mod checkpoint;
pub(super) mod fork;
mod guest_events;
pub(super) mod orphans;
mod phases;
pub(super) mod read_copy;
mod repository;
pub(super) mod resume;
pub(super) mod running;
pub(super) mod site;
pub(super) mod spec;
pub(super) mod start;
pub(super) mod suspend;
#[cfg(test)]
mod tests;
