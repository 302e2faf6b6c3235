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

use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use hostd_core::{Effect, Session, session::NewFork};
use tokio::{fs, sync::oneshot};
use ulid::Ulid;

use super::{
    Fleet, FleetError, SessionView,
    commands::settled,
    create,
    handle::{Handle, Host},
    links,
    message::Message,
    now,
    running::Running,
    suspend::{Awake, SNAPSHOT, advised, quiesce, run_on, settle, top},
};
use crate::{
    store::{Machine, Record, Snapshot},
    terminals,
    vm::{Vm, VmError},
};

/// In a folder whose fork is not committed.
const HALF_MADE: &str = "half-made";

/// What somebody asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ForkOrder {
    /// Empty: made from the original's.
    pub title: String,
    /// User name of whoever asks.
    pub owner: String,
}

/// A fork to be.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    new: NewFork,
    directory: PathBuf,
}

/// A VM that stands still; its snapshot is the fork's, and it will write to a new layer.
pub(super) struct Parted {
    pub(super) vm: Arc<dyn Vm>,
    pub(super) generation: u64,
    /// Name of its new layer.
    pub(super) top: String,
    snapshot: Snapshot,
}

impl Fleet {
    /// Makes another session from this one as it is at this moment, or after a merge of its layers that is under way while it
    /// runs; it is on its way when this returns.
    ///
    /// # Errors
    /// As [`Fleet::get`], [`FleetError::Denied`] where its state does not allow it, and [`FleetError::NotForked`]; the session
    /// goes on as it was, and nothing of a fork is left.
    pub async fn fork(&self, asked: &str, order: ForkOrder) -> Result<SessionView, FleetError> {
        if self.refresh.is_cancelled() {
            return Err(FleetError::Stopping);
        }
        let handle = self.handle(asked)?;
        settled(&handle, Session::moves).await?;
        let new = new_fork(&self.host, &handle, order);
        let id = new.id.clone();
        let (answer, answered) = oneshot::channel();
        let sent = handle.messages.send(Message::Fork { new, answer }).await;
        sent.map_err(|_| FleetError::Stopping)?;
        answered.await.map_err(|_| FleetError::Stopping)??;
        self.get(&id)
    }
}

fn new_fork(host: &Host, handle: &Handle, order: ForkOrder) -> NewFork {
    let title = match order.title.trim() {
        "" => create::cut(&format!("fork of {}", handle.record.borrow().session.title)),
        title => create::cut(title),
    };
    let taken: BTreeSet<String> = host.handles().values().map(|handle| handle.slug.clone()).collect();
    loop {
        let id = Ulid::new().to_string();
        let slug = create::slug(&id, &title);
        if !taken.contains(&slug) {
            return NewFork { id, slug, title, owner: order.owner };
        }
    }
}

impl Draft {
    /// In a folder of its own among the sessions'.
    pub(super) fn of(new: NewFork, host: &Host) -> Self {
        let directory = host.directory(&new.id);
        Self { new, directory }
    }

    /// Its folder, marked as not yet anybody's.
    async fn begin(&self) -> io::Result<()> {
        fs::create_dir_all(&self.directory).await?;
        fs::write(self.directory.join(HALF_MADE), "").await
    }

    /// Its record is committed: the folder is its own.
    pub(super) async fn done(&self) {
        // One that stays behind is removed when hostd starts again.
        let _ = fs::remove_file(self.directory.join(HALF_MADE)).await;
    }

    /// Nothing of it is left.
    pub(super) async fn undo(&self) {
        if let Err(error) = fs::remove_dir_all(&self.directory).await
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(directory = %self.directory.display(), %error, "what is left of a fork cannot be removed");
        }
    }

    /// The fork of a session whose VM stands still. Links its layers.
    pub(super) async fn of_parted(
        &self,
        host: &Host,
        original: &Record,
        parted: &Parted,
    ) -> io::Result<(Record, Vec<Effect>)> {
        self.record(host, original, parted.snapshot.clone(), top(parted.generation + 1)).await
    }

    /// The fork of a suspended session. Links its snapshot and its layers.
    pub(super) async fn of_suspended(&self, host: &Host, original: &Record) -> io::Result<(Record, Vec<Effect>)> {
        let snapshot = original.machine.snapshot.clone().ok_or_else(|| io::Error::other("it has no snapshot"))?;
        self.begin().await?;
        let folder = self.directory.join(SNAPSHOT);
        links::files(&snapshot.folder, &folder).await?;
        terminals::copy(&host.directory(&original.session.id), &self.directory).await?;
        self.record(host, original, Snapshot { folder, ..snapshot }, original.machine.disk.clone()).await
    }

    /// `disk` is the layer that its first life will write to.
    async fn record(
        &self,
        host: &Host,
        original: &Record,
        snapshot: Snapshot,
        disk: String,
    ) -> io::Result<(Record, Vec<Effect>)> {
        let own = host.directory(&original.session.id);
        let layers = links::layers(&original.machine.layers, &own, &self.directory).await?;
        let machine = Machine { layers, disk, phases: vec![], snapshot: Some(snapshot), ..original.machine.clone() };
        let (session, effects) = original.session.fork(self.new.clone(), now());
        Ok((Record { session, machine }, effects))
    }
}

