use std::sync::Arc;

use hostd_core::reports::Report as Said;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::{
    gateway::Gateway,
    sessions::{disk::folder::Folder, message::Report, meter::Meter, timings::Timings},
    store::Record,
    terminals::Terminal,
    vm::Vmm,
};

/// What a hook of the agent's program said in a VM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::sessions) struct Hooked {
    /// Generation of the VM.
    pub(in crate::sessions) generation: u64,
    /// Number of the guest's event.
    pub(in crate::sessions) sequence: u64,
    pub(in crate::sessions) said: Said,
    /// Id of the agent's own conversation, as its program names it; empty: it is not known. Foreign.
    pub(in crate::sessions) conversation: String,
}

/// What a hook said last, until it is passed on.
pub(in crate::sessions) type Hooks = watch::Sender<Option<Hooked>>;

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
    /// Takes what is reported of the guest.
    pub(in crate::sessions) reports: mpsc::Sender<Report>,
    /// Takes what hooks of the agent's program say in the VM of a generation: the newest alone.
    pub(in crate::sessions) hooks: Hooks,
    /// Whether the session stands still: then no VM of it begins to run.
    pub(in crate::sessions) still: watch::Receiver<bool>,
    /// Cancelled when hostd ends.
    pub(in crate::sessions) closing: CancellationToken,
    /// Cancelled when hostd ends and leaves the VM to the next one.
    pub(in crate::sessions) leaving: CancellationToken,
    pub(in crate::sessions) timings: Timings,
    /// What is counted of all sessions.
    pub(in crate::sessions) meter: Meter,
}

impl Site {
    /// The session as last committed.
    pub(in crate::sessions) fn record(&self) -> Arc<Record> {
        self.record.borrow().clone()
    }

    /// Waits until a VM of the session may run.
    pub(super) async fn may_run(&self) {
        // A supervisor that is gone holds nobody up.
        let _ = self.still.clone().wait_for(|still| !still).await;
    }
}
