//! A session's changes: live from its guest, or, of a suspended one, from a copy of its VM.

use std::sync::Arc;

use hostd_core::Lifecycle;

use super::{Fleet, LINK_WAIT, begins};
use crate::{
    clock::now,
    diff::{Answers, DiffError, Wish},
    sessions::{
        error::FleetError,
        registry::{Busy, Handle},
        vm::changes::working_tree,
    },
    store::Record,
};

impl Fleet {
    /// What a session has changed. A suspended one is not woken; one that is being started, or on its way to disk or back, is
    /// waited for.
    ///
    /// # Errors
    /// As [`Fleet::get`], [`FleetError::NotRunning`], and [`FleetError::Diff`]; of a suspended one [`FleetError::NoRoom`] and
    /// [`FleetError::NotRead`].
    pub async fn diff(&self, asked: &str, wish: Wish) -> Result<Answers, FleetError> {
        wish.check()?;
        let handle = self.handle(asked)?;
        let moves = |lifecycle: &Lifecycle| matches!(lifecycle, Lifecycle::Suspending | Lifecycle::Resuming);
        handle.settled(|session| moves(&session.lifecycle) || begins(session)).await?;
        if handle.record.borrow().session.repository.is_none() {
            return Err(DiffError::NothingToCompare.into());
        }
        let _busy = Busy::new(handle.clone());
        let live = handle.live_within(LINK_WAIT).await;
        let record = handle.record.borrow().clone();
        if let Some(live) = live {
            let hello = live.link.client(LINK_WAIT).await;
            let hello = hello.map_err(|error| FleetError::NotRunning(error.to_string()))?;
            return Ok(self.ctx().diffs.working_tree(working_tree(&record, &hello), wish, now()).await?);
        }
        if record.session.lifecycle == Lifecycle::Suspended {
            return self.suspended_diff(&handle, &record, wish).await;
        }
        let word = record.session.lifecycle.word();
        let help = match word {
            "stopped" | "crashed" => "restart it to see its changes",
            _ => "wait until it runs",
        };
        Err(FleetError::NotRunning(format!("the session is {word}; {help}")))
    }

    /// Of the copy that was read for whoever asked before, or of one that is made for this.
    async fn suspended_diff(&self, handle: &Arc<Handle>, record: &Record, wish: Wish) -> Result<Answers, FleetError> {
        let (diffs, session) = (&self.ctx().diffs, &record.session);
        let repository = session.repository.as_deref().unwrap_or_default();
        let at = record.machine.snapshot.as_ref().map_or(0, |snapshot| snapshot.at);
        let folder = self.ctx().folder(&session.id);
        if let Some(kept) = diffs.kept(&folder.changes(), at).await {
            match diffs.suspended(repository, kept, wish.clone()).await {
                Ok(answers) => return Ok(answers),
                Err(error) => {
                    tracing::info!(slug = session.slug, %error, "what was kept of the session's changes is read anew");
                    folder.forget_changes().await;
                }
            }
        }
        let kept = self.copies.read(folder, handle.record.subscribe()).await?;
        Ok(diffs.suspended(repository, kept, wish).await?)
    }
}
