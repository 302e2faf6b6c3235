//! A terminal's files: its output as it came (`terminal.log`, and `terminal.log.1` before it), its size, and where the agent's
//! output stands in the log (`terminal.offset`): from that and the log's length the next hostd knows which byte it wants next,
//! whenever this one dies.

use std::{
    fs,
    io::{self, Read as _, Seek as _, SeekFrom},
    os::unix::fs::{FileExt as _, MetadataExt as _},
    path::{Path, PathBuf},
};

use tokio::io::AsyncWriteExt as _;

use super::size::Size;

/// Longest text of a place, in bytes.
const PLACE: u64 = 64;
/// Largest size of one of the log's files, in bytes; there are two at most.
const FILE_MAX: u64 = 8 << 20;
/// Most bytes of the log that are drawn again after a restart of hostd.
const REPLAY_MAX: u64 = 1 << 20;

/// Paths of the log's files that may exist, older first.
#[must_use]
pub fn log_files(directory: &Path) -> [PathBuf; 2] {
    [directory.join("terminal.log.1"), directory.join("terminal.log")]
}

/// The log of a terminal, open for appending.
pub(super) struct Log {
    directory: PathBuf,
    file: tokio::fs::File,
    inode: u64,
    bytes: u64,
    /// Offset in the agent's output of what comes next, as the next hostd would take it; None: it would take it wrongly.
    next: Option<u64>,
}

/// A place in the agent's output, and in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    /// Of the log's file.
    inode: u64,
    /// Bytes of that file that were there before the place.
    position: u64,
    /// Offset in the agent's output.
    offset: u64,
}

impl Place {
    /// Writes it over the one before: as long as any, so that a full disk has room for it.
    fn write(self, path: &Path) -> io::Result<()> {
        let Self { inode, position, offset } = self;
        let file = fs::File::options().create(true).truncate(false).write(true).open(path)?;
        file.write_all_at(format!("{inode:020} {position:020} {offset:020}\n").as_bytes(), 0)
    }

    fn read(path: &Path) -> Option<Self> {
        let mut text = String::new();
        fs::File::open(path).ok()?.take(PLACE).read_to_string(&mut text).ok()?;
        let mut numbers = text.split_whitespace().map(|number| number.parse().ok());
        Some(Self { inode: numbers.next()??, position: numbers.next()??, offset: numbers.next()?? })
    }
}

impl Log {
    pub(super) async fn open(directory: &Path) -> io::Result<Self> {
        let [_, newest] = log_files(directory);
        let file = tokio::fs::OpenOptions::new().create(true).append(true).open(newest).await?;
        let metadata = file.metadata().await?;
        let (inode, bytes) = (metadata.ino(), metadata.len());
        Ok(Self { directory: directory.into(), file, inode, bytes, next: None })
    }

    /// Appends output of the agent that begins at `offset`.
    pub(super) async fn append(&mut self, offset: u64, output: &[u8]) -> io::Result<()> {
        if output.is_empty() {
            return Ok(());
        }
        self.make_room().await?;
        if self.next != Some(offset) {
            self.goes_on_at(offset).await;
        }
        self.write(output).await?;
        // Where its place was not noted, it is before what comes next.
        self.next = self.next.map(|_| offset + output.len() as u64);
        Ok(())
    }

    /// Appends what is not the agent's output.
    pub(super) async fn append_own(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.make_room().await?;
        self.next = None;
        self.write(bytes).await
    }

    /// Puts a file aside that is as large as may be.
    async fn make_room(&mut self) -> io::Result<()> {
        if self.bytes >= FILE_MAX {
            let [older, newest] = log_files(&self.directory);
            tokio::fs::rename(newest, older).await?;
            *self = Self::open(&self.directory).await?;
        }
        Ok(())
    }

    /// Notes that the agent's output goes on at `offset`.
    pub(super) async fn goes_on_at(&mut self, offset: u64) {
        let (path, place) = (place_file(&self.directory), Place { inode: self.inode, position: self.bytes, offset });
        let written = tokio::task::spawn_blocking(move || place.write(&path)).await.map_err(io::Error::other);
        self.next = match written.flatten() {
            Ok(()) => Some(offset),
            Err(error) => {
                tracing::warn!(directory = ?self.directory, %error, "where the terminal's output stands in its log is not kept");
                None
            }
        };
    }

    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let written = async {
            self.file.write_all(bytes).await?;
            self.file.flush().await
        };
        if let Err(error) = written.await {
            // How much of it is there nobody says.
            self.next = None;
            self.bytes = self.file.metadata().await.map_or(self.bytes, |metadata| metadata.len());
            return Err(error);
        }
        self.bytes += bytes.len() as u64;
        Ok(())
    }
}

/// Offset of the next byte of the agent's output that the log has not; None: nobody kept that. Blocks.
pub(super) fn offset(directory: &Path) -> Option<u64> {
    let place = Place::read(&place_file(directory))?;
    let size = |path: &Path| fs::metadata(path).map(|metadata| (metadata.ino(), metadata.len())).ok();
    // The log may have been put aside since, and hostd have died before it noted a place in the new one.
    let mut files = log_files(directory).into_iter().rev().filter_map(|path| size(&path));
    let (_, length) = files.find(|(inode, _)| *inode == place.inode)?;
    place.offset.checked_add(length.checked_sub(place.position)?)
}

