//! Draining a host, as people ask for it.

use std::{sync::Arc, time::Duration};

use hostd_core::{Actor, Lifecycle};
use tokio::time::{Instant, sleep};

use super::Fleet;
use crate::sessions::error::FleetError;

/// Longest wait for all sessions to be on disk.
const WITHIN: Duration = Duration::from_secs(120);
/// Between two looks at whether they are.
const LOOK: Duration = Duration::from_millis(100);

impl Fleet {
    /// Has the host take no more VMs, and puts what runs to disk; goes on after a restart of hostd. Returns when nothing runs, or after
    /// two minutes: the slugs of sessions that still run then, which are put to disk as soon as they can be.
    ///
    /// # Errors
    /// [`FleetError::NotDrained`] where that cannot be kept.
    pub async fn drain(self: &Arc<Self>, actor: &Actor) -> Result<Vec<String>, FleetError> {
        let (ctx, by) = (self.ctx().clone(), actor.behalf().to_owned());
        let begun = tokio::task::spawn_blocking(move || ctx.drain.begin(&by)).await;
        let begun = begun.map_err(|_| FleetError::Stopping)?;
        begun.map_err(|error| FleetError::NotDrained(error.to_string()))?;
        self.close_or_open().await;
        let until = Instant::now() + WITHIN;
        loop {
            let left = self.in_memory();
            if left.is_empty() || Instant::now() > until || self.ctx().drain.now().is_none() {
                return Ok(left);
            }
            tokio::select! {
                () = sleep(LOOK) => {}
                () = self.ctx().closing.cancelled() => return Err(FleetError::Stopping),
            }
        }
    }

    /// Has the host take VMs again; sessions that were put to disk at work come back.
    ///
    /// # Errors
    /// [`FleetError::NotDrained`] where that cannot be kept.
    pub async fn undrain(&self, actor: &Actor) -> Result<(), FleetError> {
        let (ctx, by) = (self.ctx().clone(), actor.behalf().to_owned());
        let ended = tokio::task::spawn_blocking(move || ctx.drain.end(&by)).await.map_err(|_| FleetError::Stopping)?;
        ended.map_err(|error| FleetError::NotDrained(error.to_string()))?;
        self.close_or_open().await;
        Ok(())
    }

    async fn close_or_open(&self) {
        self.ctx().admission.close(self.ctx().drain.now().map(|drained| drained.words()));
        self.supervisors.pool.look_again();
        self.look().await;
    }

    /// # Errors
    /// The host is drained: [`FleetError::Drained`].
    pub(super) fn takes_vms(&self) -> Result<(), FleetError> {
        match self.ctx().drain.now() {
            Some(drained) => Err(FleetError::Drained(drained.words())),
            None => Ok(()),
        }
    }

    /// Slugs of sessions that have a VM.
    fn in_memory(&self) -> Vec<String> {
        let records = self.registry().records();
        let has_vm = records.iter().filter(|record| match record.session.lifecycle {
            Lifecycle::Queued => false,
            ref lifecycle => lifecycle.has_vm(),
        });
        has_vm.map(|record| record.session.slug.clone()).collect()
    }
}
