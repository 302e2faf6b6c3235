//! A layer's bytes, unpacked, and no more of them than are allowed.

use std::{
    fs::File,
    io::{self, BufReader, Read, Seek as _},
    path::Path,
};

use flate2::bufread::MultiGzDecoder;

use crate::{error::ImageError, read::read_full, watch::Watch};

/// Bytes that are read of a file at once.
const CHUNK: usize = 256 << 10;
/// Largest window of zstd, as a power of two: what its own command accepts without being told.
const WINDOW_LOG: u32 = 27;

/// What an image may ask for at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes of all layers together, unpacked.
    pub unpacked: u64,
    /// Names of files, all layers together.
    pub names: usize,
    /// Bytes of what is held of them in memory: names, links, attributes, pieces of files with holes.
    pub memory: usize,
}

impl Bounds {
    /// Bounds of an image for a disk of this size. What later layers hide counts too.
    #[must_use]
    pub fn for_disk(bytes: u64) -> Self {
        Self { unpacked: bytes.saturating_mul(4), names: 2_000_000, memory: 256 << 20 }
    }
}

/// How many bytes may still be unpacked; and who is told how many were read.
pub(crate) struct Meter<'a> {
    pub(crate) left: u64,
    pub(crate) read: u64,
    pub(crate) watch: &'a dyn Watch,
}

/// Opens a layer, which is a tar as it is, or packed by gzip or zstd: its first bytes tell.
pub(crate) fn open<'a>(path: &Path, meter: &'a mut Meter<'_>) -> Result<Box<dyn Read + 'a>, ImageError> {
    let failed = || ImageError::io(path.display().to_string());
    let mut file = File::open(path).map_err(failed())?;
    let mut magic = [0; 4];
    let length = read_full(&mut file, &mut magic).map_err(failed())?;
    file.rewind().map_err(failed())?;
    let Meter { left, read, watch } = meter;
    let counted = BufReader::with_capacity(CHUNK, Counted { file, read, watch: *watch });
    let unpacked: Box<dyn Read + 'a> = match &magic[..length] {
        [0x1f, 0x8b, ..] => Box::new(MultiGzDecoder::new(counted)),
        [0x28, 0xb5, 0x2f, 0xfd] | [0x50..=0x5f, 0x2a, 0x4d, 0x18] => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(counted).map_err(failed())?;
            decoder.window_log_max(WINDOW_LOG).map_err(failed())?;
            Box::new(decoder)
        }
        _ => Box::new(counted),
    };
    Ok(Box::new(Bounded { inner: unpacked, left }))
}

/// Tells how many bytes of files were read.
struct Counted<'a> {
    file: File,
    read: &'a mut u64,
    watch: &'a dyn Watch,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.watch.goes_on(*self.read) {
            return Err(io::Error::new(io::ErrorKind::ConnectionAborted, STOPPED));
        }
        let length = self.file.read(buffer)?;
        *self.read += length as u64;
        Ok(length)
    }
}

/// Text of the error where whoever watches wants no more.
const STOPPED: &str = "it was ended";
/// Text of the error where too much is unpacked.
const TOO_MUCH: &str = "its layers unpack to more than four times the environment's disk; raise `size.disk`";

struct Bounded<'a, R> {
    inner: R,
    left: &'a mut u64,
}

impl<R: Read> Read for Bounded<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        match self.left.checked_sub(length as u64) {
            Some(left) => *self.left = left,
            None => return Err(io::Error::new(io::ErrorKind::FileTooLarge, TOO_MUCH)),
        }
        Ok(length)
    }
}

/// The error of a layer that could not be read on.
pub(crate) fn unreadable(number: usize, error: &io::Error) -> ImageError {
    match error.kind() {
        io::ErrorKind::ConnectionAborted if error.to_string() == STOPPED => ImageError::Stopped,
        io::ErrorKind::FileTooLarge => ImageError::Bound(error.to_string()),
        _ => ImageError::Layer { number, why: format!("it cannot be unpacked: {error}") },
    }
}
