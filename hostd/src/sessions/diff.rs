//! A session's changes: live from its guest, or as they were kept when it was suspended.

use std::{path::PathBuf, time::Duration};

use hostd_core::{Lifecycle, Session};
use tokio::time::timeout;

use super::{
    Fleet, FleetError,
    fleet::{Busy, Handle, Host, LINK_WAIT, settled},
    now,
    running::Live,
};
use crate::{
    diff::{Answers, DiffError, Diffs, Wish, WorkingTree},
    store::Record,
};

/// For the changes to be kept before a suspend; what takes longer is not kept.
const KEEP: Duration = Duration::from_secs(10);

impl Fleet {
    /// What makes differences.
    #[must_use]
    pub fn diffs(&self) -> &Diffs {
        &self.host().parts.diffs
    }

    /// What a session has changed. A suspended one is not woken.
    ///
    /// # Errors
    /// As [`Fleet::get`], [`FleetError::NotRunning`], and [`FleetError::Diff`].
    pub async fn diff(&self, asked: &str, wish: Wish) -> Result<Answers, FleetError> {
        let handle = self.handle(asked)?;
        settled(&handle, |session| session.lifecycle == Lifecycle::Suspending).await?;
        let record = handle.record.borrow().clone();
        let session = &record.session;
        let Some(repository) = &session.repository else { return Err(DiffError::NothingToCompare.into()) };
        let busy = Busy::new(handle.clone());
        let live = handle.live.borrow().clone();
        if let Some(live) = live {
            let from = working_tree(&record, &live).await?;
            let answers = self.diffs().working_tree(from, wish, now()).await?;
            drop(busy);
            return Ok(answers);
        }
        match session.lifecycle {
            Lifecycle::Suspended | Lifecycle::Resuming => {
                Ok(self.diffs().kept(repository, &file(self.host(), session), wish).await?)
            }
            _ => {
                let word = session.lifecycle.word();
                let help = match word {
                    "stopped" | "crashed" => "restart it to see its changes",
                    _ => "wait until it runs",
                };
                Err(FleetError::NotRunning(format!("the session is {word}; {help}")))
            }
        }
    }
}

/// Keeps what a session has changed, for as long as it is suspended. What cannot be kept is told in the log: it keeps no
/// session from being suspended.
pub(super) async fn keep(host: &Host, handle: &Handle, live: &Live) {
    let record = handle.record.borrow().clone();
    let session = &record.session;
    if session.repository.is_none() {
        return;
    }
    let file = file(host, session);
    // Of an earlier suspend: not what this one has.
    let _ = tokio::fs::remove_file(&file).await;
    let kept = async {
        let from = working_tree(&record, live).await.map_err(|error| error.to_string())?;
        host.parts.diffs.keep(&from, &file, KEEP, now()).await.map_err(|error| error.to_string())
    };
    if let Err(why) = timeout(KEEP, kept).await.unwrap_or_else(|_| Err("it took too long".into())) {
        tracing::info!(slug = session.slug, why, "the session's changes are not kept for while it is suspended");
    }
}

fn file(host: &Host, session: &Session) -> PathBuf {
    host.directory(&session.id).join("changes")
}

async fn working_tree(record: &Record, live: &Live) -> Result<WorkingTree, FleetError> {
    let hello = live.link.client(LINK_WAIT).await.map_err(|error| FleetError::NotRunning(error.to_string()))?;
    Ok(WorkingTree {
        guest: hello.client.clone(),
        repository: record.session.repository.clone().unwrap_or_default(),
        path: record.session.directory.clone(),
        branch: record.machine.branch.clone(),
    })
}
