//! A terminal's files: its output as it came (`terminal.log`, and `terminal.log.1` before it), and its size.

use std::{
    fs,
    io::{self, Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
};

use tokio::io::AsyncWriteExt as _;

use super::size::Size;

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
    bytes: u64,
}

impl Log {
    pub(super) async fn open(directory: &Path) -> io::Result<Self> {
        let [_, newest] = log_files(directory);
        let file = tokio::fs::OpenOptions::new().create(true).append(true).open(newest).await?;
        let bytes = file.metadata().await?.len();
        Ok(Self { directory: directory.into(), file, bytes })
    }

    pub(super) async fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.bytes >= FILE_MAX {
            let [older, newest] = log_files(&self.directory);
            tokio::fs::rename(newest, older).await?;
            *self = Self::open(&self.directory).await?;
        }
        self.file.write_all(bytes).await?;
        self.file.flush().await?;
        self.bytes += bytes.len() as u64;
        Ok(())
    }
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
