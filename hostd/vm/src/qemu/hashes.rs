//! Checksums of the files that snapshots depend on, each computed once for as long as the file stays the same.

use std::{
    collections::HashMap,
    fs::{self, File},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use crate::{VmError, file::failed};

/// State of a file: length, inode and time of the last change in nanoseconds.
type Stamp = (u64, u64, i64);

/// Checksums that were computed. Files are few: QEMU, kernels, initramfs.
#[derive(Debug, Default)]
pub(super) struct Cache(Mutex<HashMap<PathBuf, (Stamp, String)>>);

impl Cache {
    /// blake3 of the file, in hex; computed where it has changed.
    pub(super) fn of(&self, path: &Path) -> Result<String, VmError> {
        let metadata = fs::metadata(path).map_err(failed(path))?;
        let changed = metadata.mtime().wrapping_mul(1_000_000_000).wrapping_add(metadata.mtime_nsec());
        let stamp = (metadata.len(), metadata.ino(), changed);
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(path).cloned();
        if let Some((of, hash)) = known
            && of == stamp
        {
            return Ok(hash);
        }
        let mut hasher = blake3::Hasher::new();
        File::open(path).and_then(|file| hasher.update_reader(file).map(drop)).map_err(failed(path))?;
        let hash = hasher.finalize().to_hex().to_string();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_owned(), (stamp, hash.clone()));
        Ok(hash)
    }
}
