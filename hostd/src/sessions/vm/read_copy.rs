//! Copies of sessions that lie on disk, to be read in: of a suspended one another VM from the same memory, devices and disk, of one whose
//! VM has ended a VM that boots from a copy of its disk and starts no agent. The session lies where it is meanwhile.
//!
//! A copy has a folder `copies/ID/` with names of its own for all that it is made from, so the session may be resumed, forked or
//! deleted meanwhile. Its user processes stay frozen: what is read is what was suspended. Its way out is never connected. It
//! ends, and its folder goes, when it was read, when it could not be, when nobody waits for it any more and when hostd ends;
//! a task of its own sees to that, whatever becomes of whoever asked.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use hostd_core::{Lifecycle, capacity::Need, queue::Purpose};
use tokio::{
    sync::{Semaphore, watch},
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use ulid::Ulid;

use super::{
    changes::working_tree,
    resume::OFFER,
    spec::{identity, spec},
};
use crate::{
    admission::{Admission, Kind, Reservation},
    diff::{Diffs, Kept, WorkingTree},
    guest_vm::{self, GuestVm, Met},
    sessions::{
        disk::{folder::Folder, hard_links},
        error::FleetError,
    },
    store::{Machine, Record, Snapshot},
    vm::{VmError, VmSpec, Vmm},
};

/// Copies at a time; others wait.
const AT_A_TIME: usize = 2;
/// For all of it, from the wait for a place to the last byte read.
const WITHIN: Duration = Duration::from_secs(120);
/// Bytes that git may write to its disk before others have to wait.
const SCRATCH: u64 = 256 << 20;
/// The layer that it writes to.
const DISK: &str = "copy.qcow2";
/// The copy of the layer that an ended VM wrote to last: a restart of its session writes to that itself.
const ENDED: &str = "ended.qcow2";
/// One of them, in the log.
const WHAT: &str = "a copy of a session";

/// The copies of a host.
pub(in crate::sessions) struct Copies {
    vmm: Arc<dyn Vmm>,
    admission: Admission,
    diffs: Arc<Diffs>,
    /// Their folders are in this one.
    root: PathBuf,
    /// Cancelled when hostd ends.
    closing: CancellationToken,
    places: Semaphore,
    /// Longest wait for room on the host.
    room_within: Duration,
    tasks: TaskTracker,
}

/// A session on disk, as whoever reads a copy of it knows it.
struct Original {
    folder: Folder,
    /// As last committed.
    record: watch::Receiver<Arc<Record>>,
}

impl Copies {
    /// The copies of a host with this data folder.
    pub(in crate::sessions) fn new(
        data: &Path,
        vmm: Arc<dyn Vmm>,
        admission: Admission,
        diffs: Arc<Diffs>,
        closing: CancellationToken,
        room_within: Duration,
    ) -> Arc<Self> {
        let (root, places) = (data.join("copies"), Semaphore::new(AT_A_TIME));
        Arc::new(Self { vmm, admission, diffs, root, closing, places, room_within, tasks: TaskTracker::new() })
    }

    /// Ends what an earlier hostd left.
    pub(in crate::sessions) async fn sweep(&self) {
        guest_vm::sweep(&*self.vmm, &self.root, WHAT).await;
    }

    /// Waits until none is left. hostd is closing: they end at once, and none begins any more.
    pub(in crate::sessions) async fn close(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Reads the working tree of a suspended session, or of one whose VM has ended, in a copy of it. Dropped before, the copy is ended all the same.
    pub(in crate::sessions) async fn read(
        self: &Arc<Self>,
        folder: Folder,
        record: watch::Receiver<Arc<Record>>,
    ) -> Result<Kept, FleetError> {
        let over = CancellationToken::new();
        let _over = over.clone().drop_guard();
        let (copies, original) = (self.clone(), Original { folder, record });
        let copying = self.tasks.spawn(async move { copies.copy(&original, over).await });
        match timeout(WITHIN, copying).await {
            Ok(Ok(read)) => read,
            Ok(Err(error)) => Err(FleetError::NotRead(format!("hostd failed: {error}; please report this"))),
            Err(_) => Err(not_read(format!("it took longer than {} s", WITHIN.as_secs()))),
        }
    }

    async fn copy(&self, original: &Original, over: CancellationToken) -> Result<Kept, FleetError> {
        let _place = self.unless(&over, self.places.acquire()).await?;
        let record = original.record();
        // Whoever had the place before may have read the same.
        if let Some(kept) = self.diffs.kept(&original.folder.changes(), as_of(&record)?).await {
            return Ok(kept);
        }
        let scratch = SCRATCH.saturating_add(original.to_copy(&record).await);
        let reservation = self.unless(&over, self.admitted(record.session.size.memory, scratch)).await??;
        let folder = Folder::at(self.root.join(Ulid::new().to_string()));
        let read = self.read_in(original, &folder, &reservation, &over).await;
        guest_vm::remove(folder.path(), WHAT).await;
        read
    }

    /// What comes of it, unless nobody wants it any more before.
    async fn unless<T>(&self, over: &CancellationToken, work: impl Future<Output = T>) -> Result<T, FleetError> {
        tokio::select! {
            biased;
            () = self.closing.cancelled() => Err(FleetError::Stopping),
            () = over.cancelled() => Err(FleetError::NotRead("nobody waits for it any more".into())),
            done = work => Ok(done),
        }
    }

    async fn admitted(&self, memory: u64, disk: u64) -> Result<Reservation, FleetError> {
        let mut waits = String::new();
        let say = |why| {
            waits = why;
            std::future::ready(())
        };
        let room = self.admission.admit(Kind::Copy, Purpose::Copy, Need { memory, disk }, say);
        match timeout(self.room_within, room).await {
            Ok(admitted) => admitted.map_err(FleetError::NoRoom),
            Err(_) => Err(FleetError::NoRoom(waits)),
        }
    }

    /// No VM is left when this returns.
    async fn read_in(
        &self,
        original: &Original,
        folder: &Folder,
        reservation: &Reservation,
        over: &CancellationToken,
    ) -> Result<Kept, FleetError> {
        let (record, snapshot) = match as_of_snapshot(&original.record()) {
            Some(_) => original.linked(folder).await.map(|(record, snapshot)| (record, Some(snapshot)))?,
            None => (original.copied(folder).await?, None),
        };
        let at = as_of(&record)?;
        let unusable = |error: VmError| match error {
            VmError::Snapshot(_) => FleetError::NotRead(format!("{error}{OFFER}")),
            error => not_read(error),
        };
        self.vmm.create_disk(&folder.layer(DISK), record.session.size.disk).await.map_err(unusable)?;
        let spec = VmSpec { name: format!("copy-of-{}", record.session.slug), ..spec(&record, folder) };
        let guest = match &snapshot {
            Some(snapshot) => GuestVm::resume(&*self.vmm, spec, &snapshot.folder).await,
            None => GuestVm::start(&*self.vmm, spec).await,
        };
        let guest = guest.map_err(unusable)?;
        reservation.set_vm(Some(guest.vm().clone()));
        let inside = guest.unless_it_ends(self.inside(original, &record, &guest, (at, snapshot.is_some())));
        let read = self.unless(over, inside).await;
        guest.end().await;
        reservation.set_vm(None);
        read?.unwrap_or_else(|cause| Err(not_read(format!("its VM ended: {cause}"))))
    }

    async fn inside(
        &self,
        original: &Original,
        record: &Record,
        guest: &GuestVm,
        (at, frozen): (i64, bool),
    ) -> Result<Kept, FleetError> {
        // Who it already is: nothing in it is renamed.
        let identity = identity(&record.session, record.session.generation);
        let Met { link: _link, hello } = guest.meet_copy(identity).await.map_err(not_read)?;
        let from = WorkingTree { frozen, ..working_tree(record, &hello) };
        Ok(self.diffs.keep(&from, &original.folder.changes(), at).await?)
    }
}

impl Original {
    fn record(&self) -> Arc<Record> {
        self.record.borrow().clone()
    }

    /// What the copy is made from, with names in its folder, and the snapshot among it. While the session is suspended all of
    /// it stays, but for layers that are merged into one meanwhile: then that is taken.
    async fn linked(&self, folder: &Folder) -> Result<(Record, Snapshot), FleetError> {
        loop {
            let record = self.record();
            let snapshot = suspended(&record)?;
            let made = self.link(&record, snapshot, folder).await;
            let now = self.record();
            if suspended(&now)?.at != snapshot.at {
                return Err(not_read("the session was resumed meanwhile"));
            }
            match made {
                Err(error)
                    if error.kind() == io::ErrorKind::NotFound && now.machine.layers != record.machine.layers =>
                {
                    guest_vm::remove(folder.path(), WHAT).await;
                }
                made => return made.map_err(not_read),
            }
        }
    }

    /// What a copy of a session whose VM has ended is made from, with names in its folder: layers that stay as they are, and a copy of
    /// the one that was written to last. A session that was restarted meanwhile may have written to that.
    async fn copied(&self, folder: &Folder) -> Result<Record, FleetError> {
        let record = self.record();
        as_of(&record)?;
        let copied = async {
            folder.make().await?;
            let (own, machine) = (self.folder.path(), &record.machine);
            let mut layers = hard_links::layers(&machine.layers, own, folder.path()).await?;
            let ended = folder.layer(ENDED);
            tokio::fs::copy(self.folder.layer(&machine.disk), &ended).await?;
            layers.push(ended);
            let machine = Machine { layers, disk: DISK.into(), view_of: None, snapshot: None, ..machine.clone() };
            io::Result::Ok(Record { session: record.session.clone(), machine })
        };
        let copied = copied.await.map_err(not_read);
        let now = self.record();
        if now.session.generation != record.session.generation || as_of(&now).is_err() {
            return Err(not_read("the session was restarted meanwhile"));
        }
        copied
    }

    /// Bytes of the layer that is copied of a session whose VM has ended; 0: none is.
    async fn to_copy(&self, record: &Record) -> u64 {
        if as_of_snapshot(record).is_some() {
            return 0;
        }
        // One that is not there is told by the copy itself.
        let layer = tokio::fs::metadata(self.folder.layer(&record.machine.disk)).await;
        layer.map_or(0, |metadata| std::os::unix::fs::MetadataExt::blocks(&metadata).saturating_mul(512))
    }

    async fn link(&self, record: &Record, snapshot: &Snapshot, folder: &Folder) -> io::Result<(Record, Snapshot)> {
        folder.make().await?;
        let layers = hard_links::layers(&record.machine.layers, self.folder.path(), folder.path()).await?;
        let snapshot = Snapshot { folder: folder.snapshot(), ..snapshot.clone() };
        hard_links::files(&self.folder.snapshot(), &snapshot.folder).await?;
        let machine = Machine { layers, disk: DISK.into(), ..record.machine.clone() };
        Ok((Record { session: record.session.clone(), machine }, snapshot))
    }
}

/// The time that a session lies on disk as of: of its suspend, or of its VM's end.
fn as_of(record: &Record) -> Result<i64, FleetError> {
    match &record.session.lifecycle {
        Lifecycle::Crashed { .. } | Lifecycle::Stopped { .. } if record.session.generation > 0 => {
            Ok(record.session.turn_since())
        }
        _ => suspended(record).map(|snapshot| snapshot.at),
    }
}

/// The snapshot of a suspended session.
fn as_of_snapshot(record: &Record) -> Option<&Snapshot> {
    suspended(record).ok()
}

fn suspended(record: &Record) -> Result<&Snapshot, FleetError> {
    let snapshot = record.machine.snapshot.as_ref().filter(|_| record.session.lifecycle == Lifecycle::Suspended);
    snapshot.ok_or_else(|| not_read("the session does not lie on disk any more"))
}

fn not_read(why: impl std::fmt::Display) -> FleetError {
    FleetError::NotRead(format!("{why}; try again, or bring the session back"))
}
