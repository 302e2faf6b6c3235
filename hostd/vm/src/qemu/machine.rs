//! A running VM: one task owns its process and its control connection ([`Driver`]); everybody else asks that task.

use std::{
    io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use hostd_core::session::Cause;
use tokio::{
    net::UnixStream,
    sync::{mpsc, oneshot, watch},
    time::Instant,
};
use tracing::Instrument as _;

use super::{
    disk::Disk,
    driver::{Driver, Request},
    errors::gone,
    kills::Kills,
    layout::Layout,
    prelaunch::Prelaunch,
    process::Process,
    qmp::Qmp,
    record::Record,
    serial::Serial,
    sockets,
    stall::Stall,
};
use crate::{Io, MemoryUse, Port, Vm, VmError, file, identity::ProcessIdentity, snapshot::store::Manifest};

/// Handle of a running VM; see [`Vm`].
#[derive(Debug)]
pub(super) struct Machine {
    directory: PathBuf,
    process: ProcessIdentity,
    requests: mpsc::Sender<Request>,
    cause: watch::Receiver<Option<Cause>>,
    /// Serial output as it was at the VM's end.
    last: watch::Receiver<Vec<u8>>,
    stalled: watch::Receiver<bool>,
    up: Arc<AtomicBool>,
    /// The link's port, where that was connected before the VM ran.
    link: Mutex<Option<UnixStream>>,
}

/// What the task that owns a QEMU begins with.
pub(super) struct Parts {
    pub(super) process: Process,
    pub(super) qmp: Qmp<UnixStream>,
    pub(super) record: Record,
    pub(super) layout: Layout,
    pub(super) disk: Disk,
    pub(super) serial: Serial,
    /// Copy of its template's RAM that it maps, where others may map the same.
    pub(super) sealed: Option<Arc<OwnedFd>>,
    /// Whether its guest has shaken hands before.
    pub(super) up: bool,
    /// Whether it came from a snapshot.
    pub(super) from_snapshot: bool,
    /// Whether it stands because the host's disk was full.
    pub(super) stalled: bool,
}

impl Machine {
    /// Starts the task that owns a running QEMU; one that came from a snapshot has its link's port connected.
    pub(super) fn start(
        directory: &Path,
        prelaunch: Prelaunch,
        layout: Layout,
        disk: Disk,
        serial: Serial,
        link: Option<UnixStream>,
    ) -> Self {
        let Prelaunch { process, qmp, record, sealed, .. } = prelaunch;
        let (up, from_snapshot, stalled) = (link.is_some(), link.is_some(), false);
        let parts = Parts { process, qmp, record, layout, disk, serial, sealed, up, from_snapshot, stalled };
        Self::of(directory, parts, link)
    }

    /// Starts the task that owns a QEMU which runs, or stands where another brought it to a stand.
    pub(super) fn of(directory: &Path, parts: Parts, link: Option<UnixStream>) -> Self {
        let Parts { process, qmp, record, layout, disk, serial, sealed, up, from_snapshot, stalled: stands } = parts;
        let (requests, inbox) = mpsc::channel(16);
        let (set_cause, cause) = watch::channel(None);
        let (set_last, last) = watch::channel(Vec::new());
        let (mut stall, stalled) = Stall::new();
        if stands {
            stall.stopped();
        }
        let up = Arc::new(AtomicBool::new(up));
        let identity = record.process.clone();
        let driver = Driver {
            directory: directory.to_owned(),
            process,
            qmp: Some(qmp),
            layout,
            disk,
            serial,
            stall,
            kills: Kills::of(identity.clone()),
            up: up.clone(),
            boots: 1,
            booted: (!from_snapshot).then(Instant::now),
            record,
            _sealed: sealed,
        };
        let driven = async move {
            let (cause, last) = driver.run(inbox).await;
            set_last.send_replace(last);
            set_cause.send_replace(Some(cause));
        };
        tokio::spawn(driven.in_current_span());
        Self {
            directory: directory.to_owned(),
            process: identity,
            requests,
            cause,
            last,
            stalled,
            up,
            link: Mutex::new(link),
        }
    }
}

#[async_trait]
impl Vm for Machine {
    async fn connect(&self, port: Port) -> io::Result<Box<dyn Io>> {
        let early = match port {
            Port::Link => self.link.lock().unwrap_or_else(PoisonError::into_inner).take(),
            Port::Tunnel => None,
        };
        Ok(Box::new(match early {
            Some(connected) => connected,
            None => sockets::connect_port(&self.directory, port).await?,
        }))
    }

    async fn ended(&self) -> Cause {
        let mut cause = self.cause.clone();
        match cause.wait_for(Option::is_some).await.map(|cause| cause.clone()) {
            Ok(Some(cause)) => cause,
            // The task ends without a word only when the runtime does.
            _ => Cause::VmDied("hostd is ending".into()),
        }
    }

    async fn end(&self) {
        // Refused when the task is gone, and so is the VM.
        let _ = self.requests.send(Request::End).await;
        self.ended().await;
    }

    async fn serial(&self) -> Vec<u8> {
        let (reply, answer) = oneshot::channel();
        if self.requests.send(Request::Serial(reply)).await.is_ok()
            && let Ok(bytes) = answer.await
        {
            return bytes;
        }
        self.ended().await;
        self.last.borrow().clone()
    }

    async fn snapshot(&self, folder: &Path) -> Result<Manifest, VmError> {
        let folder = std::path::absolute(folder).map_err(file::failed(folder))?;
        self.ask(|reply| Request::Snapshot(folder, reply)).await
    }

    async fn pivot(&self, top: &Path) -> Result<(), VmError> {
        let top = std::path::absolute(top).map_err(file::failed(top))?;
        self.ask(|reply| Request::Pivot(top, reply)).await
    }

    async fn rebase(&self, below: usize, merged: &Path) -> Result<(), VmError> {
        let merged = std::path::absolute(merged).map_err(file::failed(merged))?;
        self.ask(|reply| Request::Rebase(below, merged, reply)).await
    }

    async fn pause(&self) -> Result<(), VmError> {
        self.ask(Request::Pause).await
    }

    async fn go_on(&self) -> Result<(), VmError> {
        self.ask(Request::GoOn).await
    }

    fn came_up(&self) {
        self.up.store(true, Ordering::Relaxed);
    }

    fn stalled(&self) -> bool {
        *self.stalled.borrow()
    }

    fn is_stopped(&self) -> bool {
        self.process.is_stopped()
    }

    fn processor_time(&self) -> Duration {
        self.process.processor_time()
    }

    fn memory(&self) -> MemoryUse {
        self.process.memory()
    }

    fn memory_part(&self) -> MemoryUse {
        self.process.memory_part()
    }
}

impl Machine {
    async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<Result<T, VmError>>) -> Request) -> Result<T, VmError> {
        let (reply, answer) = oneshot::channel();
        // Refused, or left without an answer, when the VM is gone.
        let _ = self.requests.send(request(reply)).await;
        answer.await.unwrap_or_else(|_| Err(gone()))
    }
}