fn place_file(directory: &Path) -> PathBuf {
    directory.join("terminal.offset")
}

/// Reads the end of what was logged, from a line's begin on. Blocks.
pub(super) fn replay(directory: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    for path in log_files(directory).into_iter().rev() {
        let left = REPLAY_MAX.saturating_sub(bytes.len() as u64);
        let Ok(mut older) = tail(&path, left) else { continue };
        older.append(&mut bytes);
        bytes = older;
    }
    if bytes.len() as u64 >= REPLAY_MAX {
        let line = bytes.iter().position(|&b| b == b'\n').map_or(0, |n| n + 1);
        bytes.drain(..line);
    }
    bytes
}

/// Gives a folder the terminal of another as it was last: what is drawn again after a restart, and its size.
///
/// # Errors
/// Where it cannot be written.
pub async fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let (from, to) = (from.to_owned(), to.to_owned());
    let copied = tokio::task::spawn_blocking(move || {
        let [_, log] = log_files(&to);
        fs::write(log, replay(&from))?;
        match fs::copy(size_file(&from), size_file(&to)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    });
    copied.await.map_err(io::Error::other)?
}

fn tail(path: &Path, max: u64) -> io::Result<Vec<u8>> {
    let mut file = fs::File::open(path)?;
    let from = file.metadata()?.len().saturating_sub(max);
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.take(max).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Reads the size that the terminal had last. Blocks.
pub(super) fn load_size(directory: &Path) -> Option<Size> {
    let size: Size = serde_json::from_slice(&fs::read(size_file(directory)).ok()?).ok()?;
    Some(Size::clamped(size.columns.into(), size.rows.into()))
}

/// Keeps the size for [`load_size`]. Only the look of the past depends on it, so that an error goes to the log alone.
pub(super) async fn save_size(directory: &Path, size: Size) {
    let Ok(json) = serde_json::to_vec(&size) else { return };
    if let Err(error) = tokio::fs::write(size_file(directory), json).await {
        tracing::debug!(%error, "the terminal's size was not kept");
    }
}

fn size_file(directory: &Path) -> PathBuf {
    directory.join("terminal.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What another hostd would want next if this one died now.
    fn wants(folder: &tempfile::TempDir) -> Option<u64> {
        offset(folder.path())
    }

    #[tokio::test]
    async fn the_next_byte_is_known_whenever_hostd_dies() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(wants(&folder), None);
        let mut log = Log::open(folder.path()).await.unwrap();
        log.append_own(b"afresh").await.unwrap();
        log.goes_on_at(0).await;
        assert_eq!(wants(&folder), Some(0));
        log.append(0, b"abc").await.unwrap();
        log.append(3, b"de").await.unwrap();
        log.append(5, b"").await.unwrap();
        assert_eq!(wants(&folder), Some(5));
        // Some of it was lost.
        log.append(100, b"f").await.unwrap();
        assert_eq!(wants(&folder), Some(101));
        // It died in the middle of a write.
        let [_, newest] = log_files(folder.path());
        let mut file = fs::File::options().append(true).open(&newest).unwrap();
        io::Write::write_all(&mut file, b"gh").unwrap();
        assert_eq!(wants(&folder), Some(103));
        // The next one goes on, and so does the session after a suspend.
        let mut log = Log::open(folder.path()).await.unwrap();
        log.goes_on_at(103).await;
        log.append(103, b"i").await.unwrap();
        assert_eq!(wants(&folder), Some(104));
        assert_eq!(fs::read(&newest).unwrap(), b"afreshabcdefghi");
    }

    #[tokio::test]
    async fn a_place_that_could_not_be_noted_is_with_the_next_output() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = Log::open(folder.path()).await.unwrap();
        fs::create_dir(place_file(folder.path())).unwrap();
        log.append(40, b"abc").await.unwrap();
        fs::remove_dir(place_file(folder.path())).unwrap();
        log.append(43, b"de").await.unwrap();
        assert_eq!(wants(&folder), Some(45));
    }

    #[tokio::test]
    async fn a_log_that_is_put_aside_keeps_the_place() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = Log::open(folder.path()).await.unwrap();
        log.append(7, &vec![b'x'; usize::try_from(FILE_MAX).unwrap()]).await.unwrap();
        assert_eq!(wants(&folder), Some(7 + FILE_MAX));
        let [older, newest] = log_files(folder.path());
        fs::rename(&newest, &older).unwrap();
        assert_eq!(wants(&folder), Some(7 + FILE_MAX), "it died there");
        fs::rename(&older, &newest).unwrap();
        log.append(7 + FILE_MAX, b"y").await.unwrap();
        assert_eq!((wants(&folder), fs::read(&newest).unwrap()), (Some(8 + FILE_MAX), b"y".to_vec()));
        for garbage in ["", "1 2", "x y z", "1 99999999999999999999 1", "\u{0}"] {
            fs::write(place_file(folder.path()), garbage).unwrap();
            assert_eq!(wants(&folder), None, "{garbage:?}");
        }
    }
}
