//! What a supervisor has under way, and what comes of it.

use std::{future::pending, path::PathBuf};

use hostd_core::Cause;
use tokio::{
    task::{AbortHandle, JoinError, JoinHandle},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use crate::{
    admission::Reservation,
    sessions::{
        disk::merge::{NotMerged, Plan},
        error::FleetError,
        message::Answer,
        vm::{
            adopt::{Found, NotTaken},
            fork::{Draft, Parted},
            resume::Awake,
            running::Running,
            start::{NotStarted, Started},
        },
    },
    store::Machine,
};

/// What became of a start; an error where its task panicked.
pub(super) type Start = Result<Result<Started, NotStarted>, JoinError>;
/// The same of a suspend.
pub(super) type Suspend = Result<Result<Machine, Awake>, JoinError>;
/// The same of a merge.
pub(super) type Merged = Result<Result<PathBuf, NotMerged>, JoinError>;

/// A start or a resume under way.
pub(super) struct Starting {
    pub(super) generation: u64,
    pub(super) resumes: bool,
    pub(super) cancel: CancellationToken,
    pub(super) task: JoinHandle<Result<Started, NotStarted>>,
}

/// A suspend under way.
pub(super) type Suspending = JoinHandle<Result<Machine, Awake>>;

/// A merge under way.
pub(super) struct Merging {
    pub(super) plan: Plan,
    pub(super) task: JoinHandle<Result<PathBuf, NotMerged>>,
}

/// A VM of an earlier hostd that is being taken over; the session has no other.
pub(super) struct Adopting {
    /// Folder of the VM.
    pub(super) own: PathBuf,
    pub(super) cancel: CancellationToken,
    pub(super) stage: Takes,
    /// What it writes to could not be committed so far.
    pub(super) uncommitted: bool,
    /// Set aside for it until it is counted as one that runs; given back when this is dropped.
    pub(super) _memory: Option<Reservation>,
}

/// What taking a VM over goes through.
pub(super) enum Takes {
    /// It is found.
    Vm(JoinHandle<Result<Found, NotTaken>>),
    /// It goes on, and its guest is met.
    Guest(JoinHandle<Result<Running, NotTaken>>),
}

/// What became of such a stage.
pub(super) enum Taken {
    Found(Box<Found>),
    Runs(Box<Running>),
    Not(NotTaken),
    Panicked(JoinError),
}

/// A fork under way; the session has no VM that runs meanwhile.
pub(super) struct Forking {
    pub(super) draft: Draft,
    /// Whoever asked for the fork, until they are answered.
    pub(super) answer: Option<Answer>,
    pub(super) stage: Stage,
    /// The checkpoint that was committed; None: none was, or it is a fork.
    pub(super) taken: Option<Checkpointed>,
    /// Why it was not committed; empty: it was, or was not tried.
    pub(super) failed: String,
}

/// A checkpoint that was committed.
pub(super) struct Checkpointed {
    pub(super) number: u64,
    /// When the VM came to its stand.
    pub(super) stands: Instant,
    /// Numbers of checkpoints that it has put out.
    pub(super) gone: Vec<u64>,
}

/// What a fork goes through.
pub(super) enum Stage {
    /// The VM is brought to a stand.
    Parts(JoinHandle<Result<Parted, Awake>>),
    /// It goes on; what became of the fork.
    GoesOn(JoinHandle<Awake>, Result<(), FleetError>),
}

/// What became of a stage.
pub(super) enum Step {
    Parted(Box<Parted>),
    Awake(Awake),
    Panicked(JoinError),
}

/// How the forge is read: once at a time.
#[derive(Default)]
pub(super) struct Reading {
    /// Of the last one.
    pub(super) number: u64,
    /// The one under way.
    pub(super) task: Option<AbortHandle>,
    /// There was news since it began.
    pub(super) stale: bool,
}

/// What comes of a task, if there is one. Cancel safe.
pub(super) async fn finished<T>(task: Option<&mut JoinHandle<T>>) -> Result<T, JoinError> {
    match task {
        Some(task) => task.await,
        None => pending().await,
    }
}

/// The end of the VM that runs, if there is one. Cancel safe.
pub(super) async fn ended(running: Option<&Running>) -> Cause {
    match running {
        Some(running) => running.live.vm.ended().await,
        None => pending().await,
    }
}

/// The end of the present stage of taking a VM over, if one is taken over. Cancel safe.
pub(super) async fn taken(adopting: Option<&mut Adopting>) -> Taken {
    match adopting.map(|adopting| &mut adopting.stage) {
        Some(Takes::Vm(task)) => match task.await {
            Ok(found) => found.map_or_else(Taken::Not, |found| Taken::Found(Box::new(found))),
            Err(error) => failed(error),
        },
        Some(Takes::Guest(task)) => match task.await {
            Ok(met) => met.map_or_else(Taken::Not, |running| Taken::Runs(Box::new(running))),
            Err(error) => failed(error),
        },
        None => pending().await,
    }
}

/// A task is cancelled where hostd's runtime ends: the next hostd finds its VM.
fn failed(error: JoinError) -> Taken {
    if error.is_cancelled() { Taken::Not(NotTaken::Cancelled) } else { Taken::Panicked(error) }
}

/// The end of the present stage of a fork, if there is one. Cancel safe.
pub(super) async fn stepped(forking: Option<&mut Forking>) -> Step {
    match forking.map(|forking| &mut forking.stage) {
        Some(Stage::Parts(task)) => match task.await {
            Ok(Ok(parted)) => Step::Parted(Box::new(parted)),
            Ok(Err(awake)) => Step::Awake(awake),
            Err(error) => Step::Panicked(error),
        },
        Some(Stage::GoesOn(task, _)) => task.await.map_or_else(Step::Panicked, Step::Awake),
        None => pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn taken_of(task: JoinHandle<Result<Found, NotTaken>>) -> Taken {
        let (own, cancel) = (PathBuf::new(), CancellationToken::new());
        let mut adopting = Adopting { own, cancel, stage: Takes::Vm(task), uncommitted: false, _memory: None };
        taken(Some(&mut adopting)).await
    }

    #[tokio::test]
    async fn a_task_that_its_runtime_has_cancelled_has_not_failed() {
        let cancelled = tokio::spawn(pending());
        cancelled.abort();
        assert!(matches!(taken_of(cancelled).await, Taken::Not(NotTaken::Cancelled)));
        let panicked = tokio::spawn(async { panic!("as the test wants it") });
        assert!(matches!(taken_of(panicked).await, Taken::Panicked(_)));
    }
}
