//! Room that is kept aside on the disk of the data folder, for what must always be possible: keeping what happened to sessions,
//! deleting them, and a start of hostd. A file takes it, and gives it up piece by piece when the disk is full.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rustix::fs::{FallocateFlags, fallocate};

use crate::disk::{GO_ON, measure};

/// Name of the ballast's file in the data folder.
const NAME: &str = "ballast";
/// Size of the ballast in bytes; an eighth of the disk where that is less.
const SIZE: u64 = 32 << 20;
/// Bytes that must be free for one use: a transaction writes some pages.
const ONE_USE: u64 = 256 << 10;
/// Bytes that are given up at a time, for several uses.
const STEP: u64 = 1 << 20;
/// Bytes that hostd needs to start: its sockets, the store's log and index, what its parts write.
const START: u64 = 4 << 20;

/// The ballast of a data folder. Clones share it.
#[derive(Clone, Debug)]
pub struct Ballast(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    folder: PathBuf,
    /// Held while the file is changed.
    changing: Mutex<()>,
}

impl Ballast {
    /// The ballast of this data folder. No file is touched yet.
    #[must_use]
    pub fn of(folder: &Path) -> Self {
        Self(Arc::new(Inner { folder: folder.into(), changing: Mutex::new(()) }))
    }

    /// Makes the room that hostd needs to start, where the disk is full.
    pub fn make_room_to_start(&self) {
        self.make(START, 0);
    }

    /// Gives up one step where the disk is full, so that a little can be written now, but never the last step, which is kept for a
    /// start of hostd. Only reads what is free otherwise; cheap.
    pub fn make_room(&self) {
        self.make(ONE_USE, STEP);
    }

    /// Whether there is room for one use.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.free() >= ONE_USE
    }

    /// Whether the disk has more room than a VM that stands still for want of it waits for.
    #[must_use]
    pub fn is_roomy(&self) -> bool {
        self.free() >= GO_ON
    }

    /// Takes the ballast's room again, step by step as the disk has more than a VM that stands still waits for.
    pub fn restore(&self) {
        let _one_at_a_time = self.lock();
        let Some(disk) = measure(&self.0.folder) else { return };
        let (size, held) = (SIZE.min(disk.total / 8), self.held());
        let now = size.min(held + disk.available.saturating_sub(GO_ON) / STEP * STEP);
        if now <= held {
            return;
        }
        match self.take(held, now) {
            Ok(()) if held > 0 => tracing::info!(bytes = now, "room is kept aside on the disk again"),
            Ok(()) => {}
            Err(error) => {
                tracing::warn!(%error, "no more room is kept aside on the disk");
                // What the file is longer by may take no room.
                if let Err(error) = self.cut(held) {
                    tracing::error!(%error, "what is kept aside on the disk is less than its file says");
                }
            }
        }
    }

    fn free(&self) -> u64 {
        measure(&self.0.folder).map_or(u64::MAX, |disk| disk.available)
    }

    fn cut(&self, bytes: u64) -> io::Result<()> {
        File::options().write(true).open(self.path())?.set_len(bytes)
    }

    /// Gives up until `wanted` bytes are free or `kept` are left.
    fn make(&self, wanted: u64, kept: u64) {
        if self.free() >= wanted {
            return;
        }
        let _one_at_a_time = self.lock();
        while self.free() < wanted {
            let held = self.held();
            if held <= kept {
                return;
            }
            let left = held.saturating_sub(STEP);
            tracing::warn!(
                left,
                "the disk is full, and some of what is kept aside is given up; delete sessions or other files"
            );
            if let Err(error) = self.cut(left) {
                tracing::error!(%error, "what is kept aside on the disk cannot be given up");
                return;
            }
        }
    }

    /// Makes the file longer by room on the disk.
    fn take(&self, held: u64, size: u64) -> io::Result<()> {
        let file = File::options().create(true).truncate(false).write(true).open(self.path())?;
        match fallocate(&file, FallocateFlags::empty(), held, size - held) {
            Ok(()) => Ok(()),
            // Then it is written. Not with zeros: some file systems keep none of those.
            Err(rustix::io::Errno::OPNOTSUPP) => fill(&file, held, size),
            Err(error) => Err(error.into()),
        }
    }

    fn held(&self) -> u64 {
        std::fs::metadata(self.path()).map_or(0, |metadata| metadata.len())
    }

    fn path(&self) -> PathBuf {
        self.0.folder.join(NAME)
    }

    fn lock(&self) -> MutexGuard<'_, ()> {
        self.0.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn fill(mut file: &File, held: u64, size: u64) -> io::Result<()> {
    use std::io::{Seek as _, Write as _};
    file.seek(io::SeekFrom::Start(held))?;
    let piece = [0xa5; 64 << 10];
    let mut left = size - held;
    while left > 0 {
        let now = left.min(piece.len() as u64);
        file.write_all(&piece[..usize::try_from(now).unwrap_or(piece.len())])?;
        left -= now;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_its_room_once_and_gives_it_up_piece_by_piece() {
        let folder = tempfile::tempdir().unwrap();
        let ballast = Ballast::of(folder.path());
        ballast.make_room();
        assert_eq!(ballast.held(), 0);
        ballast.restore();
        let size = ballast.held();
        assert_eq!(size, SIZE.min(measure(folder.path()).unwrap().total / 8));
        use std::os::unix::fs::MetadataExt as _;
        assert!(std::fs::metadata(ballast.path()).unwrap().blocks() * 512 >= size, "it takes no room");
        // The disk has room.
        ballast.make_room_to_start();
        assert_eq!(ballast.held(), size);
        ballast.make(u64::MAX, STEP);
        assert_eq!(ballast.held(), STEP, "a start has the last piece");
        ballast.make(u64::MAX, 0);
        assert_eq!(ballast.held(), 0);
        ballast.restore();
        assert_eq!(ballast.held(), size);
        File::options().write(true).open(ballast.path()).unwrap().set_len(50_000).unwrap();
        fill(&File::options().write(true).open(ballast.path()).unwrap(), 50_000, 200_000).unwrap();
        assert_eq!(ballast.held(), 200_000);
    }
}
