//! The layers of a session's disk. A suspend freezes one; two frozen ones of its own are merged into one, so that the chain
//! below a VM stays short: base, build, its own, and the layer that it writes to. One that runs is told of it, so that it
//! closes the files that were merged: forks freeze layers of a VM that runs on.
//!
//! A file is removed only when no session's record names it: forks share them.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
};

use ulid::Ulid;

use super::{fleet::Host, tops};
use crate::store::{Machine, Record};

/// Own frozen layers that are worth merging.
const SOME: usize = 2;

/// What is merged at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// The whole chain, bottom first.
    layers: Vec<PathBuf>,
    /// Where its sessions' layers begin; below are those of its environment.
    own: usize,
}

impl Plan {
    /// None: there is nothing to merge.
    pub(super) fn of(host: &Host, machine: &Machine) -> Option<Self> {
        let sessions = host.sessions();
        let own = machine.layers.iter().position(|layer| layer.starts_with(&sessions))?;
        (machine.layers.len() - own >= SOME).then(|| Self { layers: machine.layers.clone(), own })
    }

    /// The layers that go into one.
    pub(super) fn merged(&self) -> &[PathBuf] {
        &self.layers[self.own..]
    }

    /// How many layers lie below those.
    pub(super) fn below(&self) -> usize {
        self.own
    }

    /// Makes the file that stands for them; not yet named by any record. For a while they are there twice.
    pub(super) async fn carry_out(&self, host: &Host, id: &str, bytes: u64) -> Result<PathBuf, NotMerged> {
        fail::fail_point!("merge::no-room", |_| Err(NotMerged::NoRoom { needed: 1, free: 0 }));
        let (needed, free) = (on_disk(self.merged()).await, host.room().disk());
        if needed > free {
            return Err(NotMerged::NoRoom { needed, free });
        }
        self.write(host, id, bytes).await.map_err(NotMerged::Failed)
    }

    async fn write(&self, host: &Host, id: &str, bytes: u64) -> Result<PathBuf, String> {
        let to = host.directory(id).join(format!("merged-{}.qcow2", Ulid::new()));
        let merged = host.parts.vmm.merge(&self.layers, self.own, &to, bytes).await;
        merged.map_err(|error| error.to_string())?;
        super::suspend::freeze(&to).await.map_err(|error| format!("{}: {error}", to.display()))?;
        Ok(to)
    }

    /// The machine with the file in their place; None where its chain has changed otherwise than on top.
    pub(super) fn apply(&self, machine: &Machine, file: PathBuf) -> Option<Machine> {
        let above = machine.layers.strip_prefix(self.layers.as_slice())?;
        let layers = [&self.layers[..self.own], &[file], above].concat();
        Some(Machine { layers, ..machine.clone() })
    }
}

/// Why layers stay as they are.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NotMerged {
    /// The host's disk has too little room beyond its reserve, in bytes. It may have more another time.
    NoRoom {
        /// At the most.
        needed: u64,
        /// Of it.
        free: u64,
    },
    /// It would go no better another time.
    Failed(String),
}

/// Bytes that these files take; one that cannot be looked at takes none.
async fn on_disk(files: &[PathBuf]) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    let mut bytes = 0_u64;
    for file in files {
        bytes = bytes.saturating_add(tokio::fs::metadata(file).await.map_or(0, |stat| stat.blocks() * 512));
    }
    bytes
}

/// Removes those of these files that no record names any more.
pub(super) async fn remove(host: &Host, files: &[PathBuf]) {
    let named: HashSet<PathBuf> = {
        let handles = host.handles();
        handles.values().flat_map(|handle| named(host, &handle.record.borrow())).collect()
    };
    for file in files.iter().filter(|file| !named.contains(*file)) {
        if let Err(error) = tokio::fs::remove_file(file).await {
            tracing::warn!(?file, %error, "a layer that was merged is left behind");
        }
    }
}

/// Removes from the folders of these sessions what a hostd that died there left: layers that no record names.
pub(super) async fn sweep(host: &Host, records: &[Record]) {
    let known: HashSet<PathBuf> = records.iter().flat_map(|record| named(host, record)).collect();
    for record in records {
        let directory = host.directory(&record.session.id);
        for file in layers_in(&directory).await {
            if tops::is_ready(&file, record.session.size.disk) {
                continue;
            }
            if !known.contains(&file) && tokio::fs::remove_file(&file).await.is_ok() {
                tracing::info!(slug = record.session.slug, ?file, "removed a layer that was never used");
            }
        }
    }
}

fn named(host: &Host, record: &Record) -> Vec<PathBuf> {
    let top = host.directory(&record.session.id).join(&record.machine.disk);
    record.machine.layers.iter().cloned().chain([top]).collect()
}

async fn layers_in(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    // A folder that is not there has none.
    let Ok(mut entries) = tokio::fs::read_dir(directory).await else { return files };
    while let Ok(Some(entry)) = entries.next_entry().await {
        if entry.path().extension().is_some_and(|extension| extension == "qcow2") {
            files.push(entry.path());
        }
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_a_layer_takes_is_what_was_written_to_it() {
        let folder = tempfile::tempdir().unwrap();
        let (sparse, full) = (folder.path().join("sparse"), folder.path().join("full"));
        std::fs::File::create(&sparse).and_then(|file| file.set_len(64 << 20)).unwrap();
        std::fs::write(&full, vec![1; 1 << 20]).unwrap();
        let bytes = on_disk(&[sparse, full, folder.path().join("none")]).await;
        assert!((1 << 20..4 << 20).contains(&bytes), "{bytes}");
    }
}
