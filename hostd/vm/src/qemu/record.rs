//! `vm.json` in a VM's folder: how a later hostd finds the process again, and all that it needs to take the VM over.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use hostd_core::requirements::Requirements;
use serde::{Deserialize, Serialize};

use super::disk::Disk;
use crate::{Memory, file, identity::ProcessIdentity};

const NAME: &str = "vm.json";
/// Largest record that is read, in bytes: it is some KiB.
const MAX: u64 = 1 << 20;

/// Record of a QEMU that was started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// Version of the record's format: 1.
    pub(super) version: u32,
    pub(super) process: ProcessIdentity,
    /// The program and its arguments, for people.
    pub(super) argv: Vec<String>,
    /// File of the program, as the kernel names it; None: an earlier version of hostd did not look.
    #[serde(default)]
    pub(super) executable: Option<PathBuf>,
    /// The VM as it runs; None: it does not run yet, or an earlier version of hostd has started it.
    #[serde(default)]
    pub(super) machine: Option<Kept>,
}

/// What is kept of a VM from before it runs until it is gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Kept {
    /// Address of the guest's first byte of RAM in the process.
    pub(super) base: u64,
    /// Size of the guest's RAM in bytes.
    pub(super) ram: u64,
    /// Memory that the VM runs on.
    pub(super) memory: Memory,
    /// What a snapshot of the VM depends on.
    pub(super) requirements: Requirements,
    /// Nodes of its disk.
    pub(super) nodes: Disk,
    /// Path of the layer that it writes to.
    pub(super) top: PathBuf,
    /// What is about to become of its disk; None: nothing.
    #[serde(default)]
    pub(super) change: Option<Change>,
    /// Whether it came from a snapshot: it did not boot.
    pub(super) from_snapshot: bool,
}

/// A change of a disk that QEMU was told to make, or is about to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Change {
    /// A new top of this path.
    Pivot(PathBuf),
    /// One layer in place of several.
    Rebase,
}

impl Record {
    pub(super) fn new(process: ProcessIdentity, argv: Vec<String>) -> Self {
        let executable = process.executable().ok();
        Self { version: 1, process, argv, executable, machine: None }
    }

    pub(super) fn write(&self, folder: &Path) -> io::Result<()> {
        file::write_atomically(&folder.join(NAME), &serde_json::to_vec_pretty(self)?)
    }

    /// Reads the folder's record; None where there is none, or where it makes no sense, or cannot be read.
    pub(super) fn read(folder: &Path) -> Option<Self> {
        Self::load(folder).unwrap_or_else(|error| {
            tracing::warn!(?folder, %error, "a VM's record cannot be read");
            None
        })
    }

    /// Reads the folder's record; None where there is none, or where it makes no sense.
    ///
    /// # Errors
    /// It cannot be read now.
    pub(super) fn load(folder: &Path) -> io::Result<Option<Self>> {
        let path = folder.join(NAME);
        let bytes = match file::read_bounded(&path, MAX) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {
                tracing::warn!(?path, %error, "a VM's record is none");
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        match serde_json::from_slice::<Self>(&bytes) {
            Ok(record) if record.version == 1 => Ok(Some(record)),
            Ok(record) => {
                tracing::warn!(?path, version = record.version, "a VM's record has an unknown version");
                Ok(None)
            }
            Err(error) => {
                tracing::warn!(?path, %error, "a VM's record makes no sense");
                Ok(None)
            }
        }
    }

    pub(super) fn remove(folder: &Path) {
        // A record that stays behind names a process that is gone: it does no harm.
        let _ = fs::remove_file(folder.join(NAME));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comes_back_as_written() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Record::read(folder.path()), None);
        let process = ProcessIdentity::of(std::process::id()).unwrap();
        let mut record = Record::new(process, vec!["qemu".into(), "-S".into()]);
        record.machine = Some(Kept {
            base: 1 << 40,
            ram: 64 << 20,
            memory: Memory::Clone("/builds/a/template".into()),
            requirements: Requirements::default(),
            nodes: Disk::new(2),
            top: "/sessions/a/disk.qcow2".into(),
            change: Some(Change::Pivot("/sessions/a/disk-1-b.qcow2".into())),
            from_snapshot: true,
        });
        record.write(folder.path()).unwrap();
        assert_eq!(Record::read(folder.path()), Some(record.clone()));
        Record { version: 2, ..record }.write(folder.path()).unwrap();
        assert_eq!(Record::read(folder.path()), None);
        Record::remove(folder.path());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_record_of_before_vms_were_taken_over_says_who_it_is_alone() {
        let folder = tempfile::tempdir().unwrap();
        let process = ProcessIdentity::of(std::process::id()).unwrap();
        let old = serde_json::json!({"version": 1, "process": process, "argv": ["qemu"]});
        fs::write(folder.path().join(NAME), old.to_string()).unwrap();
        let record = Record::read(folder.path()).unwrap();
        assert_eq!((record.process, record.executable, record.machine), (process, None, None));
    }

    #[test]
    fn garbage_is_no_record() {
        let folder = tempfile::tempdir().unwrap();
        let huge = "[".repeat(2 << 20);
        for garbage in ["", "{", "[]", "{\"version\":1}", "{\"version\":1,\"process\":{\"pid\":-1}}", "\u{0}", &huge] {
            fs::write(folder.path().join(NAME), garbage).unwrap();
            assert_eq!(Record::read(folder.path()), None);
        }
    }
}
