//! Copies of suspended sessions, to be read in: another VM from the same memory, devices and disk, while the session lies
//! where it is.
//!
//! A copy has a folder `copies/ID/` with names of its own for all that it is made from, so the session may be resumed, forked or
//! deleted meanwhile. Its user processes stay frozen: what is read is what was suspended. Its way out is never connected. It
//! ends, and its folder goes, when it was read, when it could not be, when nobody waits for it any more and when hostd ends;
//! a task of its own sees to that, whatever becomes of whoever asked.

use std::{io, path::Path, sync::Arc, time::Duration};

use hostd_core::{Lifecycle, capacity::Need, queue::Purpose};
use tokio::{fs, sync::Semaphore, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use ulid::Ulid;

use super::{
    FleetError, diff,
    fleet::{Handle, Host},
    leftovers, links,
    start::{identity, spec},
    suspend::{OFFER, SNAPSHOT},
};
use crate::{
    diff::{Kept, WorkingTree},
    guest::Link,
    room::{Kind, Promise},
    store::{Machine, Record, Snapshot},
    vm::{Vm, VmError, VmSpec},
};

/// Copies at a time; others wait.
const AT_A_TIME: usize = 2;
/// For all of it, from the wait for a place to the last byte read.
const WITHIN: Duration = Duration::from_secs(120);
/// For room on the host.
const ROOM: Duration = Duration::from_millis(if cfg!(test) { 200 } else { 10_000 });
/// For a guest to shake hands. Generous: the host may be busy.
const HANDSHAKE: Duration = Duration::from_secs(60);
/// Bytes that git may write to its disk before others have to wait.
const SCRATCH: u64 = 256 << 20;
/// The layer that it writes to.
const DISK: &str = "copy.qcow2";
/// One of them, in the log.
const WHAT: &str = "a copy of a session";

/// The copies of a host.
pub(super) struct Copies {
    places: Semaphore,
    tasks: TaskTracker,
}

impl Default for Copies {
    fn default() -> Self {
        Self { places: Semaphore::new(AT_A_TIME), tasks: TaskTracker::new() }
    }
}

impl Copies {
    /// Waits until none is left. hostd is closing: they end at once, and none begins any more.
    pub(super) async fn close(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// Reads the working tree of a suspended session in a copy of it. Dropped before, the copy is ended all the same.
pub(super) async fn read(host: &Arc<Host>, handle: &Arc<Handle>) -> Result<Kept, FleetError> {
    let over = CancellationToken::new();
    let _over = over.clone().drop_guard();
    let copying = host.copies.tasks.spawn(copy(host.clone(), handle.clone(), over));
    match timeout(WITHIN, copying).await {
        Ok(Ok(read)) => read,
        Ok(Err(error)) => Err(FleetError::NotRead(format!("hostd failed: {error}; please report this"))),
        Err(_) => Err(not_read(format!("it took longer than {} s", WITHIN.as_secs()))),
    }
}

/// Ends what an earlier hostd left.
pub(super) async fn sweep(host: &Host) {
    leftovers::sweep(host, &host.parts.data.join("copies"), WHAT).await;
}

async fn copy(host: Arc<Host>, handle: Arc<Handle>, over: CancellationToken) -> Result<Kept, FleetError> {
    let _place = unless(&host, &over, host.copies.places.acquire()).await?;
    let record = handle.record.borrow().clone();
    // Whoever had the place before may have read the same.
    if let Some(kept) = diff::kept(&host, &handle.id, suspended(&record)?.at).await {
        return Ok(kept);
    }
    let promise = unless(&host, &over, admitted(&host, record.session.size.memory)).await??;
    let folder = host.parts.data.join("copies").join(Ulid::new().to_string());
    let read = read_in(&host, &handle, &folder, &promise, &over).await;
    leftovers::remove(&folder, WHAT).await;
    read
}

/// What comes of it, unless nobody wants it any more before.
async fn unless<T>(host: &Host, over: &CancellationToken, work: impl Future<Output = T>) -> Result<T, FleetError> {
    tokio::select! {
        biased;
        () = host.closing.cancelled() => Err(FleetError::Stopping),
        () = over.cancelled() => Err(FleetError::NotRead("nobody waits for it any more".into())),
        done = work => Ok(done),
    }
}

async fn admitted(host: &Host, memory: u64) -> Result<Promise, FleetError> {
    let mut waits = String::new();
    let say = |why| {
        waits = why;
        std::future::ready(())
    };
    let room = host.parts.rooms.admit(Kind::Copy, Purpose::Copy, Need { memory, disk: SCRATCH }, say);
    match timeout(ROOM, room).await {
        Ok(admitted) => admitted.map_err(FleetError::NoRoom),
        Err(_) => Err(FleetError::NoRoom(waits)),
    }
}

/// No VM is left when this returns.
async fn read_in(
    host: &Host,
    handle: &Handle,
    folder: &Path,
    promise: &Promise,
    over: &CancellationToken,
) -> Result<Kept, FleetError> {
    let (record, snapshot) = linked(host, handle, folder).await?;
    let unusable = |error: VmError| match error {
        VmError::Snapshot(_) => FleetError::NotRead(format!("{error}{OFFER}")),
        error => not_read(error),
    };
    host.parts.vmm.create_disk(&folder.join(DISK), record.session.size.disk).await.map_err(unusable)?;
    let spec = VmSpec { name: format!("copy-of-{}", record.session.slug), ..spec(&record, folder) };
    let vm = host.parts.vmm.resume(spec, &snapshot.folder).await.map_err(unusable)?;
    promise.set_vm(Some(vm.clone()));
    let inside = async {
        tokio::select! {
            cause = vm.ended() => Err(not_read(format!("its VM ended: {cause}"))),
            read = inside(host, &record, vm.clone(), snapshot.at) => read,
        }
    };
    let read = unless(host, over, inside).await;
    vm.end().await;
    promise.set_vm(None);
    read?
}

async fn inside(host: &Host, record: &Record, vm: Arc<dyn Vm>, at: i64) -> Result<Kept, FleetError> {
    // Who it already is: nothing in it is renamed.
    let link = Link::to_copy(vm, identity(&record.session, record.session.generation));
    let hello = link.client(HANDSHAKE).await.map_err(not_read)?;
    let from = WorkingTree { frozen: true, ..diff::working_tree(record, &hello) };
    Ok(host.parts.diffs.keep(&from, &diff::file(host, &record.session.id), at).await?)
}

/// What the copy is made from, with names in its folder, and the snapshot among it. While the session is suspended all of it
/// stays, but for layers that are merged into one meanwhile: then that is taken.
async fn linked(host: &Host, handle: &Handle, folder: &Path) -> Result<(Record, Snapshot), FleetError> {
    loop {
        let record = handle.record.borrow().clone();
        let snapshot = suspended(&record)?;
        let made = link(host, &record, snapshot, folder).await;
        let now = handle.record.borrow().clone();
        if suspended(&now)?.at != snapshot.at {
            return Err(not_read("the session was resumed meanwhile"));
        }
        match made {
            Err(error) if error.kind() == io::ErrorKind::NotFound && now.machine.layers != record.machine.layers => {
                leftovers::remove(folder, WHAT).await;
            }
            made => return made.map_err(not_read),
        }
    }
}

async fn link(host: &Host, record: &Record, snapshot: &Snapshot, folder: &Path) -> io::Result<(Record, Snapshot)> {
    fs::create_dir_all(folder).await?;
    let own = host.directory(&record.session.id);
    let layers = links::layers(&record.machine.layers, &own, folder).await?;
    let snapshot = Snapshot { folder: folder.join(SNAPSHOT), ..snapshot.clone() };
    links::files(&own.join(SNAPSHOT), &snapshot.folder).await?;
    let machine = Machine { layers, disk: DISK.into(), ..record.machine.clone() };
    Ok((Record { session: record.session.clone(), machine }, snapshot))
}

fn suspended(record: &Record) -> Result<&Snapshot, FleetError> {
    let snapshot = record.machine.snapshot.as_ref().filter(|_| record.session.lifecycle == Lifecycle::Suspended);
    snapshot.ok_or_else(|| not_read("the session is not suspended any more"))
}

fn not_read(why: impl std::fmt::Display) -> FleetError {
    FleetError::NotRead(format!("{why}; try again, or resume the session"))
}
