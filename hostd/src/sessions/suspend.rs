//! To disk and back: a session's memory, devices and disk are kept, its process is gone.
//!
//! Out: the guest freezes its user processes and syncs; the link is closed; the VM is stopped and its snapshot written;
//! only then it is ended, and the layer that it wrote to is frozen with it. In: a VM with a new layer on top starts from the
//! snapshot, which stays as it is. What goes wrong on the way out lets the VM run on; on the way in it changes nothing.

use std::{path::PathBuf, sync::Arc, time::Duration};

use hostd_core::Cause;
use pilothouse_proto::guest::v1::QuiesceRequest;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{
    fleet::{Handle, Host},
    now,
    running::{Live, Running},
    start::{Clock, NotStarted, Started, caller, disk, identity, spec},
};
use crate::{
    guest::Link,
    store::{Machine, Record, Snapshot},
    terminals::Pump,
    vm::Vm,
};

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
    if let Err(why) = quiesce(&running).await {
        return Err(Awake::Runs { running, why });
    }
    let generation = running.generation;
    let Live { vm, link } = running.release().await;
    link.close();
    drop(link);
    let record = handle.record.borrow().clone();
    let folder = host.directory(&handle.id).join("snapshot");
    fail::fail_point!("suspend::before-snapshot");
    match vm.snapshot(&folder).await {
        Ok(manifest) => {
            fail::fail_point!("suspend::after-snapshot");
            vm.end().await;
            let bytes = manifest.memory.bytes.saturating_add(manifest.devices.bytes);
            let snapshot = Snapshot { folder, bytes, terminal: handle.terminal.offset(), at: now() };
            Ok(put_down(&host, &record, snapshot).await)
        }
        Err(error) => Err(run_on(&host, &handle, &record, generation, vm, error.to_string()).await),
    }
}

async fn quiesce(running: &Running) -> Result<(), String> {
    let hello = running.live.link.client(LINK).await.map_err(|error| error.to_string())?;
    let asked = timeout(QUIESCE, hello.client.clone().quiesce(QuiesceRequest { freeze: true, trim: true })).await;
    match asked {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(status)) => {
            Err(format!("the guest did not freeze: {}", hostd_core::text::clean(status.message(), 1024)))
        }
        Err(_) => Err(format!("the guest did not freeze within {} s", QUIESCE.as_secs())),
    }
}

/// The layer that was written to is frozen with the memory.
async fn put_down(host: &Host, record: &Record, snapshot: Snapshot) -> Machine {
    let mut machine = record.machine.clone();
    let layer = host.directory(&record.session.id).join(&machine.disk);
    if let Err(error) = freeze(layer.clone()).await {
        // Nobody but hostd writes there; the rights are a second guard.
        tracing::warn!(slug = record.session.slug, %error, "a frozen layer kept its rights");
    }
    machine.layers.push(layer);
    machine.snapshot = Some(snapshot);
    machine
}

async fn freeze(layer: PathBuf) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    tokio::fs::set_permissions(layer, std::fs::Permissions::from_mode(0o444)).await
}

/// A suspend failed: the VM goes on as if nothing had been, or is gone.
async fn run_on(
    host: &Arc<Host>,
    handle: &Handle,
    record: &Record,
    generation: u64,
    vm: Arc<dyn Vm>,
    why: String,
) -> Awake {
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
    let machine = Machine { disk: format!("disk-{generation}.qcow2"), ..record.machine.clone() };
    let above = Record { session: record.session.clone(), machine };
    let directory = host.directory(&handle.id);
    let top = directory.join(&above.machine.disk);
    // Of an attempt that was cut off: nothing in it belongs to this snapshot.
    let _ = tokio::fs::remove_file(&top).await;
    disk(&host, &above, &directory).await.map_err(|error| failed(error.to_string()))?;
    clock.phase("disk");
    fail::fail_point!("resume::before-vm");
    let began = host.parts.vmm.resume(spec(&above, &directory), &snapshot.folder).await;
    let vm = match began {
        Ok(vm) => vm,
        Err(error) => {
            let _ = tokio::fs::remove_file(&top).await;
            return Err(failed(error.to_string()));
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
            Ok(Started { running, machine: Machine { phases, ..above.machine } })
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
    Ok(Running::new(generation, Live { vm, link: Arc::new(link) }, pump, &handle.messages))
}
