//! How a supervisor takes over the VM that an earlier hostd left: see [`crate::sessions::vm::adopt`]. Until that is done the
//! session has no VM that could be spoken to, and nothing happens to its files.

use std::{ops::ControlFlow, path::PathBuf};

use hostd_core::{Cause, Input};
use tokio_util::sync::CancellationToken;

use super::{
    Supervisor,
    under_way::{Adopting, Taken, Takes, taken},
};
use crate::sessions::{
    disk::next_layer,
    vm::{
        adopt::{Found, NotTaken, find, meet},
        orphans,
        running::Running,
    },
};

impl Supervisor {
    /// Begins to take over the VM in this folder.
    pub(super) fn adopt(&self, own: PathBuf) -> Adopting {
        let (cancel, leave) = (CancellationToken::new(), CancellationToken::new());
        let task = tokio::spawn(find(self.site.clone(), own.clone(), cancel.clone(), leave.clone()));
        Adopting { own, cancel, leave, stage: Takes::Vm(task) }
    }

    pub(super) async fn taken(&mut self, taken: Taken) -> ControlFlow<()> {
        match self.take_on(taken).await {
            Some(input) => self.report(input).await,
            None => ControlFlow::Continue(()),
        }
    }

    /// What the core is told of it; None: nothing yet.
    async fn take_on(&mut self, taken: Taken) -> Option<Input> {
        let mut adopting = self.adopting.take()?;
        let generation = self.session().generation;
        match taken {
            Taken::Found(found) => {
                adopting.stage = self.found(*found, &adopting).await?;
                self.adopting = Some(adopting);
                None
            }
            Taken::Runs(running) => {
                self.runs(*running).await;
                Some(Input::Adopted { generation })
            }
            Taken::Not(NotTaken::Cancelled) => None,
            Taken::Not(NotTaken::Ended(cause)) => {
                tracing::warn!(slug = self.handle.slug, %cause, "a VM that an earlier hostd left is not taken over");
                Some(Input::VmEnded { generation, cause })
            }
            Taken::Panicked(error) => {
                let cause = Cause::VmDied(self.after_panic(&error).await);
                orphans::end(&*self.ctx.vmm, &adopting.own, &self.site.record()).await;
                Some(Input::VmEnded { generation, cause })
            }
        }
    }

    /// The layer that the VM writes to is committed before it runs on; None: that was given up, and the VM is left to the next
    /// hostd, or ended with its session.
    async fn found(&mut self, found: Found, adopting: &Adopting) -> Option<Takes> {
        let Found { guest, machine } = found;
        if adopting.own != self.site.folder.path() {
            let (vm, folder) = (guest.vm().clone(), &self.site.folder);
            self.all.pool.took_over(&self.handle.id, folder, vm, &adopting.own);
        }
        if machine != self.machine() && self.keep(machine).await.is_err() {
            if self.session().deleting {
                guest.end().await;
            } else {
                guest.let_go();
            }
            return None;
        }
        let record = (*self.site.record()).clone();
        let met = meet(self.site.clone(), record, guest, adopting.cancel.clone(), adopting.leave.clone());
        Some(Takes::Guest(tokio::spawn(met)))
    }

    async fn runs(&mut self, running: Running) {
        tracing::info!(slug = self.handle.slug, "a VM that ran while hostd was started again is taken over");
        self.handle.live.send_replace(Some(running.live.clone()));
        self.running = Some(running);
        let (folder, bytes) = (&self.site.folder, self.session().size.disk);
        let mut files = folder.layers().await;
        files.retain(|file| !next_layer::is_ready(file, folder, bytes));
        self.remove_layers(&files).await;
    }

    /// Waits until the VM is taken over, or is gone.
    pub(super) async fn settle_adoption(&mut self) {
        while self.adopting.is_some() {
            let taken = taken(self.adopting.as_mut()).await;
            if let Some(input) = self.take_on(taken).await
                && let Err(error) = self.feed(input).await
            {
                tracing::error!(slug = self.handle.slug, %error, "that a VM was taken over was not taken");
            }
        }
    }

    /// Leaves a VM that is being taken over to the next hostd; reports nothing.
    pub(super) async fn leave_adoption(&mut self) {
        let Some(mut adopting) = self.adopting.take() else { return };
        adopting.leave.cancel();
        match taken(Some(&mut adopting)).await {
            Taken::Found(found) => found.guest.let_go(),
            Taken::Runs(running) => running.leave().await,
            // It had ended, or its task has failed: the next one finds out.
            Taken::Not(_) | Taken::Panicked(_) => {}
        }
    }

    /// Ends a VM that is being taken over; reports nothing.
    pub(super) async fn end_adoption(&mut self) {
        let Some(mut adopting) = self.adopting.take() else { return };
        adopting.cancel.cancel();
        match taken(Some(&mut adopting)).await {
            Taken::Found(found) => found.guest.end().await,
            Taken::Runs(running) => running.end().await,
            Taken::Not(_) => {}
            Taken::Panicked(error) => {
                drop(self.after_panic(&error).await);
                orphans::end(&*self.ctx.vmm, &adopting.own, &self.site.record()).await;
            }
        }
    }
}
