//! To disk and back: a session's memory, devices and disk are kept, its process is gone.
//!
//! Out: the guest freezes its user processes and syncs; the link is closed; the VM is stopped and its snapshot written;
//! only then it is ended, and the layer that it wrote to is frozen with it. In: a VM with a new layer on top starts from the
//! snapshot, which stays as it is. What goes wrong on the way out lets the VM run on; on the way in it changes nothing.

use std::{io::ErrorKind, path::Path, sync::Arc, time::Duration};

use hostd_core::{Cause, Lifecycle};
use pilothouse_proto::guest::v1::QuiesceRequest;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{
    fleet::{Handle, Host},
    now,
    running::{Live, Running},
    start::{Clock, NotStarted, Started, caller, identity, spec},
    tops,
};
use crate::{
    guest::Link,
    store::{Machine, Record, Snapshot},
    terminals::Pump,
    vm::{
        Vm, VmError,
        snapshot::{SnapshotError, store::Manifest},
    },
};

/// Of a session's snapshot in its folder.
pub(super) const SNAPSHOT: &str = "snapshot";
/// Of the file in a session's folder that says how far its terminal was taken when its last suspend began.
const OFFSET: &str = "snapshot.offset";
/// What can be done about a snapshot that cannot be used.
pub(super) const OFFER: &str = "; put back what has changed and resume it, or restart it: \
    that boots it from its disk as it was suspended, and gives up its memory";
/// Of a VM that cannot write.
pub(super) const STALLED: &str = "stands still, because the host's disk is full; make room on it \
    (`pilothouse host show` names who takes it), and it goes on";
/// For the link of a running guest to be up.
const LINK: Duration = Duration::from_secs(20);
/// For a guest to freeze and sync.
const QUIESCE: Duration = Duration::from_secs(60);
/// For a resumed guest to shake hands. Generous: many may be resumed at once on a busy host.
const HANDSHAKE: Duration = Duration::from_secs(120);

/// Why a session is not on disk now.
pub(super) enum Awake {
    /// It runs on.
    Runs {
        /// As before.
        running: Running,
        /// With what to do.
        why: String,
    },
    /// Its VM is gone.
    Ended(Cause),
}

/// Puts a running session to disk; returns what its next life is made from.
pub(super) async fn suspend(host: Arc<Host>, handle: Arc<Handle>, running: Running) -> Result<Machine, Awake> {
    settle(&host).await;
    // The guest is busy with its own for longer than that takes.
    let directory = host.directory(&handle.id);
    let bytes = handle.record.borrow().session.size.disk;
    let next = tops::prepare(&*host.parts.vmm, &directory, bytes);
    if let (Err(why), ()) = tokio::join!(quiesce(&handle, &running, true), next) {
        return Err(Awake::Runs { running, why });
    }
    let generation = running.generation;
    // What is said to a VM that stands lands in its memory all the same, and does not fit its devices as they were saved. Nor
    // is the guest told that somebody stops listening.
    let held = running.live.link.close();
    let vm = running.release().await.vm;
    let record = handle.record.borrow().clone();
    let folder = directory.join(SNAPSHOT);
    keep_offset(&host, &record, handle.terminal.offset()).await;
    fail::fail_point!("suspend::before-snapshot");
    match vm.snapshot(&folder).await {
        Ok(manifest) => {
            fail::fail_point!("suspend::after-snapshot");
            vm.end().await;
            drop(held);
            fail::fail_point!("suspend::after-end");
            Ok(put_down(&host, &record, &manifest, handle.terminal.offset()).await)
        }
        Err(error) => {
            drop(held);
            Err(run_on(&host, &handle, &record, generation, vm, advised(&error, "suspend")).await)
        }
    }
}

/// Waits until it is known how snapshots are written here, while the guest still runs; not where hostd ends.
pub(super) async fn settle(host: &Host) {
    tokio::select! {
        () = host.parts.vmm.settle() => {}
        () = host.closing.cancelled() => {}
    }
}

/// [`settle`] before somebody has to wait for it, where there is something that will be put to disk.
pub(super) fn settle_early(host: &Arc<Host>) {
    let built = || host.parts.environments.list().iter().any(|environment| environment.build.is_some());
    if !host.handles().is_empty() || built() {
        let host = host.clone();
        tokio::spawn(async move { settle(&host).await });
    }
}

