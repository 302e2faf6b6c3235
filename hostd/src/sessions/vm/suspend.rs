//! To disk and back: a session's memory, devices and disk are kept, its process is gone.
//!
//! Out: the guest freezes its user processes and syncs; the link is closed; the VM is stopped and its snapshot written;
//! only then it is ended, and the layer that it wrote to is frozen with it. In: a VM with a new layer on top starts from the
//! snapshot, which stays as it is. What goes wrong on the way out lets the VM run on; on the way in it changes nothing.

use std::{io::ErrorKind, time::Duration};

use hostd_core::Lifecycle;
use pilothouse_proto::guest::v1::QuiesceRequest;
use tokio::time::timeout;

use super::{
    resume::{Awake, run_on},
    running::{Running, STALLED},
    site::Site,
    spec::identity,
};
use crate::{
    clock::now,
    sessions::disk::{
        folder::{Folder, freeze, top},
        next_layer,
    },
    store::{Machine, Record, Snapshot},
    vm::{
        VmError, Vmm,
        snapshot::{SnapshotError, store::Manifest},
    },
};

/// For the link of a running guest to be up.
const LINK: Duration = Duration::from_secs(20);
/// For a guest to freeze and sync.
const QUIESCE: Duration = Duration::from_secs(60);

/// Puts a running session to disk; returns what its next life is made from.
pub(in crate::sessions) async fn suspend(site: Site, running: Running) -> Result<Machine, Awake> {
    settle(&site).await;
    // The guest is busy with its own for longer than that takes.
    let bytes = site.record.borrow().session.size.disk;
    let next = next_layer::prepare(&*site.vmm, &site.folder, bytes);
    if let (Err(why), ()) = tokio::join!(quiesce(&site, &running, true), next) {
        return Err(Awake::Runs { running, why });
    }
    let generation = running.generation;
    // What is said to a VM that stands lands in its memory all the same, and does not fit its devices as they were saved. Nor
    // is the guest told that somebody stops listening.
    let held = running.live.link.close();
    let guest = running.release().await;
    let record = site.record();
    site.folder.keep_offset(&record.machine.disk, site.terminal.offset()).await;
    fail::fail_point!("suspend::before-snapshot");
    match guest.vm().snapshot(&site.folder.snapshot()).await {
        Ok(manifest) => {
            fail::fail_point!("suspend::after-snapshot");
            guest.end().await;
            drop(held);
            fail::fail_point!("suspend::after-end");
            Ok(put_down(&site.folder, &record, &manifest, site.terminal.offset()).await)
        }
        Err(error) => {
            drop(held);
            Err(run_on(&site, &record, generation, guest, advised(&error, "suspend")).await)
        }
    }
}

/// Waits until it is known how snapshots are written here, while the guest still runs; not where hostd ends.
pub(super) async fn settle(site: &Site) {
    tokio::select! {
        () = site.vmm.settle() => {}
        () = site.closing.cancelled() => {}
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
pub(super) async fn quiesce(site: &Site, running: &Running, trim: bool) -> Result<(), String> {
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
                let identity = identity(&site.record.borrow().session, running.generation);
                let _ = hello.shake_again(&identity).await;
            }
            Err(format!("the guest did not freeze within {} s", QUIESCE.as_secs()))
        }
    }
}

/// The snapshot of a suspend that came to its end, and was not committed.
pub(in crate::sessions) async fn whole(folder: &Folder, record: &Record) -> Option<Manifest> {
    if record.session.lifecycle != Lifecycle::Suspending {
        return None;
    }
    let snapshot = folder.snapshot();
    let manifest = tokio::task::spawn_blocking(move || Manifest::read(&snapshot)).await.ok()?.ok()?;
    (manifest.disk == record.machine.disk).then_some(manifest)
}

/// What becomes of a session that hostd's death caught after its snapshot was whole and before that was committed. None: it
/// was not so, or its VM may still run.
pub(in crate::sessions) async fn recover(vmm: &dyn Vmm, folder: &Folder, record: &Record) -> Option<Machine> {
    let manifest = whole(folder, record).await?;
    vmm.end_orphan(folder.path()).await.ok()?;
    let offset = folder.offset(&record.machine.disk).await;
    Some(put_down(folder, record, &manifest, offset.unwrap_or_default()).await)
}

/// The layer that was written to is frozen with the memory; the next life writes to another.
async fn put_down(folder: &Folder, record: &Record, manifest: &Manifest, terminal: u64) -> Machine {
    let mut machine = record.machine.clone();
    let layer = folder.layer(&machine.disk);
    if let Err(error) = freeze(&layer).await {
        tracing::warn!(slug = record.session.slug, %error, "a frozen layer kept its rights");
    }
    machine.layers.push(layer);
    machine.disk = top(record.session.generation + 1);
    let bytes = manifest.memory.bytes.saturating_add(manifest.devices.bytes);
    machine.snapshot = Some(Snapshot { folder: folder.snapshot(), bytes, terminal, at: now() });
    machine
}
