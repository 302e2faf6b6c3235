//! Turns for git: each of its processes takes memory, a processor and disk of the host.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

/// Most git processes of all sessions at a time.
pub(super) const OF_HOST: usize = 16;
/// Most git processes of one session at a time, so that none keeps the others from their turn.
pub(super) const OF_SESSION: usize = 2;
/// Longest wait for a turn.
const WAIT: Duration = Duration::from_secs(if cfg!(test) { 2 } else { 120 });

/// A turn for one git process; given back when dropped.
#[derive(Debug)]
pub(super) struct Turn {
    _of_session: OwnedSemaphorePermit,
    _of_host: OwnedSemaphorePermit,
}

impl Turn {
    /// Waits for a turn; None: it did not come in time.
    pub(super) async fn take(session: Arc<Semaphore>, host: Arc<Semaphore>) -> Option<Self> {
        let both = async {
            // In this order: who waits for its own does not hold one of the host's.
            let of_session = session.acquire_owned().await.ok()?;
            Some(Self { _of_session: of_session, _of_host: host.acquire_owned().await.ok()? })
        };
        timeout(WAIT, both).await.ok().flatten()
    }
}
