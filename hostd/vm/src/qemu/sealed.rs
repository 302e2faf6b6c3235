//! A template's RAM for a QEMU that opens what it maps for writing, as all before 8.2 do, though the mapping is private. It
//! gets a copy in memory which nobody can change any more, sealed by the kernel: so it needs no right to write to the file,
//! which is read-only for the user that hostd runs as, and a QEMU that a guest has taken over cannot alter what others start
//! from.
//!
//! All clones of a template share the one copy. It is gone with the last of them, but for the one that was used last, which stays
//! for the next.

use std::{
    collections::HashMap,
    fs::File,
    io,
    os::{fd::OwnedFd, unix::fs::FileExt},
    path::Path,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};

use super::ahead;
use crate::{VmError, file::failed};

/// Bytes that are copied at a time.
const PIECE: usize = 1 << 20;

/// Copies that are in use, by the name of the template: the hash of its RAM.
#[derive(Debug, Default)]
pub(super) struct Copies(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    all: HashMap<String, Weak<OwnedFd>>,
    last: Option<Arc<OwnedFd>>,
}

impl Copies {
    /// The copy of the template `name`, whose RAM is `file`. The first who asks makes it, and the next ones wait.
    pub(super) fn of(&self, name: &str, file: &Path) -> Result<Arc<OwnedFd>, VmError> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.all.retain(|_, copy| copy.strong_count() > 0);
        let copy = match known.all.get(name).and_then(Weak::upgrade) {
            Some(copy) => copy,
            None => {
                // Room for it first.
                known.last = None;
                let copy = Arc::new(copy(file).map_err(failed(file))?);
                known.all.insert(name.to_owned(), Arc::downgrade(&copy));
                copy
            }
        };
        known.last = Some(copy.clone());
        Ok(copy)
    }
}

/// Path that QEMU is given as the file's name, where it has inherited the copy under this number.
pub(super) fn path(number: i32) -> String {
    format!("/proc/self/fd/{number}")
}

fn copy(path: &Path) -> io::Result<OwnedFd> {
    let file = File::open(path)?;
    let memory = memfd_create("template", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    ftruncate(&memory, file.metadata()?.len())?;
    let memory = File::from(memory);
    let mut buffer = vec![0; PIECE];
    // What is a hole stays one, and takes no memory.
    for (mut at, end) in ahead::data(&file)? {
        while at < end {
            let piece = usize::try_from(end - at).map_or(PIECE, |rest| rest.min(PIECE));
            file.read_exact_at(&mut buffer[..piece], at)?;
            memory.write_all_at(&buffer[..piece], at)?;
            at += piece as u64;
        }
    }
    fcntl_add_seals(&memory, SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL)?;
    Ok(memory.into())
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use super::*;
    use crate::snapshot::delta::PAGE;

    #[test]
    fn a_copy_is_shared_and_nobody_writes_to_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ram");
        let file = File::create(&path).unwrap();
        file.set_len(600 * PAGE).unwrap();
        file.write_all_at(b"pages", 300 * PAGE + 7).unwrap();
        let copies = Copies::default();
        let one = copies.of("one", &path).unwrap();
        assert!(Arc::ptr_eq(&one, &copies.of("one", Path::new("/nonexistent")).unwrap()));

        // As QEMU opens it.
        let name = format!("/proc/self/fd/{}", one.as_raw_fd());
        let opened = File::options().read(true).write(true).open(&name).unwrap();
        assert_eq!(std::fs::read(&name).unwrap(), std::fs::read(&path).unwrap());
        assert_eq!(opened.write_at(b"x", 0).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        assert_eq!(opened.set_len(1).unwrap_err().kind(), io::ErrorKind::PermissionDenied);

        let (weak, held) = (Arc::downgrade(&one), copies.of("two", &path).unwrap());
        drop(one);
        assert_eq!(weak.strong_count(), 0, "it is gone with the last that used it");
        let weak = Arc::downgrade(&held);
        drop(held);
        assert_eq!(weak.strong_count(), 1, "but for the last");
    }
}
