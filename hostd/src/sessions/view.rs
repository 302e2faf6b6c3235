use hostd_core::Session;

use crate::{store::Phase, vm::MemoryUse};

/// A session as people see it: its state, and what only its running parts know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionView {
    /// By the rules of the core.
    pub session: Session,
    /// How its last start went.
    pub phases: Vec<Phase>,
    /// What its VM holds of the host's memory now; nothing without one.
    pub memory: MemoryUse,
    /// Attached terminals.
    pub viewers: usize,
    /// Bytes of its snapshot, while it is suspended.
    pub suspended: u64,
    /// Milliseconds that its last resume took, while it runs after one.
    pub resumed_in: u64,
}
