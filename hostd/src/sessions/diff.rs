//! A session's changes: live from its guest, or, of a suspended one, from a copy of its VM.

use std::{path::PathBuf, sync::Arc};

use hostd_core::{Lifecycle, UnixMillis};

use super::{
    Fleet, FleetError, copies,
    fleet::{Busy, Handle, Host, LINK_WAIT, begins, settled},
    now,
};
use crate::{
    diff::{Answers, DiffError, Diffs, Kept, Wish, WorkingTree},
    guest::Hello,
    store::Record,
};

impl Fleet {
    /// What makes differences.
    #[must_use]
    pub fn diffs(&self) -> &Diffs {
        &self.host().parts.diffs
    }

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
        settled(&handle, |session| moves(&session.lifecycle) || begins(session)).await?;
        let record = handle.record.borrow().clone();
        if record.session.repository.is_none() {
            return Err(DiffError::NothingToCompare.into());
        }
        let _busy = Busy::new(handle.clone());
        let live = handle.live.borrow().clone();
        if let Some(live) = live {
            let hello = live.link.client(LINK_WAIT).await;
            let hello = hello.map_err(|error| FleetError::NotRunning(error.to_string()))?;
            return Ok(self.diffs().working_tree(working_tree(&record, &hello), wish, now()).await?);
        }
        if record.session.lifecycle == Lifecycle::Suspended {
            return suspended(self.host(), &handle, &record, wish).await;
        }
        let word = record.session.lifecycle.word();
        let help = match word {
            "stopped" | "crashed" => "restart it to see its changes",
            _ => "wait until it runs",
        };
        Err(FleetError::NotRunning(format!("the session is {word}; {help}")))
    }
}

/// Of the copy that was read for whoever asked before, or of one that is made for this.
async fn suspended(host: &Arc<Host>, handle: &Arc<Handle>, record: &Record, wish: Wish) -> Result<Answers, FleetError> {
    let (diffs, session) = (&host.parts.diffs, &record.session);
    let repository = session.repository.as_deref().unwrap_or_default();
    let at = record.machine.snapshot.as_ref().map_or(0, |snapshot| snapshot.at);
    if let Some(kept) = kept(host, &session.id, at).await {
        match diffs.suspended(repository, kept, wish.clone()).await {
            Ok(answers) => return Ok(answers),
            Err(error) => {
                tracing::info!(slug = session.slug, %error, "what was kept of the session's changes is read anew");
                forget(host, &session.id).await;
            }
        }
    }
    let kept = copies::read(host, handle).await?;
    Ok(diffs.suspended(repository, kept, wish).await?)
}

/// What was kept of a session as it was suspended at this time.
pub(super) async fn kept(host: &Host, id: &str, at: UnixMillis) -> Option<Kept> {
    host.parts.diffs.kept(&file(host, id), at).await
}

/// Removes what was kept of a session as it was suspended: it is not so any more.
pub(super) async fn forget(host: &Host, id: &str) {
    // Mostly there is none. What cannot be removed is of another time than the next suspend, and is not taken for it.
    let _ = tokio::fs::remove_file(file(host, id)).await;
}

/// Where it is kept.
pub(super) fn file(host: &Host, id: &str) -> PathBuf {
    host.directory(id).join("changes")
}

/// Where a session's working tree is, in this guest.
pub(super) fn working_tree(record: &Record, hello: &Hello) -> WorkingTree {
    WorkingTree {
        guest: hello.client.clone(),
        repository: record.session.repository.clone().unwrap_or_default(),
        path: record.session.directory.clone(),
        branch: record.machine.branch.clone(),
        user: record.machine.user.clone(),
        frozen: false,
    }
}
