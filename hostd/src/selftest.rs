//! The whole circle of snapshots, tried with VMs of its own on this machine's QEMU: cold boot, template, clone, suspend,
//! resume. `hostd doctor` shows how it went, and hostd goes around once for each build of QEMU that it meets: where it breaks,
//! QEMU's own migration takes its place.
//!
//! It needs no base system: the root file system is empty, and what runs in the guest is the guest's own program. It happens
//! in a folder of its own, which is removed afterwards with everything that ran there, however it ends.

mod circle;
mod exam;
mod place;
mod steps;

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::vm::{
    qemu::{Loaded, Proof, Prover, Qemu},
    snapshot::store::Method,
};
use circle::Runner;
pub use exam::{Exam, Findings};
use place::Place;
pub use steps::{Circle, Failure, Step};

/// Method of snapshots that works here.
#[derive(Clone, Debug)]
pub struct Found {
    /// The method, and why it is not the better one.
    pub proof: Proof,
    /// Results of the method's circle.
    pub circle: Circle,
}

/// Finds out which method of snapshots works, the better one first, as [`run`].
///
/// # Errors
/// Where none does: how the better one failed.
pub async fn prove(
    qemu: &Qemu,
    data: &Path,
    progress: &(dyn Fn(String) + Send + Sync),
    cancel: &CancellationToken,
) -> Result<Found, Failure> {
    let broken = match run(&qemu.clone().with_method(Method::Delta), data, progress, cancel).await {
        Ok(circle) => return Ok(Found { proof: Proof::new(Method::Delta, String::new()), circle }),
        Err(failure) => failure,
    };
    if cancel.is_cancelled() {
        return Err(broken);
    }
    progress(format!("self-test: snapshots by delta do not work ({broken}); trying QEMU's own migration"));
    match run(&qemu.clone().with_method(Method::Full), data, progress, cancel).await {
        Ok(circle) => Ok(Found { proof: Proof::new(Method::Full, broken.to_string()), circle }),
        Err(failure) => {
            progress(format!("self-test: that does not work either ({failure})"));
            Err(broken)
        }
    }
}

/// [`prove`] for a hostd on this data folder.
#[derive(Clone, Debug)]
pub struct SelfTest {
    data: PathBuf,
}

impl SelfTest {
    /// A self-test that works below this folder.
    #[must_use]
    pub fn new(data: &Path) -> Self {
        Self { data: data.into() }
    }
}

#[async_trait]
impl Prover for SelfTest {
    async fn prove(&self, qemu: Qemu, progress: &(dyn Fn(String) + Send + Sync)) -> Option<Proof> {
        // Dropped when the build is, and with it what runs.
        match prove(&qemu, &self.data, progress, &CancellationToken::new()).await {
            Ok(found) => Some(found.proof),
            Err(error) => {
                tracing::warn!(%error, "snapshots do not work here; `hostd doctor` says more");
                None
            }
        }
    }
}

/// Goes once around the circle in a folder below `data`; returns when nothing of it is left. `progress` gets a line for each
/// step. Where `cancel` is cancelled, or this is dropped, it ends at once.
///
/// # Errors
/// The step that failed and why.
pub async fn run(
    qemu: &Qemu,
    data: &Path,
    progress: &(dyn Fn(String) + Send + Sync),
    cancel: &CancellationToken,
) -> Result<Circle, Failure> {
    in_a_place(qemu, data, 1, progress, cancel, |runner, cancel| async move { runner.run(&cancel).await }).await
}

/// Has a guest examined by [`Exam`], as [`run`].
///
/// # Errors
/// The step that failed and why; what the guest noticed is no error.
pub async fn examine(
    qemu: &Qemu,
    data: &Path,
    exam: Exam,
    progress: &(dyn Fn(String) + Send + Sync),
    cancel: &CancellationToken,
) -> Result<Findings, Failure> {
    let work = move |runner: Runner, cancel: CancellationToken| async move { runner.examine(exam, &cancel).await };
    in_a_place(qemu, data, exam.vcpus, progress, cancel, work).await
}

/// Loads device state without a guest, as [`run`]: what a clone's processors and memory are given, where no guest need boot.
///
/// # Errors
/// Why nothing was loaded; what the load did wrong is no error.
pub async fn load(
    qemu: &Qemu,
    data: &Path,
    progress: &(dyn Fn(String) + Send + Sync),
    cancel: &CancellationToken,
) -> Result<Loaded, Failure> {
    let work = |runner: Runner, cancel: CancellationToken| async move { runner.load(&cancel).await };
    in_a_place(qemu, data, 1, progress, cancel, work).await
}

async fn in_a_place<T: Send + 'static, F: Future<Output = Result<T, Failure>> + Send + 'static>(
    qemu: &Qemu,
    data: &Path,
    vcpus: u32,
    progress: &(dyn Fn(String) + Send + Sync),
    cancel: &CancellationToken,
    work: impl FnOnce(Runner, CancellationToken) -> F + Send + 'static,
) -> Result<T, Failure> {
    let failed = |why: String| Failure { step: "folder", why };
    place::sweep(data, qemu).await;
    let place = Place::make(data).map_err(|error| failed(format!("{}: {error}", data.display())))?;
    let (lines, mut said) = mpsc::channel(16);
    let cancel = cancel.child_token();
    // In a task of its own: where the caller goes away, it still clears away what runs.
    let _guard = cancel.clone().drop_guard();
    let runner = Runner::new(qemu.clone(), place.path(), vcpus, lines);
    let task = tokio::spawn(async move {
        let outcome = work(runner, cancel).await;
        drop(place);
        outcome
    });
    while let Some(line) = said.recv().await {
        progress(line);
    }
    task.await.unwrap_or_else(|error| Err(failed(error.to_string())))
}
