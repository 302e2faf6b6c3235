//! What was pulled: a file for each digest, there whole or under another name. Before one is used, it is hashed again.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use hostd_core::image::{Blob, Digest};
use tokio::fs;

use super::{error::RegistryError, hash};

/// Most bytes that are kept, beside the image that was pulled last.
const KEPT_MAX: u64 = 8 << 30;
/// Extension of a file that is not whole yet.
const PART: &str = "part";

/// The folder of what was pulled.
#[derive(Clone, Debug)]
pub(super) struct Blobs {
    folder: PathBuf,
}

impl Blobs {
    pub(super) fn at(folder: PathBuf) -> Self {
        Self { folder }
    }

    pub(super) fn path(&self, digest: &Digest) -> PathBuf {
        self.folder.join(digest.hex())
    }

    /// Path of the file that it is as long as it is not whole.
    pub(super) fn part(&self, digest: &Digest) -> PathBuf {
        self.path(digest).with_extension(PART)
    }

    /// Whether it is here, and is what its name says; a file that is not is removed.
    pub(super) async fn has(&self, digest: &Digest) -> Result<bool, RegistryError> {
        let path = self.path(digest);
        let own = path.clone();
        let hashed = tokio::task::spawn_blocking(move || hash::of_file(&own).map(|(hash, _)| hash.digest())).await;
        match hashed.unwrap_or_else(|error| Err(std::io::Error::other(error))) {
            Ok(found) if found == *digest => {
                // Used now: what is used least goes first.
                let now = std::fs::File::open(&path).and_then(|file| file.set_modified(std::time::SystemTime::now()));
                now.map_err(RegistryError::at(path))?;
                Ok(true)
            }
            Ok(_) => {
                tracing::warn!(path = %path.display(), "a part of an image was damaged, and is fetched again");
                fs::remove_file(&path).await.map_err(RegistryError::at(path))?;
                Ok(false)
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(RegistryError::at(path)(error)),
        }
    }

    /// The bytes of a small one that is here; None: it is not, or is not what its name says.
    pub(super) async fn read(&self, digest: &Digest, most: u64) -> Result<Option<Vec<u8>>, RegistryError> {
        let path = self.path(digest);
        match fs::metadata(&path).await {
            Ok(is) if is.len() <= most && self.has(digest).await? => {}
            _ => return Ok(None),
        }
        let bytes = fs::read(&path).await.map_err(RegistryError::at(&path))?;
        Ok((hash::of(&bytes) == *digest).then_some(bytes))
    }

    /// Keeps a small one, whose digest is right.
    pub(super) async fn keep(&self, digest: &Digest, bytes: &[u8]) -> Result<(), RegistryError> {
        let part = self.part(digest);
        fs::write(&part, bytes).await.map_err(RegistryError::at(&part))?;
        self.publish(digest).await
    }

    /// Gives what is whole its name; it is on the disk then.
    pub(super) async fn publish(&self, digest: &Digest) -> Result<(), RegistryError> {
        fail::fail_point!("image::before-publish");
        let (part, path) = (self.part(digest), self.path(digest));
        let published = async {
            fs::File::open(&part).await?.sync_all().await?;
            fs::rename(&part, &path).await?;
            fs::File::open(&self.folder).await?.sync_all().await
        };
        published.await.map_err(RegistryError::at(&path))
    }

    /// Bytes that are free where it is kept.
    pub(super) async fn free(&self) -> Result<u64, RegistryError> {
        let folder = self.folder.clone();
        let free = tokio::task::spawn_blocking(move || rustix::fs::statvfs(&folder)).await;
        let free = free.unwrap_or(Err(rustix::io::Errno::IO));
        let free = free.map_err(|error| RegistryError::at(&self.folder)(error.into()))?;
        Ok(free.f_bavail.saturating_mul(free.f_frsize))
    }

    /// Removes the oldest beyond [`KEPT_MAX`], and what was never finished; none of these.
    pub(super) async fn prune(&self, latest: &[&Blob]) -> Result<(), RegistryError> {
        self.prune_to(latest, KEPT_MAX).await
    }

    pub(super) async fn prune_to(&self, latest: &[&Blob], most: u64) -> Result<(), RegistryError> {
        let latest: BTreeSet<PathBuf> =
            latest.iter().flat_map(|blob| [self.path(&blob.digest), self.part(&blob.digest)]).collect();
        let failed = || RegistryError::at(&self.folder);
        let mut entries = fs::read_dir(&self.folder).await.map_err(failed())?;
        let mut kept = vec![];
        while let Some(entry) = entries.next_entry().await.map_err(failed())? {
            let path = entry.path();
            let Ok(is) = entry.metadata().await else { continue };
            if latest.contains(&path) {
                continue;
            }
            if path.extension().is_some() {
                // One build is made at a time: nobody else is fetching.
                remove(&path).await?;
            } else {
                kept.push((is.modified().ok(), is.len(), path));
            }
        }
        kept.sort();
        let mut bytes = 0;
        for (_, length, path) in kept.into_iter().rev() {
            bytes += length;
            if bytes > most {
                remove(&path).await?;
            }
        }
        Ok(())
    }
}

async fn remove(path: &Path) -> Result<(), RegistryError> {
    match fs::remove_file(path).await {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(RegistryError::at(path)(error)),
        _ => Ok(()),
    }
}
