//! Keeps builds and bases for as long as sessions lie on them, and no longer.

use std::{path::PathBuf, sync::Arc};

use tokio::sync::{Notify, RwLock, RwLockReadGuard};

use crate::{
    sessions::{context::Context, registry::Registry},
    store::Machine,
};

/// Who may look at the builds, and when those that nobody needs are removed.
#[derive(Debug, Default)]
pub(in crate::sessions) struct BuildGc {
    lock: RwLock<()>,
    look: Notify,
}

impl BuildGc {
    /// Held while a session is made from a build, until its record is among the others'.
    pub(in crate::sessions) async fn hold(&self) -> RwLockReadGuard<'_, ()> {
        self.lock.read().await
    }

    /// Something may not be needed any more.
    pub(in crate::sessions) fn look_again(&self) {
        self.look.notify_one();
    }
}

/// Removes what nobody needs, now and whenever something has changed; for ever.
pub(in crate::sessions) async fn tidy(ctx: Arc<Context>, registry: Arc<Registry>, gc: Arc<BuildGc>) {
    loop {
        {
            let _alone = gc.lock.write().await;
            if let Err(error) = ctx.environments.collect(&used(&registry)).await {
                tracing::warn!(%error, "not all that nobody needs was removed");
            }
        }
        gc.look.notified().await;
    }
}

/// Every file that a session lies on.
fn used(registry: &Registry) -> Vec<PathBuf> {
    let of = |machine: &Machine| {
        let of_checkpoints = machine.checkpoints.iter().flat_map(|checkpoint| &checkpoint.needs);
        let own = machine.layers.iter().chain(&machine.template).chain(&machine.view_of);
        own.chain(of_checkpoints).cloned().collect::<Vec<_>>()
    };
    registry.records().iter().flat_map(|record| of(&record.machine)).collect()
}
