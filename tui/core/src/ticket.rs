//! Tickets: which stream or call something belongs to.

/// Name of one use of one slot. Answers under a ticket that is no longer the slot's are late and dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket {
    /// Slot that the ticket is for.
    pub slot: Slot,
    /// Number that rises with each use of any slot.
    pub generation: u64,
}

/// Use of a stream or call. All but the last hold one stream each: opening another ends the former.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Slot {
    /// The terminal beside the list.
    Preview,
    /// The terminal in the whole window.
    Attach,
    /// The log in the whole window.
    Log,
    /// The changes in the whole window.
    Diff,
    /// The story beside the list.
    Story,
    /// What differs between two revisions, to carry comments along.
    Carry,
    /// A call; there may be any number of them.
    Call,
}
