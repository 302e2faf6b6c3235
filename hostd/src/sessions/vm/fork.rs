//! Forks: another session from one's memory, devices and disk, as they are at one moment.
//!
//! A fork's folder holds all that it is made from: layers and snapshot are immutable, so it has links to the same files, and
//! either session can be deleted without a thought for the other. The folder is marked until the fork's record is committed;
//! one that hostd left half made is swept away when it starts.
//!
//! A session that is suspended has everything on disk already. One that runs freezes its processes, stops, writes its
//! snapshot into the fork's folder and puts a new layer on its disk; then both records are committed at once, and it goes on
//! where it was. Until that commit nothing of it has changed that matters; after it the fork stands by itself. While its
//! layers are merged, a fork of one that runs waits.

use std::{io, path::Path};

use hostd_core::{Actor, Effect, session::NewFork};
use tokio::{fs, time::Instant};
use ulid::Ulid;

use super::{
    resume::{Awake, run_on},
    running::Running,
    site::Site,
    suspend::{advised, quiesce, settle},
};
use crate::{
    clock::now,
    guest_vm::GuestVm,
    sessions::{
        disk::{
            folder::{Folder, gone, sessions, top, top_after_fork},
            hard_links,
        },
        error::FleetError,
    },
    store::{Machine, Record, Snapshot},
    terminals,
    vm::{Vm, VmError, Vmm},
};

/// What a session is brought to a stand for.
#[derive(Clone, Debug)]
pub(in crate::sessions) enum Wish {
    /// Another session.
    Fork(NewFork),
    /// A checkpoint of its own.
    Checkpoint {
        /// On whose behalf; hostd's own: the schedule asks for it.
        by: Actor,
    },
}

impl Wish {
    /// What is answered where nothing came of it.
    pub(in crate::sessions) fn failed(&self, why: String) -> FleetError {
        match self {
            Self::Fork(_) => FleetError::NotForked(why),
            Self::Checkpoint { .. } => FleetError::NotCheckpointed(why),
        }
    }
}

/// A fork, or a checkpoint, to be.
#[derive(Clone, Debug)]
pub(in crate::sessions) struct Draft {
    pub(in crate::sessions) wish: Wish,
    pub(in crate::sessions) folder: Folder,
    /// In the name of the layer that the session writes to after it: no other one ever has it.
    layer: String,
}

/// A VM that stands still; its snapshot is the fork's, and it will write to a new layer.
pub(in crate::sessions) struct Parted {
    pub(in crate::sessions) guest: GuestVm,
    pub(in crate::sessions) generation: u64,
    /// Name of its new layer.
    pub(in crate::sessions) top: String,
    pub(in crate::sessions) snapshot: Snapshot,
    /// When it came to its stand.
    pub(in crate::sessions) stands: Instant,
}

impl Draft {
    /// In a folder of its own, which nobody has yet.
    pub(in crate::sessions) fn of(new: NewFork, folder: Folder) -> Self {
        Self { layer: new.id.clone(), wish: Wish::Fork(new), folder }
    }

    /// A checkpoint in this folder, which nobody names yet.
    pub(in crate::sessions) fn checkpoint(by: Actor, folder: Folder) -> Self {
        Self { layer: Ulid::new().to_string(), wish: Wish::Checkpoint { by }, folder }
    }

    /// What is to be done, in one word.
    pub(in crate::sessions) fn what(&self) -> &'static str {
        match self.wish {
            Wish::Fork(_) => "fork",
            Wish::Checkpoint { .. } => "checkpoint",
        }
    }

    /// That it came to nothing.
    pub(in crate::sessions) fn failed(&self, why: String) -> FleetError {
        self.wish.failed(why)
    }

    /// Its record is committed: the folder is its own.
    pub(in crate::sessions) async fn done(&self) {
        // A mark that stays behind is removed when hostd starts again.
        let _ = self.folder.done().await;
    }

    /// Nothing of it is left.
    pub(in crate::sessions) async fn undo(&self) {
        if let Err(error) = self.folder.remove().await {
            tracing::warn!(folder = %self.folder.path().display(), %error, "what is left of a fork cannot be removed");
        }
    }

    /// The fork of a session whose VM stands still. Links its layers.
    pub(in crate::sessions) async fn of_parted(
        &self,
        own: &Folder,
        original: &Record,
        parted: &Parted,
    ) -> io::Result<(Record, Vec<Effect>)> {
        self.record(own, original, parted.snapshot.clone(), top(parted.generation + 1)).await
    }

    /// The fork of a suspended session, whose folder is `own`. Links its snapshot and its layers.
    pub(in crate::sessions) async fn of_suspended(
        &self,
        own: &Folder,
        original: &Record,
    ) -> io::Result<(Record, Vec<Effect>)> {
        let snapshot = original.machine.snapshot.clone().ok_or_else(|| io::Error::other("it has no snapshot"))?;
        self.folder.begin().await?;
        let folder = self.folder.snapshot();
        hard_links::files(&snapshot.folder, &folder).await?;
        terminals::copy(own.path(), self.folder.path()).await?;
        self.record(own, original, Snapshot { folder, ..snapshot }, original.machine.disk.clone()).await
    }

    /// `disk` is the layer that its first life will write to.
    async fn record(
        &self,
        own: &Folder,
        original: &Record,
        snapshot: Snapshot,
        disk: String,
    ) -> io::Result<(Record, Vec<Effect>)> {
        // What its programs have read goes on to be trusted.
        hard_links::one(&own.authority(), &self.folder.authority()).await?;
        let layers = hard_links::layers(&original.machine.layers, own.path(), self.folder.path()).await?;
        let (phases, checkpoints) = (vec![], vec![]);
        let machine =
            Machine { layers, disk, phases, checkpoints, snapshot: Some(snapshot), ..original.machine.clone() };
        let Wish::Fork(new) = &self.wish else { return Err(io::Error::other("it is no fork")) };
        let (session, effects) = original.session.fork(new.clone(), now());
        Ok((Record { session, machine }, effects))
    }
}

