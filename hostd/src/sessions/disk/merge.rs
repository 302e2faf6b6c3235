//! The layers of a session's disk. A suspend freezes one; two frozen ones of its own are merged into one, so that the chain
//! below a VM stays short: base, build, its own, and the layer that it writes to. One that runs is told of it, so that it
//! closes the files that were merged: forks freeze layers of a VM that runs on.
//!
//! A file is removed only when no session's record names it: forks share them.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
};

use super::{
    folder::{Folder, freeze, sessions},
    next_layer,
};
use crate::{
    admission::Admission,
    store::{Machine, Record},
    vm::Vmm,
};

/// Own frozen layers that are worth merging; for each checkpoint one more, which lies on the same files: merged, all of them would be
/// there twice for as long as the checkpoint is.
const SOME: usize = 2;

/// What is merged at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::sessions) struct Plan {
    /// The whole chain, bottom first.
    layers: Vec<PathBuf>,
    /// Where its sessions' layers begin; below are those of its environment.
    own: usize,
    /// From how many layers of its own on they are worth merging.
    worth: usize,
}

impl Plan {
    /// What is to be merged of a session of this data folder; None: nothing.
    pub(in crate::sessions) fn of(data: &Path, machine: &Machine) -> Option<Self> {
        let sessions = sessions(data);
        let own = machine.layers.iter().position(|layer| layer.starts_with(&sessions))?;
        let worth = SOME + machine.checkpoints.len();
        (machine.layers.len() - own >= worth).then(|| Self { layers: machine.layers.clone(), own, worth })
    }

    /// The layers that go into one.
    pub(in crate::sessions) fn merged(&self) -> &[PathBuf] {
        &self.layers[self.own..]
    }

    /// Whether these are more than one suspend adds to a chain that was merged.
    pub(in crate::sessions) fn is_behind(&self) -> bool {
        self.merged().len() > self.worth
    }

    /// How many layers lie below those.
    pub(in crate::sessions) fn below(&self) -> usize {
        self.own
    }

    /// Makes the file of this virtual size that stands for them; not yet named by any record. For a while they are there twice.
    pub(in crate::sessions) async fn carry_out(
        &self,
        vmm: &dyn Vmm,
        admission: &Admission,
        folder: &Folder,
        bytes: u64,
    ) -> Result<PathBuf, NotMerged> {
        fail::fail_point!("merge::no-room", |_| Err(NotMerged::NoRoom { needed: 1, free: 0 }));
        let (needed, free) = (on_disk(self.merged()).await, admission.room().disk());
        if needed > free {
            return Err(NotMerged::NoRoom { needed, free });
        }
        self.write(vmm, folder, bytes).await.map_err(NotMerged::Failed)
    }

    async fn write(&self, vmm: &dyn Vmm, folder: &Folder, bytes: u64) -> Result<PathBuf, String> {
        let to = folder.merged_layer();
        let merged = vmm.merge(&self.layers, self.own, &to, bytes).await;
        merged.map_err(|error| error.to_string())?;
        freeze(&to).await.map_err(|error| format!("{}: {error}", to.display()))?;
        Ok(to)
    }

    /// The machine with the file in their place; None where its chain has changed otherwise than on top.
    pub(in crate::sessions) fn apply(&self, machine: &Machine, file: PathBuf) -> Option<Machine> {
        let above = machine.layers.strip_prefix(self.layers.as_slice())?;
        let layers = [&self.layers[..self.own], &[file], above].concat();
        Some(Machine { layers, ..machine.clone() })
    }
}

/// Why layers stay as they are.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::sessions) enum NotMerged {
    /// The host's disk has too little room beyond its reserve, in bytes. It may have more another time.
    NoRoom {
        /// Bytes that the merged layer takes at most.
        needed: u64,
        /// Bytes that are free.
        free: u64,
    },
    /// It would go no better another time.
    Failed(String),
}

/// Bytes that these files take; one that cannot be looked at takes none.
pub(in crate::sessions) async fn on_disk(files: &[PathBuf]) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    let mut bytes = 0_u64;
    for file in files {
        bytes = bytes.saturating_add(tokio::fs::metadata(file).await.map_or(0, |stat| stat.blocks() * 512));
    }
    bytes
}

/// Removes those of these files that are not among the `named`.
pub(in crate::sessions) async fn remove(files: &[PathBuf], named: &HashSet<PathBuf>) {
    for file in files.iter().filter(|file| !named.contains(*file)) {
        if let Err(error) = tokio::fs::remove_file(file).await {
            tracing::warn!(?file, %error, "a layer that was merged is left behind");
        }
    }
}

/// Removes from the folders of these sessions what a hostd that died there left: layers that no record names.
/// No VM of the `swept` may run.
pub(in crate::sessions) async fn sweep(data: &Path, records: &[Record], swept: impl Fn(&Record) -> bool) {
    let known: HashSet<PathBuf> = records.iter().flat_map(|record| named(data, record)).collect();
    for record in records.iter().filter(|record| swept(record)) {
        let folder = Folder::of(data, &record.session.id);
        for file in folder.layers().await {
            if next_layer::is_ready(&file, &folder, record.session.size.disk) {
                continue;
            }
            if !known.contains(&file) && tokio::fs::remove_file(&file).await.is_ok() {
                tracing::info!(slug = record.session.slug, ?file, "removed a layer that was never used");
            }
        }
    }
}

/// Every layer that a record names.
pub(in crate::sessions) fn named(data: &Path, record: &Record) -> Vec<PathBuf> {
    let top = Folder::of(data, &record.session.id).layer(&record.machine.disk);
    record.machine.layers.iter().cloned().chain([top]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Checkpoint;

    #[test]
    fn a_chain_with_a_checkpoint_is_behind_from_one_layer_more_on() {
        let data = Path::new("/data");
        let plan = |layers: usize, checkpoints: u64| {
            let checkpoint = |number| Checkpoint { number, at: 0, bytes: 1, automatic: true, stood: 0, needs: vec![] };
            let own = (0..layers).map(|layer| Folder::of(data, "s").layer(&format!("disk-{layer}.qcow2")));
            let layers = std::iter::once(PathBuf::from("/base.ext4")).chain(own).collect();
            let checkpoints = (1..=checkpoints).map(checkpoint).collect();
            let plan = Plan::of(data, &Machine { layers, checkpoints, ..Machine::default() });
            plan.map(|plan| plan.is_behind())
        };
        assert_eq!([1, 2, 3].map(|layers| plan(layers, 0)), [None, Some(false), Some(true)]);
        assert_eq!([2, 3, 4].map(|layers| plan(layers, 1)), [None, Some(false), Some(true)]);
    }

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
