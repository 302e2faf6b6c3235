//! Folders of self-tests: each locked as long as its test runs, so that what a killed one left can be told and cleared away.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, flock};
use tempfile::TempDir;

use crate::{guest_vm::end_orphan, vm::qemu::Qemu};

const PREFIX: &str = "selftest-";
const LOCK: &str = "lock";

/// A folder of a self-test, locked and removed with this.
#[derive(Debug)]
pub(super) struct Place {
    folder: TempDir,
    _lock: File,
}

impl Place {
    pub(super) fn make(data: &Path) -> io::Result<Self> {
        let folder = tempfile::Builder::new().prefix(PREFIX).tempdir_in(data)?;
        let lock = File::create(folder.path().join(LOCK))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Self { folder, _lock: lock })
    }

    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// Ends and removes what killed tests left.
pub(super) async fn sweep(data: &Path, qemu: &Qemu) {
    for folder in folders(data) {
        let Ok(lock) = File::open(folder.join(LOCK)) else { continue };
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            continue;
        }
        end_all(&folder, qemu).await;
        if let Err(error) = fs::remove_dir_all(&folder) {
            tracing::warn!(folder = %folder.display(), %error, "an earlier self-test's folder cannot be removed");
        }
    }
}

/// Ends the VMs of a test's folder that run without an owner.
pub(super) async fn end_all(folder: &Path, qemu: &Qemu) {
    for vm in subfolders(folder) {
        end_orphan(qemu, &vm, "a VM of a self-test").await;
    }
}

fn folders(data: &Path) -> Vec<PathBuf> {
    let is_ours =
        |path: &PathBuf| path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(PREFIX.as_bytes()));
    subfolders(data).into_iter().filter(is_ours).collect()
}

fn subfolders(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.filter(|path| path.is_dir()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_a_killed_test_left_is_swept_and_no_other() {
        let data = tempfile::tempdir().unwrap();
        let qemu = Qemu::new(data.path(), "/nonexistent".into());
        let running = Place::make(data.path()).unwrap();
        let Place { folder, _lock } = Place::make(data.path()).unwrap();
        let left = folder.keep();
        drop(_lock);
        fs::create_dir(left.join("vm")).unwrap();
        fs::create_dir(data.path().join("sessions")).unwrap();
        sweep(data.path(), &qemu).await;
        assert!(!left.exists());
        assert!(running.path().exists() && data.path().join("sessions").exists());
        drop(running);
        assert_eq!(fs::read_dir(data.path()).unwrap().count(), 1);
    }
}
