use hostd_core::{Attention, Session, UnixMillis, attention};

use pilothouse_terminal::status::Record;

use super::usage::Usage;
use crate::{
    store::{Checkpoint, Numbered, Phase},
    vm::MemoryUse,
};

/// A session as people see it: its state, and what only its running parts know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionView {
    /// State of the session, by the rules of the core.
    pub session: Session,
    /// Whose turn it is and why, as of its last full minute: so the ages in the reason are news once a minute.
    pub attention: Attention,
    /// Phases of the VM's last start.
    pub phases: Vec<Phase>,
    /// Memory that the session's VM holds of the host now; nothing where there is no VM.
    pub memory: MemoryUse,
    /// Records of the programs' own reports but for the root's, each by its id and with the name of its program.
    pub records: Vec<(String, Record)>,
    /// Number of terminals that are attached.
    pub viewers: usize,
    /// Bytes of the session's snapshot while the session is suspended; else 0.
    pub suspended: u64,
    /// What was found of its repository after its last boot from a disk that it had worked on; empty: nobody has looked.
    pub repository: String,
    /// What its guest, and its files, were last seen to use.
    pub usage: Usage,
    /// Its checkpoints, oldest first.
    pub checkpoints: Vec<Checkpoint>,
    /// Milliseconds that its last resume took, while it runs after one.
    pub resumed_in: u64,
    /// Whether the session stands still because what happened to it cannot be committed; its notice says why.
    pub stands_still: bool,
    /// What was done last to it, and by whom; None: its story was not read yet.
    pub last_event: Option<Numbered>,
}

impl SessionView {
    /// Whose turn it is and why, at this time.
    #[must_use]
    pub fn attention_at(&self, now: UnixMillis) -> Attention {
        if self.stands_still { attention::stands_still(&self.session.notice) } else { attention(&self.session, now) }
    }
}