/// The error, with what to do where that is not in it; `what` was to be done.
pub(super) fn advised(error: &VmError, what: &str) -> String {
    let (VmError::File { error: io, .. } | VmError::Snapshot(SnapshotError::Io { error: io, .. })) = error else {
        return error.to_string();
    };
    let full = matches!(io.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge);
    if full { format!("{error}; make room on the host's disk and {what} it again") } else { error.to_string() }
}

/// Freezes the guest's user processes and writes all to its disk; what the disk no longer needs is told where asked for.
/// Where it fails they run on: the guest sees to that, or does when its host's disk has room again.
pub(super) async fn quiesce(handle: &Handle, running: &Running, trim: bool) -> Result<(), String> {
    if running.live.vm.stalled() {
        return Err(STALLED.into());
    }
    let hello = running.live.link.client(LINK).await.map_err(|error| error.to_string())?;
    let asked = timeout(QUIESCE, hello.client.clone().quiesce(QuiesceRequest { freeze: true, trim })).await;
    match asked {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(status)) => {
            Err(format!("the guest did not freeze: {}", hostd_core::text::clean(status.message(), 1024)))
        }
        Err(_) => {
            // Its answer may have been on the way.
            if !running.live.vm.stalled() {
                let identity = identity(&handle.record.borrow().session, running.generation);
                let _ = hello.shake_again(&identity).await;
            }
            Err(format!("the guest did not freeze within {} s", QUIESCE.as_secs()))
        }
    }
}

/// What becomes of a session that hostd's death caught after its snapshot was whole and before that was committed. None: it
/// was not so, or its VM may still run.
pub(super) async fn recover(host: &Host, record: &Record) -> Option<Machine> {
    if record.session.lifecycle != Lifecycle::Suspending {
        return None;
    }
    let directory = host.directory(&record.session.id);
    host.parts.vmm.end_leftover(&directory).await.ok()?;
    let folder = directory.join(SNAPSHOT);
    let manifest = tokio::task::spawn_blocking(move || Manifest::read(&folder)).await.ok()?.ok()?;
    if manifest.disk != record.machine.disk {
        return None;
    }
    let kept = tokio::fs::read_to_string(directory.join(OFFSET)).await.unwrap_or_default();
    let offset = kept.strip_prefix(record.machine.disk.as_str()).and_then(|rest| rest.trim().parse().ok());
    Some(put_down(host, record, &manifest, offset.unwrap_or_default()).await)
}

/// How far the terminal was taken, for [`recover`]; where it is lost, some of the output is shown twice.
async fn keep_offset(host: &Host, record: &Record, offset: u64) {
    let path = host.directory(&record.session.id).join(OFFSET);
    if let Err(error) = tokio::fs::write(&path, format!("{} {offset}\n", record.machine.disk)).await {
        tracing::debug!(?path, %error, "the terminal's offset is not kept");
    }
}

/// The layer that was written to is frozen with the memory; the next life writes to another.
async fn put_down(host: &Host, record: &Record, manifest: &Manifest, terminal: u64) -> Machine {
    let mut machine = record.machine.clone();
    let directory = host.directory(&record.session.id);
    let layer = directory.join(&machine.disk);
    if let Err(error) = freeze(&layer).await {
        // Nobody but hostd writes there; the rights are a second guard.
        tracing::warn!(slug = record.session.slug, %error, "a frozen layer kept its rights");
    }
    machine.layers.push(layer);
    machine.disk = top(record.session.generation + 1);
    let bytes = manifest.memory.bytes.saturating_add(manifest.devices.bytes);
    machine.snapshot = Some(Snapshot { folder: directory.join(SNAPSHOT), bytes, terminal, at: now() });
    machine
}

pub(super) async fn freeze(layer: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    tokio::fs::set_permissions(layer, std::fs::Permissions::from_mode(0o444)).await
}

/// The name of the layer that a life begins to write to.
pub(super) fn top(generation: u64) -> String {
    format!("disk-{generation}.qcow2")
}

