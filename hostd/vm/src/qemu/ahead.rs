//! A template's RAM, read into the page cache before its guest runs. Under KVM it has to be there: a guest that reads a page
//! which is not gets it from the kernel as one that is about to be written, and so as a copy of its own.

use std::{
    ffi::c_void,
    fs::File,
    io,
    num::NonZeroU64,
    os::{
        fd::{AsFd, AsRawFd},
        unix::fs::FileExt,
    },
    path::Path,
};

use rustix::fs::{Advice, SeekFrom, fadvise, seek};

use crate::snapshot::delta::PAGE;

/// Bytes that are read at a time.
const PIECE: u64 = 1 << 20;

/// Reads what the file has and the page cache has not; holes are nothing to read. Returns the number of bytes that were read.
pub(super) fn read(path: &Path) -> io::Result<u64> {
    let file = File::open(path)?;
    let absent = absent(&file)?;
    for &(at, length) in &absent {
        // All of it is on its way before the first is waited for; a kernel that does not want to is none the worse.
        let _ = fadvise(&file, at, NonZeroU64::new(length), Advice::WillNeed);
    }
    let mut buffer = vec![0; PIECE as usize];
    for &(at, length) in &absent {
        let mut done = 0;
        while done < length {
            let piece = (length - done).min(PIECE) as usize;
            let read = file.read_at(&mut buffer[..piece], at + done)?;
            if read == 0 {
                break;
            }
            done += read as u64;
        }
    }
    Ok(absent.iter().map(|(_, length)| length).sum())
}

/// Parts of the file's data that are not in the page cache: offset and length of each, in bytes.
fn absent(file: &File) -> io::Result<Vec<(u64, u64)>> {
    let cached = cached(file)?;
    let mut absent: Vec<(u64, u64)> = Vec::new();
    for (from, end) in data(file)? {
        for page in from / PAGE..end.div_ceil(PAGE) {
            if cached.get(page as usize).is_none_or(|state| state & 1 == 1) {
                continue;
            }
            match absent.last_mut() {
                Some((at, length)) if *at + *length == page * PAGE => *length += PAGE,
                _ => absent.push((page * PAGE, PAGE)),
            }
        }
    }
    Ok(absent)
}

/// Parts of the file that have data: begin and end of each, in bytes.
pub(super) fn data(file: impl AsFd) -> io::Result<Vec<(u64, u64)>> {
    let mut parts = Vec::new();
    let mut at = 0;
    loop {
        at = match seek(&file, SeekFrom::Data(at)) {
            Ok(at) => at,
            // Behind the last.
            Err(rustix::io::Errno::NXIO) => return Ok(parts),
            Err(error) => return Err(error.into()),
        };
        let end = seek(&file, SeekFrom::Hole(at))?;
        parts.push((at, end));
        at = end;
    }
}

/// A byte for each page; the lowest bit says whether it is in the page cache.
#[allow(unsafe_code)]
fn cached(file: &File) -> io::Result<Vec<u8>> {
    let length = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
    let mut states = vec![0_u8; length.div_ceil(PAGE as usize)];
    if length == 0 {
        return Ok(states);
    }
    // SAFETY: maps a file that is open at an address of the kernel's choice. Nothing is read through the mapping, which is gone
    // when this returns; `mincore` writes a byte for each of its pages, and `states` has as many.
    let asked = unsafe {
        let mapping = libc::mmap(std::ptr::null_mut(), length, libc::PROT_READ, libc::MAP_SHARED, file.as_raw_fd(), 0);
        if mapping == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let asked = libc::mincore(mapping.cast::<c_void>(), length, states.as_mut_ptr());
        let error = io::Error::last_os_error();
        libc::munmap(mapping, length);
        if asked == 0 { Ok(()) } else { Err(error) }
    };
    asked.map(|()| states)
}

#[cfg(test)]
mod tests {
    use std::io::{Seek, Write};

    use super::*;

    #[test]
    fn what_left_the_cache_is_read_and_no_hole() {
        // Not in memory: on a tmpfs nothing leaves it.
        let folder = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let path = folder.path().join("ram");
        let mut file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
        file.set_len(64 * PAGE).unwrap();
        for page in [3, 20] {
            file.seek(io::SeekFrom::Start(page * PAGE)).unwrap();
            file.write_all(&vec![7; 4 * PAGE as usize]).unwrap();
        }
        file.sync_all().unwrap();
        assert_eq!(data(&file).unwrap(), [(3 * PAGE, 7 * PAGE), (20 * PAGE, 24 * PAGE)]);
        assert_eq!(read(&path).unwrap(), 0, "it was just written");
        fadvise(&file, 0, None, Advice::DontNeed).unwrap();
        assert_eq!(absent(&file).unwrap(), [(3 * PAGE, 4 * PAGE), (20 * PAGE, 4 * PAGE)]);
        assert_eq!(read(&path).unwrap(), 8 * PAGE);
        assert_eq!(absent(&file).unwrap(), []);
        let empty = File::create(folder.path().join("empty")).unwrap();
        assert_eq!(absent(&empty).unwrap(), []);
    }
}