/// Brings a running VM to a stand and writes what the fork is made from. What fails lets it run on, and leaves nothing of the
/// layer that it was to write to.
pub(super) async fn part(
    host: Arc<Host>,
    handle: Arc<Handle>,
    running: Running,
    draft: Draft,
) -> Result<Parted, Awake> {
    // Of this fork alone: no other layer ever has its name.
    let pivot = format!("disk-{}-{}.qcow2", running.generation, draft.new.id.to_ascii_lowercase());
    let layer = host.directory(&handle.id).join(&pivot);
    let parted = part_onto(host, handle, running, draft, pivot).await;
    if parted.is_err()
        && let Err(error) = fs::remove_file(&layer).await
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(?layer, %error, "the layer of a fork that was not made is left behind");
    }
    parted
}

async fn part_onto(
    host: Arc<Host>,
    handle: Arc<Handle>,
    running: Running,
    draft: Draft,
    pivot: String,
) -> Result<Parted, Awake> {
    let record = handle.record.borrow().clone();
    let directory = host.directory(&handle.id);
    let generation = running.generation;
    // All that can be made before it stands still.
    if let Err(why) = prepare(&host, &draft, &directory.join(&pivot), record.session.size.disk).await {
        return Err(Awake::Runs { running, why });
    }
    settle(&host).await;
    if let Err(why) = quiesce(&handle, &running, false).await {
        return Err(Awake::Runs { running, why });
    }
    let held = running.live.link.close();
    let vm = running.release().await.vm;
    fail::fail_point!("fork::before-snapshot");
    let written = write(&handle, &draft, &*vm, &directory, &pivot).await;
    drop(held);
    match written {
        Ok(snapshot) => Ok(Parted { vm, generation, top: pivot, snapshot }),
        Err(error) => Err(run_on(&host, &handle, &record, generation, vm, advised(&error, "fork")).await),
    }
}

async fn prepare(host: &Host, draft: &Draft, top: &Path, bytes: u64) -> Result<(), String> {
    draft.begin().await.map_err(|error| format!("{}: {error}", draft.directory.display()))?;
    host.parts.vmm.create_disk(top, bytes).await.map_err(|error| error.to_string())
}

async fn write(handle: &Handle, draft: &Draft, vm: &dyn Vm, directory: &Path, top: &str) -> Result<Snapshot, VmError> {
    let folder = draft.directory.join(SNAPSHOT);
    let terminal = handle.terminal.offset();
    let (saved, copied) = tokio::join!(vm.snapshot(&folder), terminals::copy(directory, &draft.directory));
    copied.map_err(|error| VmError::File { path: draft.directory.clone(), error })?;
    let manifest = saved?;
    fail::fail_point!("fork::after-snapshot");
    vm.pivot(&directory.join(top)).await?;
    fail::fail_point!("fork::after-pivot");
    let bytes = manifest.memory.bytes.saturating_add(manifest.devices.bytes);
    Ok(Snapshot { folder, bytes, terminal, at: now() })
}

/// Removes what an earlier hostd left of forks that it did not finish.
pub(super) async fn sweep(data: &Path, records: &[Record]) {
    let Ok(mut folders) = fs::read_dir(data.join("sessions")).await else { return };
    while let Ok(Some(folder)) = folders.next_entry().await {
        let mark = folder.path().join(HALF_MADE);
        if !fs::try_exists(&mark).await.unwrap_or(false) {
            continue;
        }
        let known = records.iter().any(|record| *folder.file_name() == *record.session.id);
        let removed = if known { fs::remove_file(&mark).await } else { fs::remove_dir_all(folder.path()).await };
        if let Err(error) = removed {
            tracing::warn!(folder = %folder.path().display(), %error, "a half-made fork stays");
        }
    }
}