/// Brings a running VM to a stand and writes what the fork is made from. What fails lets it run on, and leaves nothing of the
/// layer that it was to write to.
pub(in crate::sessions) async fn part(site: Site, running: Running, draft: Draft) -> Result<Parted, Awake> {
    let pivot = top_after_fork(running.generation, &draft.layer);
    let layer = site.folder.layer(&pivot);
    let parted = part_onto(site, running, draft, pivot).await;
    if parted.is_err()
        && let Err(error) = gone(fs::remove_file(&layer).await)
    {
        tracing::warn!(?layer, %error, "the layer of a fork that was not made is left behind");
    }
    parted
}

async fn part_onto(site: Site, running: Running, draft: Draft, pivot: String) -> Result<Parted, Awake> {
    let (record, generation) = (site.record(), running.generation);
    // All that can be made before it stands still.
    let layer = site.folder.layer(&pivot);
    if let Err(why) = prepare(&*site.vmm, &draft, &layer, record.session.size.disk).await {
        return Err(Awake::Runs { running, why });
    }
    settle(&site).await;
    let stands = Instant::now();
    if let Err(why) = quiesce(&site, &running, false).await {
        return Err(Awake::Runs { running, why });
    }
    let held = running.live.link.close();
    let guest = running.release().await;
    fail::fail_point!("fork::before-snapshot");
    let written = write(&site, &draft, &**guest.vm(), &layer).await;
    drop(held);
    match written {
        Ok(snapshot) => Ok(Parted { guest, generation, top: pivot, snapshot, stands }),
        Err(error) => Err(run_on(&site, &record, generation, guest, advised(&error, draft.what())).await),
    }
}

async fn prepare(vmm: &dyn Vmm, draft: &Draft, top: &Path, bytes: u64) -> Result<(), String> {
    if matches!(draft.wish, Wish::Checkpoint { .. }) {
        // Nobody names it: it is half of one that could not be removed.
        draft.folder.remove().await.map_err(|error| format!("{}: {error}", draft.folder.path().display()))?;
    }
    draft.folder.begin().await.map_err(|error| format!("{}: {error}", draft.folder.path().display()))?;
    vmm.create_disk(top, bytes).await.map_err(|error| error.to_string())
}

async fn write(site: &Site, draft: &Draft, vm: &dyn Vm, top: &Path) -> Result<Snapshot, VmError> {
    let (own, new) = (site.folder.path(), draft.folder.path());
    let folder = draft.folder.snapshot();
    let terminal = site.terminal.offset();
    let (saved, copied) = tokio::join!(vm.snapshot(&folder), terminals::copy(own, new));
    copied.map_err(|error| VmError::File { path: new.into(), error })?;
    let manifest = saved?;
    fail::fail_point!("fork::after-snapshot");
    vm.pivot(top).await?;
    fail::fail_point!("fork::after-pivot");
    let bytes = manifest.memory.bytes.saturating_add(manifest.devices.bytes);
    Ok(Snapshot { folder, bytes, terminal, at: now() })
}

/// Removes what an earlier hostd left of forks that it did not finish.
pub(in crate::sessions) async fn sweep(data: &Path, records: &[Record]) {
    let Ok(mut folders) = fs::read_dir(sessions(data)).await else { return };
    while let Ok(Some(entry)) = folders.next_entry().await {
        let folder = Folder::at(entry.path());
        if !folder.is_half_made().await {
            continue;
        }
        let known = records.iter().any(|record| *entry.file_name() == *record.session.id);
        let removed = if known { folder.done().await } else { folder.remove().await };
        if let Err(error) = removed {
            tracing::warn!(folder = %folder.path().display(), %error, "a half-made fork stays");
        }
    }
}
