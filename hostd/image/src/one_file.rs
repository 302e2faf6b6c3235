//! One file of an archive, without the rest of it.

use std::path::Path;

use crate::{
    archive::{Archive, Bad, Kind},
    error::ImageError,
    layer::{Meter, open, unreadable},
    watch::Watch,
};

/// Nobody watches: what is read here is short.
struct Unwatched;

impl Watch for Unwatched {
    fn goes_on(&self, _read: u64) -> bool {
        true
    }

    fn is_ended(&self) -> bool {
        false
    }
}

/// Reads a file at the top of an archive, which is a tar as it is, or packed by gzip or zstd; None: it has none of this name.
/// All of the archive is read up to there: no more than `unpacked` bytes of it, of which the file has `most` at most.
///
/// # Errors
/// [`ImageError`] where it is no archive, or longer than that.
pub fn one_file(archive: &Path, name: &str, unpacked: u64, most: usize) -> Result<Option<Vec<u8>>, ImageError> {
    let mut meter = Meter { left: unpacked, read: 0, watch: &Unwatched };
    let failed = |bad| match bad {
        Bad::Said(why) => ImageError::Layer { number: 1, why },
        Bad::Read(error) if error.kind() == std::io::ErrorKind::FileTooLarge => {
            ImageError::Bound(format!("it unpacks to more than {unpacked} bytes"))
        }
        Bad::Read(error) => unreadable(1, &error),
    };
    let mut entries = Archive::new(open(archive, &mut meter)?);
    while let Some(entry) = entries.next().map_err(failed)? {
        if entry.kind != Kind::File || entry.path.len() != 1 || entry.path[0] != name.as_bytes() {
            continue;
        }
        if entry.size > most as u64 {
            return Err(ImageError::Bound(format!("{name} has {} bytes; at most {most} are read", entry.size)));
        }
        let (mut text, mut buffer) = (vec![], [0; 16 << 10]);
        loop {
            match entries.read(&mut buffer).map_err(failed)? {
                0 => return Ok(Some(text)),
                length => text.extend_from_slice(&buffer[..length]),
            }
        }
    }
    Ok(None)
}
