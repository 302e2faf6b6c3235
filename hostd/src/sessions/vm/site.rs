use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::{
    gateway::Gateway,
    sessions::{disk::folder::Folder, message::Message},
    store::Record,
    terminals::Terminal,
    vm::Vmm,
};

/// Where a session's VM lives, and who hears of it: all that starting it, putting it to disk and bringing it back needs.
#[derive(Clone)]
pub(in crate::sessions) struct Site {
    /// What starts it.
    pub(in crate::sessions) vmm: Arc<dyn Vmm>,
    /// Its guest's way out.
    pub(in crate::sessions) gateway: Arc<Gateway>,
    /// Folder of the session's files.
    pub(in crate::sessions) folder: Folder,
    /// Terminal that the session's agent runs on.
    pub(in crate::sessions) terminal: Terminal,
    /// The session as last committed.
    pub(in crate::sessions) record: watch::Receiver<Arc<Record>>,
    /// Is told what happens in the guest.
    pub(in crate::sessions) supervisor: mpsc::Sender<Message>,
    /// Cancelled when hostd ends.
    pub(in crate::sessions) closing: CancellationToken,
}

impl Site {
    /// The session as last committed.
    pub(in crate::sessions) fn record(&self) -> Arc<Record> {
        self.record.borrow().clone()
    }
}
