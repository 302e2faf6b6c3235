//! Small files, written whole or not at all.

use std::{
    fs, io,
    io::{Read, Seek, Write},
    path::{Path, PathBuf},
};

use super::VmError;

/// Converts an IO error on this path into a [`VmError::File`].
pub(super) fn failed(path: &Path) -> impl FnOnce(io::Error) -> VmError + use<> {
    let path = path.to_owned();
    move |error| VmError::File { path, error }
}

/// The path made absolute, since QEMU runs in another folder. One that cannot be made so fails where it is used.
pub(super) fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// Writes beside `path` and renames: a reader sees the old file or the new one. Not synced: for what is worth nothing after a
/// power cut.
pub(super) fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write(path, bytes, |_| Ok(()))
}

/// Writes as [`write_atomically`], whole even after a power cut.
pub(super) fn write_durably(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write(path, bytes, fs::File::sync_all)
}

fn write(path: &Path, bytes: &[u8], sync: fn(&fs::File) -> io::Result<()>) -> io::Result<()> {
    let mut beside = tempfile::Builder::new().suffix(".tmp").tempfile_in(path.parent().unwrap_or(path))?;
    beside.write_all(bytes)?;
    sync(beside.as_file())?;
    beside.persist(path)?;
    Ok(())
}

/// Reads a file of at most `max` bytes; an error where it has more.
pub(super) fn read_bounded(path: &Path, max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("has more than {max} bytes")));
    }
    Ok(bytes)
}

/// Reads the last bytes of a file, at most `max`.
pub(super) fn read_end(path: &Path, max: u64) -> io::Result<Vec<u8>> {
    let mut file = fs::File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(io::SeekFrom::Start(length.saturating_sub(max)))?;
    let mut bytes = Vec::new();
    file.take(max).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_whole_files_and_reads_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        write_atomically(&path, b"one").unwrap();
        write_durably(&path, b"two").unwrap();
        assert_eq!(read_bounded(&path, 3).unwrap(), b"two");
        assert_eq!((read_end(&path, 2).unwrap(), read_end(&path, 9).unwrap()), (b"wo".to_vec(), b"two".to_vec()));
        assert_eq!(read_bounded(&path, 2).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        assert!(write_atomically(&folder.path().join("no/a"), b"x").is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
