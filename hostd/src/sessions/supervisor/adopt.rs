//! How a supervisor takes over the VM that an earlier hostd left: see [`crate::sessions::vm::adopt`]. Until that is done the
//! session has no VM that could be spoken to, and nothing happens to its files.

use std::{mem, ops::ControlFlow, path::PathBuf};

use hostd_core::{Cause, Input};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::{
    Supervisor,
    under_way::{Adopting, Taken, Takes, taken},
};
use crate::{
    admission::Reservation,
    guest_vm::end_orphan,
    sessions::{
        disk::next_layer,
        vm::{
            adopt::{Found, NotTaken, again, end, find, meet},
            running::Running,
        },
    },
};

impl Supervisor {
    /// Begins to take over the VM in this folder, for which this memory is set aside.
    pub(super) fn adopt(&self, own: PathBuf, memory: Option<Reservation>) -> Adopting {
        let cancel = CancellationToken::new();
        let task = tokio::spawn(find(self.site.clone(), own.clone(), cancel.clone()).instrument(self.span.clone()));
        Adopting { own, cancel, stage: Takes::Vm(task), uncommitted: false, _memory: memory }
    }

    pub(super) async fn taken(&mut self, taken: Taken) -> ControlFlow<()> {
        match self.take_on(taken).await {
            Some(input) => self.report(input).await,
            None => ControlFlow::Continue(()),
        }
    }

    /// What the core is told of it; None: nothing yet.
    async fn take_on(&mut self, taken: Taken) -> Option<Input> {
        let adopting = self.adopting.take()?;
        let generation = self.session().generation;
        match taken {
            Taken::Found(found) => {
                self.adopting = self.found(*found, adopting).await;
                None
            }
            Taken::Runs(running) => {
                self.ctx.meter.adopted(true);
                self.runs(*running).await;
                Some(Input::Adopted { generation })
            }
            Taken::Not(NotTaken::Cancelled) => None,
            Taken::Not(NotTaken::Ended(cause)) => {
                tracing::warn!(slug = self.handle.slug, %cause, "a VM that an earlier hostd left is not taken over");
                self.ctx.meter.adopted(false);
                self.tidy_after(adopting.own).await;
                Some(Input::VmEnded { generation, cause })
            }
            Taken::Panicked(error) => {
                self.ctx.meter.adopted(false);
                let cause = Cause::VmDied(self.after_panic(&error).await);
                end(&self.site, &adopting.own).await;
                self.tidy_after(adopting.own).await;
                Some(Input::VmEnded { generation, cause })
            }
        }
    }

    /// The layer that the VM writes to is committed before it runs on. Where that was given up it stands for as long, unless its
    /// session is deleted: None, it was ended.
    async fn found(&mut self, found: Found, mut adopting: Adopting) -> Option<Adopting> {
        if adopting.own != self.site.folder.path() && !mem::take(&mut adopting.uncommitted) {
            let (vm, folder) = (found.guest.vm().clone(), &self.site.folder);
            self.all.pool.took_over(&self.handle.id, folder, vm, &adopting.own);
        }
        let (site, cancel) = (self.site.clone(), adopting.cancel.clone());
        adopting.uncommitted = found.machine != self.machine() && self.keep(found.machine.clone()).await.is_err();
        adopting.stage = if !adopting.uncommitted {
            let record = (*self.site.record()).clone();
            Takes::Guest(tokio::spawn(meet(site, record, found.guest, cancel).instrument(self.span.clone())))
        } else if self.session().deleting {
            found.guest.end().await;
            return None;
        } else {
            let finding = again(site, adopting.own.clone(), found, cancel);
            Takes::Vm(tokio::spawn(finding.instrument(self.span.clone())))
        };
        Some(adopting)
    }

    /// Nothing is left of the VM of this folder, where it is another than the session's.
    async fn tidy_after(&self, own: PathBuf) {
        if own != self.site.folder.path() && end_orphan(&*self.ctx.vmm, &own, "the VM of a session").await {
            self.all.pool.over(&self.handle.id, &self.site.folder, &own).await;
        }
    }

    async fn runs(&mut self, running: Running) {
        tracing::info!(slug = self.handle.slug, "a VM that ran while hostd was started again is taken over");
        self.handle.live.send_replace(Some(running.live.clone()));
        self.running = Some(running);
        self.press_owed();
        let (folder, bytes) = (&self.site.folder, self.session().size.disk);
        let mut files = folder.layers().await;
        files.retain(|file| !next_layer::is_ready(file, folder, bytes));
        self.remove_layers(&files).await;
    }

    /// Waits until the VM is taken over, or is gone. One that is not by then, or cannot be committed, is ended when its guest has
    /// written all to its disk.
    ///
    /// # Errors
    /// It was ended.
    pub(super) async fn settle_adoption(&mut self, until: Instant) -> Result<(), Cause> {
        while let Some(adopting) = self.adopting.as_mut() {
            let uncommitted = adopting.uncommitted;
            let taken = if uncommitted { None } else { timeout_at(until, taken(Some(adopting))).await.ok() };
            let Some(taken) = taken else {
                self.end_adoption().await;
                return Err(Cause::HostStopped { in_order: false });
            };
            if let Some(input) = self.take_on(taken).await
                && let Err(error) = self.feed(input).await
            {
                tracing::error!(slug = self.handle.slug, %error, "that a VM was taken over was not taken");
            }
        }
        Ok(())
    }

    /// Leaves a VM that is being taken over to the next hostd, as hostd leaves all; reports nothing.
    pub(super) async fn leave_adoption(&mut self) {
        let Some(mut adopting) = self.adopting.take() else { return };
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
            Taken::Found(found) => found.end(&self.site, &adopting.own).await,
            Taken::Runs(running) => running.end().await,
            Taken::Not(_) => {}
            Taken::Panicked(error) => {
                drop(self.after_panic(&error).await);
                end(&self.site, &adopting.own).await;
            }
        }
        self.tidy_after(adopting.own).await;
    }
}