/// Removes the snapshot once nothing can go back to it.
pub(super) async fn forget_snapshot(host: &Host, id: &str) {
    let folder = host.directory(id).join(SNAPSHOT);
    if let Err(error) = tokio::fs::remove_dir_all(&folder).await
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(?folder, %error, "an old snapshot is left behind");
    }
}

/// A VM that stands still goes on as if nothing had been, or is gone.
pub(super) async fn run_on(
    host: &Arc<Host>,
    handle: &Handle,
    record: &Record,
    generation: u64,
    vm: Arc<dyn Vm>,
    why: String,
) -> Awake {
    // One that was published before it failed is of a moment that the disk is about to leave.
    let folder = host.directory(&handle.id).join(SNAPSHOT);
    let published = tokio::task::spawn_blocking(move || Manifest::read(&folder)).await;
    if published.is_ok_and(|read| read.is_ok_and(|manifest| manifest.disk == record.machine.disk)) {
        forget_snapshot(host, &handle.id).await;
    }
    if let Err(error) = vm.go_on().await {
        vm.end().await;
        return Awake::Ended(Cause::VmDied(format!("{why}; and then it did not go on: {error}")));
    }
    match wake(host, handle, record, generation, vm.clone(), handle.terminal.offset()).await {
        Ok(running) => Awake::Runs { running, why },
        Err(error) => {
            vm.end().await;
            Awake::Ended(Cause::VmDied(format!("{why}; and then its guest was silent: {error}")))
        }
    }
}

/// Brings a suspended session back, as this generation.
pub(super) async fn resume(
    host: Arc<Host>,
    handle: Arc<Handle>,
    generation: u64,
    cancel: CancellationToken,
) -> Result<Started, NotStarted> {
    let record = handle.record.borrow().clone();
    let failed = |why: String| NotStarted::Failed(why);
    let Some(snapshot) = record.machine.snapshot.clone() else {
        return Err(failed("it has no snapshot; restart it to boot it from its disk".into()));
    };
    let mut clock = Clock::new();
    let machine = Machine { disk: top(generation), ..record.machine.clone() };
    let above = Record { session: record.session.clone(), machine };
    let directory = host.directory(&handle.id);
    let top = directory.join(&above.machine.disk);
    tops::put(&host, &above, &directory).await.map_err(|error| failed(error.to_string()))?;
    clock.phase("disk");
    fail::fail_point!("resume::before-vm");
    let began = host.parts.vmm.resume(spec(&above, &directory), &snapshot.folder).await;
    let vm = match began {
        Ok(vm) => vm,
        Err(error) => {
            let _ = tokio::fs::remove_file(&top).await;
            let help = if matches!(error, VmError::Snapshot(_)) { OFFER } else { "" };
            return Err(failed(format!("{error}{help}")));
        }
    };
    clock.phase("vm");
    fail::fail_point!("resume::after-vm");
    let result = tokio::select! {
        () = cancel.cancelled() => Err(NotStarted::Cancelled),
        cause = vm.ended() => Err(NotStarted::Ended(cause)),
        up = wake(&host, &handle, &above, generation, vm.clone(), snapshot.terminal) => up.map_err(failed),
    };
    match result {
        Ok(running) => {
            clock.phase("handshake");
            let phases = clock.phases;
            Ok(Started { running, machine: Machine { phases, ..above.machine }, why_booted: None, broken: None })
        }
        Err(why) => {
            vm.end().await;
            let _ = tokio::fs::remove_file(&top).await;
            Err(why)
        }
    }
}

/// Shakes hands with a guest that was frozen, which lets its processes run, and goes on with its terminal.
async fn wake(
    host: &Arc<Host>,
    handle: &Handle,
    record: &Record,
    generation: u64,
    vm: Arc<dyn Vm>,
    terminal: u64,
) -> Result<Running, String> {
    let caller = Arc::new(caller(&record.session, &record.machine));
    let link = Link::start(vm.clone(), identity(&record.session, generation), host.parts.gateway.clone(), caller);
    link.client(HANDSHAKE).await.map_err(|error| error.to_string())?;
    let pump = Pump::go_on(handle.terminal.clone(), terminal);
    let pump = pump.await.map_err(|error| format!("the terminal's log: {error}"))?;
    Ok(Running::new(generation, Live { vm, link: Arc::new(link) }, pump, record.machine.heard, &handle.messages))
}
