use hostd_core::{Attention, Session};

use super::usage::Usage;
use crate::{store::Phase, vm::MemoryUse};

/// A session as people see it: its state, and what only its running parts know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionView {
    /// By the rules of the core.
    pub session: Session,
    /// Whose turn it is and why, as of its last full minute: so the ages in the reason are news once a minute.
    pub attention: Attention,
    /// How its last start went.
    pub phases: Vec<Phase>,
    /// What its VM holds of the host's memory now; nothing without one.
    pub memory: MemoryUse,
    /// Attached terminals.
    pub viewers: usize,
    /// Bytes of its snapshot, while it is suspended.
    pub suspended: u64,
    /// What was found of its repository after its last boot from a disk that it had worked on; empty: nobody has looked.
    pub repository: String,
    /// What its guest, and its files, were last seen to use.
    pub usage: Usage,
    /// Milliseconds that its last resume took, while it runs after one.
    pub resumed_in: u64,
}
