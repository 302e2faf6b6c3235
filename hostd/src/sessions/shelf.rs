//! Keeps builds and bases for as long as sessions lie on them, and no longer.

use std::{path::PathBuf, sync::Arc};

use tokio::sync::{Notify, RwLock, RwLockReadGuard};

use super::fleet::Host;

/// Who may look at what lies on the shelf, and when it is tidied.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    lock: RwLock<()>,
    look: Notify,
}

impl Shelf {
    /// Held while a session is made from something on the shelf, until its record is among the others'.
    pub(super) async fn hold(&self) -> RwLockReadGuard<'_, ()> {
        self.lock.read().await
    }

    /// Something may not be needed any more.
    pub(super) fn look_again(&self) {
        self.look.notify_one();
    }
}

/// Removes what nobody needs, now and whenever something has changed; for ever.
pub(super) async fn tidy(host: Arc<Host>) {
    loop {
        {
            let _alone = host.shelf.lock.write().await;
            if let Err(error) = host.parts.environments.collect(&used(&host)).await {
                tracing::warn!(%error, "not all that nobody needs was removed");
            }
        }
        host.shelf.look.notified().await;
    }
}

/// Every file that a session lies on.
fn used(host: &Host) -> Vec<PathBuf> {
    let records: Vec<_> = host.handles().values().map(|handle| handle.record.borrow().clone()).collect();
    let of = |machine: &crate::store::Machine| {
        machine.layers.iter().chain(&machine.template).chain(&machine.view_of).cloned().collect::<Vec<_>>()
    };
    records.iter().flat_map(|record| of(&record.machine)).collect()
}
