//! Small files of the data folder.

use std::{
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::UNIX_EPOCH,
};

use tokio::fs;

use super::types::EnvironmentError;

/// Converts an IO error on this path into an [`EnvironmentError::File`].
pub(super) fn at(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> EnvironmentError {
    let path = path.into();
    |error| EnvironmentError::File { path, error: Arc::new(error) }
}

/// Writes beside and renames: a reader sees the old file or the new one, whole even after a power cut.
pub(super) async fn write(path: &Path, bytes: &[u8]) -> Result<(), EnvironmentError> {
    let (target, bytes) = (path.to_owned(), bytes.to_vec());
    let written = tokio::task::spawn_blocking(move || {
        let mut fresh = tempfile::Builder::new().suffix(".new").tempfile_in(target.parent().unwrap_or(&target))?;
        fresh.write_all(&bytes)?;
        fresh.as_file().sync_all()?;
        fresh.persist(&target)?;
        Ok(())
    });
    written.await.unwrap_or_else(|error| Err(io::Error::other(error))).map_err(at(path))
}

/// Reads a text file; None: there is no such file.
pub(super) async fn read(path: &Path) -> Result<Option<String>, EnvironmentError> {
    match fs::read_to_string(path).await {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(at(path)(error)),
    }
}

/// Makes the folder if it is not there; returns its path.
pub(super) async fn folder(path: PathBuf) -> Result<PathBuf, EnvironmentError> {
    fs::create_dir_all(&path).await.map_err(at(&path))?;
    Ok(path)
}

/// Removes a file, or a folder with all that is in it; that nothing is there is no error.
pub(super) async fn remove(path: &Path) -> Result<(), EnvironmentError> {
    let removed = match fs::symlink_metadata(path).await {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path).await,
        Ok(_) => fs::remove_file(path).await,
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at(path)(error)),
        _ => Ok(()),
    }
}

/// Removes a folder that others may be looking for: it is gone whole before any part of it is.
pub(super) async fn withdraw(folder: &Path) -> Result<(), EnvironmentError> {
    let aside = folder.with_file_name(format!("new-gone-{}", folder.file_name().unwrap_or_default().to_string_lossy()));
    remove(&aside).await?;
    fs::rename(folder, &aside).await.map_err(at(folder))?;
    remove(&aside).await
}

/// Names in a folder; none where there is no folder.
pub(super) async fn names(path: &Path) -> Result<Vec<String>, EnvironmentError> {
    let mut entries = match fs::read_dir(path).await {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(vec![]),
        Err(error) => return Err(at(path)(error)),
    };
    let mut names = vec![];
    while let Some(entry) = entries.next_entry().await.map_err(at(path))? {
        names.extend(entry.file_name().into_string());
    }
    names.sort();
    Ok(names)
}

/// What is asked of a file here: its age and its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stat {
    /// When the file was last written, in nanoseconds since the Unix epoch.
    pub(super) stamp: u64,
    /// Bytes that the file takes on disk.
    pub(super) on_disk: u64,
}

/// Reads the stat of a file; None: there is no such file.
pub(super) async fn stat(path: &Path) -> Option<Stat> {
    use std::os::unix::fs::MetadataExt;
    let metadata = fs::metadata(path).await.ok().filter(std::fs::Metadata::is_file)?;
    let age = metadata.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some(Stat { stamp: u64::try_from(age.as_nanos()).ok()?, on_disk: metadata.blocks() * 512 })
}

/// Whether there is anything at this path.
pub(super) async fn exists(path: &Path) -> bool {
    fs::symlink_metadata(path).await.is_ok()
}

/// Bytes on disk of the files in a folder, those in its folders not counted.
pub(super) async fn on_disk(folder: &Path) -> Result<u64, EnvironmentError> {
    let mut bytes = 0;
    for name in names(folder).await? {
        bytes += stat(&folder.join(name)).await.map_or(0, |stat| stat.on_disk);
    }
    Ok(bytes)
}

/// Makes a finished image safe: on disk whole, and written by nobody any more.
pub(super) async fn freeze(path: &Path) -> Result<(), EnvironmentError> {
    use std::os::unix::fs::PermissionsExt;
    let frozen = async {
        fs::File::open(path).await?.sync_all().await?;
        fs::set_permissions(path, PermissionsExt::from_mode(0o444)).await
    };
    frozen.await.map_err(at(path))
}

/// Renames a file or folder; the new name survives a power cut.
pub(super) async fn publish(from: &Path, to: &Path) -> Result<(), EnvironmentError> {
    fs::rename(from, to).await.map_err(at(to))?;
    let Some(folder) = to.parent() else { return Ok(()) };
    let synced = async { fs::File::open(folder).await?.sync_all().await };
    synced.await.map_err(at(folder))
}
