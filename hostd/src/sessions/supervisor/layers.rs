//! Merging the session's frozen layers, beside its life.

use std::{
    collections::HashSet,
    future::pending,
    ops::ControlFlow,
    path::{Path, PathBuf},
};

use tokio::time::{Instant, sleep_until};
use tracing::Instrument as _;

use super::{
    Supervisor,
    under_way::{Merged, Merging},
};
use crate::sessions::disk::merge::{self, NotMerged, Plan};

/// When there may be room again.
pub(super) async fn room_again(when: Option<Instant>) {
    match when {
        Some(when) => sleep_until(when).await,
        None => pending().await,
    }
}

impl Supervisor {
    /// Begins to merge, where there is something to merge and it has not failed before.
    pub(super) fn look_at_layers(&mut self) {
        let record = self.handle.record.borrow().clone();
        if self.merging.is_some()
            || self.adopting.is_some()
            || record.session.deleting
            || self.no_merge_before.is_some()
        {
            return;
        }
        let plan = Plan::of(&self.ctx.data, &record.machine).filter(|plan| self.unmerged.as_ref() != Some(plan));
        let Some(plan) = plan else { return };
        let (ctx, folder, carried_out) = (self.ctx.clone(), self.site.folder.clone(), plan.clone());
        let bytes = record.session.size.disk;
        let merging = async move {
            // As many at a time as cold starts.
            let _turn = ctx.turns.merges.acquire().await;
            carried_out.carry_out(&*ctx.vmm, &ctx.admission, &folder, bytes).await
        };
        let task = tokio::spawn(merging.instrument(self.span.clone()));
        self.merging = Some(Merging { plan, task });
    }

    /// Commits a merge, then removes what it stands for; and goes on with the resume that waited for it.
    pub(super) async fn merged(&mut self, result: Merged) -> ControlFlow<()> {
        let Some(Merging { plan, .. }) = self.merging.take() else { return ControlFlow::Continue(()) };
        let kept = match result {
            Ok(Ok(file)) => self.replace(&plan, file).await,
            Ok(Err(NotMerged::NoRoom { needed, free })) => {
                tracing::info!(slug = self.session().slug, needed, free, "no room to merge its disk's layers yet");
                self.no_merge_before = Some(Instant::now() + self.ctx.timings.merge_pause);
                Ok(())
            }
            Ok(Err(NotMerged::Failed(why))) => Err(why),
            Err(error) => Err(error.to_string()),
        };
        if let Err(why) = kept {
            tracing::warn!(
                slug = self.session().slug,
                why,
                "its disk's layers are not merged; it goes on with more of them"
            );
            self.unmerged = Some(plan);
        }
        if let Some(generation) = self.resumes.take() {
            self.resume(generation);
        }
        ControlFlow::Continue(())
    }

    async fn replace(&mut self, plan: &Plan, file: PathBuf) -> Result<(), String> {
        let Some(machine) = plan.apply(&self.machine(), file.clone()) else {
            self.remove_layers(&[file]).await;
            return Err("its layers have changed meanwhile".into());
        };
        fail::fail_point!("merge::before-commit");
        // Where that is given up, the file stays, for it may be named all the same: the next hostd removes it if it is not.
        self.keep(machine).await.map_err(|error| error.to_string())?;
        fail::fail_point!("merge::after-commit");
        self.rebase(plan, &file).await;
        self.remove_layers(plan.merged()).await;
        Ok(())
    }

    /// Removes those of these files that no session's record names any more.
    pub(super) async fn remove_layers(&self, files: &[PathBuf]) {
        let records = self.all.registry.records();
        let named: HashSet<_> = records.iter().flat_map(|record| merge::named(&self.ctx.data, record)).collect();
        merge::remove(files, &named).await;
    }

    /// Has a VM that runs use the file too. One that does not goes on with what it has, which says the same: it holds those
    /// files open, also when they are removed, until the next merge or its end.
    async fn rebase(&self, plan: &Plan, file: &Path) {
        let Some(running) = &self.running else { return };
        // A layer that was frozen since the merge began is not in the file: the next one has both.
        if self.handle.record.borrow().machine.layers.last().is_none_or(|last| last != file) {
            return;
        }
        if let Err(error) = running.live.vm.rebase(plan.below(), file).await {
            tracing::warn!(slug = self.session().slug, %error, "its VM may keep the layers that were merged for a while");
        }
    }

    /// Gives up a merge that is under way, and what waits for it; what is left of it is swept by the next hostd.
    pub(super) async fn end_merge(&mut self) {
        self.resumes = None;
        for (wish, answer) in self.forks.drain(..) {
            let _ = answer.send(Err(wish.failed("the session is about to end".into())));
        }
        if let Some(Merging { task, .. }) = self.merging.take() {
            task.abort();
            // Cut off, or done and not committed.
            if let Ok(Ok(file)) = task.await {
                self.remove_layers(&[file]).await;
            }
        }
    }
}
