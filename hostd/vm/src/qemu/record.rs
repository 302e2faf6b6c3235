//! `vm.json` in a VM's folder: how a later hostd finds the process again.

use std::{fs, io, path::Path};

use serde::{Deserialize, Serialize};

use crate::{file, identity::ProcessIdentity};

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
}

impl Record {
    pub(super) fn new(process: ProcessIdentity, argv: Vec<String>) -> Self {
        Self { version: 1, process, argv }
    }

    pub(super) fn write(&self, folder: &Path) -> io::Result<()> {
        file::write_atomically(&folder.join(NAME), &serde_json::to_vec_pretty(self)?)
    }

    /// Reads the folder's record; None where there is none, or where it makes no sense.
    pub(super) fn read(folder: &Path) -> Option<Self> {
        let path = folder.join(NAME);
        let read = file::read_bounded(&path, MAX).and_then(|bytes| Ok(serde_json::from_slice::<Self>(&bytes)?));
        match read {
            Ok(record) if record.version == 1 => Some(record),
            Ok(record) => {
                tracing::warn!(?path, version = record.version, "a VM's record has an unknown version");
                None
            }
            Err(error) => {
                if error.kind() != io::ErrorKind::NotFound {
                    tracing::warn!(?path, %error, "a VM's record cannot be read");
                }
                None
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
        let record = Record::new(process, vec!["qemu".into(), "-S".into()]);
        record.write(folder.path()).unwrap();
        assert_eq!(Record::read(folder.path()), Some(record.clone()));
        Record { version: 2, ..record }.write(folder.path()).unwrap();
        assert_eq!(Record::read(folder.path()), None);
        Record::remove(folder.path());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
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
