//! A session's changes: live from its guest, or, of a suspended one, from a copy of its VM.

use std::sync::Arc;

use hostd_core::Lifecycle;

use super::{Fleet, LINK_WAIT, begins};
use crate::{
    clock::now,
    diff::{Answers, DiffError, Kept, Wish},
    sessions::{
        error::FleetError,
        registry::{Busy, Handle},
        vm::changes::working_tree,
    },
    store::Record,
};

impl Fleet {
    /// What a session has changed. A suspended one is not woken, and of one whose VM has ended no agent is started; one that is being started, or on its way to disk or back, is
    /// waited for.
    ///
    /// # Errors
    /// As [`Fleet::get`], [`FleetError::NotRunning`], and [`FleetError::Diff`]; of one on disk [`FleetError::NoRoom`] and
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
        let began = record.session.generation > 0;
        match record.session.lifecycle {
            Lifecycle::Suspended => self.diff_on_disk(&handle, &record, wish).await,
            Lifecycle::Stopped { .. } | Lifecycle::Crashed { .. } if began => {
                self.diff_on_disk(&handle, &record, wish).await
            }
            _ => {
                let word = record.session.lifecycle.word();
                Err(FleetError::NotRunning(format!("the session is {word}; wait until it runs")))
            }
        }
    }

    /// Of the copy that was read for whoever asked before, or of one that is made for this.
    async fn diff_on_disk(&self, handle: &Arc<Handle>, record: &Record, wish: Wish) -> Result<Answers, FleetError> {
        let (diffs, session) = (&self.ctx().diffs, &record.session);
        let repository = session.repository.as_deref().unwrap_or_default();
        let folder = self.ctx().folder(&session.id);
        if let Some(kept) = diffs.kept(&folder.changes(), as_of(record)).await {
            match diffs.suspended(repository, kept, wish.clone()).await {
                Ok(answers) => return Ok(answers),
                Err(error) => {
                    let say = || tracing::info!(%error, "what was kept of the session's changes is read anew");
                    handle.span().in_scope(say);
                    folder.forget_changes().await;
                }
            }
        }
        let kept = self.copies.read(folder, handle.record.subscribe()).await?;
        Ok(diffs.suspended(repository, kept, wish).await?)
    }

    /// The working tree of a session on disk.
    pub(super) async fn kept_on_disk(&self, handle: &Arc<Handle>, record: &Record) -> Result<Kept, FleetError> {
        let folder = self.ctx().folder(&record.session.id);
        match self.ctx().diffs.kept(&folder.changes(), as_of(record)).await {
            Some(kept) => Ok(kept),
            None => self.copies.read(folder, handle.record.subscribe()).await,
        }
    }
}

/// The time that a session lies on disk as of.
fn as_of(record: &Record) -> i64 {
    match record.session.lifecycle {
        Lifecycle::Suspended => record.machine.snapshot.as_ref().map_or(0, |snapshot| snapshot.at),
        _ => record.session.turn_since(),
    }
}
