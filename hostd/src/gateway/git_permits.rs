//! Permits for git: each of its processes takes memory, a processor and disk of the host.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

/// Most git processes of all sessions at a time.
pub(super) const OF_HOST: usize = 16;
/// Most git processes of one session at a time, so that no session keeps the others from their permits.
pub(super) const OF_SESSION: usize = 2;
/// Longest wait for a permit.
pub(super) const WAIT: Duration = Duration::from_secs(120);

/// A permit for one git process; given back when dropped.
#[derive(Debug)]
pub(super) struct Permit {
    _of_session: OwnedSemaphorePermit,
    _of_host: OwnedSemaphorePermit,
}

impl Permit {
    /// Waits for a permit for this long; None: it did not come in time.
    pub(super) async fn take(session: Arc<Semaphore>, host: Arc<Semaphore>, wait: Duration) -> Option<Self> {
        let both = async {
            // In this order: who waits for its own does not hold one of the host's.
            let of_session = session.acquire_owned().await.ok()?;
            Some(Self { _of_session: of_session, _of_host: host.acquire_owned().await.ok()? })
        };
        timeout(wait, both).await.ok().flatten()
    }
}
