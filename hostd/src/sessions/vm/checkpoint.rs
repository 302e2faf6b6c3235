//! Checkpoints: what a session goes back to, in a folder of its own that the session's record names by its number.
//!
//! The folder is as a suspended session's: the snapshot, further names for the layers that go with it, the terminal as it was, and
//! the session as it was. So whatever becomes of the session's own layers, merged or given up, nothing of a checkpoint changes.
//! A folder that no record names is none, and is removed when hostd starts.

use std::{
    fs::File,
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
};

use hostd_core::{Actor, Session};
use serde::{Deserialize, Serialize};

use super::fork::{Draft, Parted, Wish};
use crate::{
    sessions::disk::{
        folder::{Folder, top},
        hard_links, merge,
    },
    store::{Checkpoint, Machine, Record, Snapshot},
};

/// Largest file of a session as it was that is read, in bytes: messages that waited for it are most of it.
const THEN_MAX: u64 = 16 << 20;

/// A session as it was, as it lies in a checkpoint's folder.
#[derive(Serialize, Deserialize)]
struct Then {
    session: Session,
    machine: Machine,
}

/// Makes the folder of a checkpoint whole: `original` is the session as it goes on, whose topmost layer was frozen for it.
///
/// # Errors
/// Where it cannot be written; what is there of it is the draft's to undo.
pub(in crate::sessions) async fn keep(
    draft: &Draft,
    number: u64,
    own: &Folder,
    original: &Record,
    parted: &Parted,
) -> io::Result<Checkpoint> {
    let Wish::Checkpoint { by } = &draft.wish else { return Err(io::Error::other("it is no checkpoint")) };
    let automatic = *by == Actor::Host;
    let (folder, machine) = (&draft.folder, &original.machine);
    hard_links::one(&own.authority(), &folder.authority()).await?;
    let layers = hard_links::layers(&machine.layers, own.path(), folder.path()).await?;
    fail::fail_point!("checkpoint::after-links");
    let needs = machine.layers.iter().filter(|layer| !layer.starts_with(own.path()));
    let needs = needs.chain(&machine.template).chain(&machine.view_of).cloned().collect();
    let frozen = merge::on_disk(machine.layers.get(machine.layers.len().saturating_sub(1)..).unwrap_or_default()).await;
    let snapshot = parted.snapshot.clone();
    let (at, bytes) = (snapshot.at, snapshot.bytes.saturating_add(frozen));
    let then = Then {
        session: Session { forking: false, ..original.session.clone() },
        machine: Machine {
            layers,
            disk: top(parted.generation + 1),
            snapshot: Some(snapshot),
            phases: vec![],
            checkpoints: vec![],
            ..machine.clone()
        },
    };
    let path = folder.then();
    tokio::task::spawn_blocking(move || write(&path, &then)).await.map_err(io::Error::other)??;
    Ok(Checkpoint { number, at, bytes, automatic, stood: 0, needs })
}

/// Writes it, and has it and its folder on the disk.
fn write(path: &Path, then: &Then) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(&serde_json::to_vec(then).map_err(io::Error::other)?)?;
    file.sync_all()?;
    let mut parents = path.ancestors().skip(1).take(3);
    parents.try_for_each(|folder| File::open(folder)?.sync_all())
}

/// The session as it was when the checkpoint in this folder was taken: suspended, with files in that folder.
///
/// # Errors
/// Where it cannot be read.
pub(in crate::sessions) async fn read(folder: &Folder) -> io::Result<Record> {
    let path = folder.then();
    let read = move || {
        let mut text = Vec::new();
        File::open(path)?.take(THEN_MAX).read_to_end(&mut text)?;
        serde_json::from_slice::<Then>(&text).map_err(io::Error::other)
    };
    let Then { session, machine } = tokio::task::spawn_blocking(read).await.map_err(io::Error::other)??;
    Ok(Record { session, machine })
}

/// What the session is made from that goes back to the checkpoint in `folder`: further names of its layers in the session's `own` folder.
/// `generation` is the one that the session has once it is back. A layer that is there already has that name.
///
/// # Errors
/// Where a layer cannot be linked. Those that were are named by no record.
pub(in crate::sessions) async fn back(
    own: &Folder,
    folder: &Folder,
    now: &Record,
    generation: u64,
    then: &Machine,
) -> io::Result<Machine> {
    let mut layers = Vec::with_capacity(then.layers.len());
    for layer in &then.layers {
        let Some(name) = layer.file_name().filter(|_| layer.starts_with(folder.path())) else {
            layers.push(layer.clone());
            continue;
        };
        let linked = own.path().join(name);
        link_same(layer, &linked).await?;
        layers.push(linked);
    }
    let snapshot = then.snapshot.clone().map(|snapshot| Snapshot { folder: folder.snapshot(), ..snapshot });
    Ok(Machine {
        layers,
        snapshot,
        disk: top(generation + 1),
        checkpoint: now.machine.checkpoint,
        checkpoints: now.machine.checkpoints.clone(),
        ..then.clone()
    })
}

/// Gives a file another name, or finds that it has that name.
async fn link_same(from: &Path, to: &Path) -> io::Result<()> {
    use std::os::unix::fs::MetadataExt as _;
    match tokio::fs::hard_link(from, to).await {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let (from, to) = (tokio::fs::metadata(from).await?, tokio::fs::metadata(to).await?);
            if (from.dev(), from.ino()) == (to.dev(), to.ino()) { Ok(()) } else { Err(error) }
        }
        linked => linked,
    }
}

/// Removes the folders of checkpoints of these numbers.
pub(in crate::sessions) async fn remove(own: &Folder, numbers: &[u64]) {
    for folder in numbers.iter().map(|number| own.checkpoint(*number)) {
        removed(&folder).await;
    }
}

async fn removed(folder: &Folder) {
    if let Err(error) = folder.remove().await {
        tracing::warn!(folder = %folder.path().display(), %error, "what is left of a checkpoint is not removed");
    }
}

/// Removes what an earlier hostd left of checkpoints that no record names.
pub(in crate::sessions) async fn sweep(data: &Path, records: &[Record]) {
    for record in records {
        let known: Vec<u64> = record.machine.checkpoints.iter().map(|known| known.number).collect();
        for (number, folder) in Folder::of(data, &record.session.id).checkpoints().await {
            if number.is_none_or(|number| !known.contains(&number)) {
                tracing::info!(slug = record.session.slug, folder = %folder.path().display(), "removed half a checkpoint");
                removed(&folder).await;
            }
        }
    }
}

/// Paths of the layers of the session's own chain, with the one that it writes to.
pub(in crate::sessions) fn chain(own: &Folder, machine: &Machine) -> Vec<PathBuf> {
    let layers = machine.layers.iter().filter(|layer| layer.starts_with(own.path())).cloned();
    layers.chain([own.layer(&machine.disk)]).collect()
}
