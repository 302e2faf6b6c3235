use std::{
    collections::HashSet,
    ffi::{OsStr, OsString},
    fs::File,
    hash::{BuildHasher as _, RandomState},
    io::{self, Read, Write as _},
    os::{
        fd::{AsFd, AsRawFd as _, OwnedFd},
        unix::ffi::{OsStrExt as _, OsStringExt as _},
    },
    path::PathBuf,
    sync::Arc,
};

use rustix::{
    fs::{
        AtFlags, CWD, FileType, Mode, OFlags, RenameFlags, Timespec, Timestamps, UTIME_OMIT, fchmod, fstat, futimens,
        linkat, mkdirat, openat, renameat, renameat_with, statat, symlinkat, unlinkat,
    },
    io::Errno,
};

use crate::{
    error::Error,
    place::Place,
    tally::Tally,
    wire::{self, DEPTH_MAX, Entry, Hardlink, Part, Symlink},
};

/// Bytes that each entry counts beside its content: what a file system needs for one.
const ENTRY_COST: u64 = 4 << 10;

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// How a copy is received.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Whether files that are there already are replaced. Folders that are there are filled in any case.
    pub replace: bool,
    /// Most bytes that the copy may have, of which each entry costs 4 KiB beside its content.
    pub bytes_max: u64,
}

/// Receives what [`send`](crate::send()) sends, at a place. A file is there as a whole or not at all; files that were whole when a
/// copy breaks off stay.
///
/// Returns how many files and folders the sender could not read.
///
/// # Errors
/// [`Error`]; paths in it begin with the name at the place.
pub fn receive(from: &mut impl Read, place: &Place, options: Options, tally: &Tally) -> Result<u64, Error> {
    let mut receiver = Receiver {
        place,
        options,
        tally,
        open: Vec::new(),
        files: HashSet::new(),
        left: options.bytes_max,
        is_whole: false,
    };
    loop {
        match (wire::read(from)?, receiver.is_whole) {
            (Part::End(end), true) => return Ok(end.unread),
            (_, true) => return Err(Error::Malformed("more than one file or folder")),
            (Part::Enter(entry), false) => receiver.enter(entry)?,
            (Part::Leave(_), false) => receiver.leave()?,
            (Part::File(entry), false) => receiver.file(&entry, from)?,
            (Part::Symlink(link), false) => receiver.symlink(&link)?,
            (Part::Hardlink(link), false) => receiver.hardlink(&link)?,
            (Part::Data(_), false) => return Err(Error::Malformed("bytes of no file")),
            (Part::End(_), false) => return Err(Error::Malformed("an end in the middle")),
        }
    }
}

struct Receiver<'a> {
    place: &'a Place,
    options: Options,
    tally: &'a Tally,
    /// The folders that were entered, the newest last.
    open: Vec<Folder>,
    /// Devices and numbers of the files that were received.
    files: HashSet<(u64, u64)>,
    /// Bytes that the copy may still have.
    left: u64,
    is_whole: bool,
}

struct Folder {
    fd: Arc<OwnedFd>,
    name: OsString,
    /// What it gets once it is filled; None: it was there before.
    then: Option<Entry>,
}

impl Receiver<'_> {
    fn enter(&mut self, entry: Entry) -> Result<(), Error> {
        if self.open.len() >= DEPTH_MAX {
            return Err(Error::Malformed("too many folders within each other"));
        }
        self.takes(ENTRY_COST)?;
        let (folder, name) = self.at(&entry.name)?;
        // Filled before its own permissions are set, which may forbid that.
        let mode = Mode::from_raw_mode(entry.mode & 0o777) | Mode::RWXU;
        let made = match mkdirat(&folder, &name, mode) {
            Ok(()) => true,
            Err(Errno::EXIST) => false,
            Err(error) => return Err(self.failed(&name, error)),
        };
        let fd = openat(&folder, &name, FOLDER, Mode::empty()).map_err(|error| match error {
            Errno::NOTDIR | Errno::LOOP => Error::Exists(self.path(&name)),
            error => self.failed(&name, error),
        })?;
        self.tally.folder();
        self.open.push(Folder { fd: fd.into(), name, then: made.then_some(entry) });
        Ok(())
    }

    fn leave(&mut self) -> Result<(), Error> {
        let Some(Folder { fd, name, then }) = self.open.pop() else {
            return Err(Error::Malformed("the end of no folder"));
        };
        if let Some(entry) = then {
            finish(&*fd, &entry).map_err(|error| self.failed(&name, error))?;
        }
        self.is_whole = self.open.is_empty();
        Ok(())
    }

    fn file(&mut self, entry: &Entry, from: &mut impl Read) -> Result<(), Error> {
        self.takes(ENTRY_COST)?;
        let (folder, name) = self.at(&entry.name)?;
        self.is_free(&folder, &name)?;
        // Without a name, it goes by itself however this program ends.
        let mode = Mode::from_raw_mode(entry.mode & 0o777);
        let nameless = openat(&folder, ".", OFlags::WRONLY | OFlags::TMPFILE | OFlags::CLOEXEC, mode);
        let part = Unfinished::new(folder);
        let has_name = matches!(nameless, Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL));
        let opened = match nameless {
            // A file system that knows no such files.
            Err(_) if has_name => {
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                openat(&part.folder, &part.name, flags, mode)
            }
            opened => opened,
        };
        let mut file = File::from(opened.map_err(|error| self.failed(&name, error))?);
        loop {
            let Part::Data(bytes) = wire::read(from)? else { return Err(Error::Malformed("a file without its end")) };
            if bytes.is_empty() {
                break;
            }
            self.takes(bytes.len() as u64)?;
            file.write_all(&bytes).map_err(|error| self.failed(&name, error))?;
            self.tally.data(bytes.len() as u64);
        }
        let finished = set_time(&file, entry).and_then(|()| match has_name {
            true => Ok(()),
            false => linkat(
                CWD,
                format!("/proc/self/fd/{}", file.as_raw_fd()),
                &part.folder,
                &part.name,
                AtFlags::SYMLINK_FOLLOW,
            ),
        });
        let place = finished.and_then(|()| fstat(&file)).map_err(|error| self.failed(&name, error))?;
        self.settle(&part, &name)?;
        self.files.insert((place.st_dev, place.st_ino));
        self.tally.file();
        self.is_whole = self.open.is_empty();
        Ok(())
    }

    fn symlink(&mut self, link: &Symlink) -> Result<(), Error> {
        self.takes(ENTRY_COST)?;
        let (folder, name) = self.within(&link.name)?;
        self.is_free(&folder, &name)?;
        let part = Unfinished::new(folder);
        let made = symlinkat(OsStr::from_bytes(&link.target), &part.folder, &part.name);
        made.map_err(|error| self.failed(&name, error))?;
        self.settle(&part, &name)?;
        self.tally.link();
        Ok(())
    }

    fn hardlink(&mut self, link: &Hardlink) -> Result<(), Error> {
        self.takes(ENTRY_COST)?;
        let (folder, name) = self.within(&link.name)?;
        self.is_free(&folder, &name)?;
        let (Some((last, way)), Some(first)) = (link.to.split_last(), self.open.first()) else {
            return Err(Error::Malformed("a link to nothing"));
        };
        let mut from = first.fd.clone();
        for step in way {
            let next = openat(&from, OsStr::from_bytes(step), FOLDER, Mode::empty());
            from = next.map_err(|error| self.failed(&name, error))?.into();
        }
        let last = OsStr::from_bytes(last);
        let found = statat(&from, last, AtFlags::SYMLINK_NOFOLLOW);
        if !found.is_ok_and(|found| self.files.contains(&(found.st_dev, found.st_ino))) {
            return Err(Error::Malformed("a link to what is no file of the copy"));
        }
        let part = Unfinished::new(folder);
        let made = linkat(&from, last, &part.folder, &part.name, AtFlags::empty());
        made.map_err(|error| self.failed(&name, error))?;
        self.settle(&part, &name)?;
        self.tally.file();
        Ok(())
    }

    /// Takes these bytes off what the copy may have.
    fn takes(&mut self, bytes: u64) -> Result<(), Error> {
        self.left = self.left.checked_sub(bytes).ok_or(Error::TooLarge(self.options.bytes_max))?;
        Ok(())
    }

    /// The folder of an entry and its name there; of the first of a copy the name is the receiver's.
    fn at(&self, name: &[u8]) -> Result<(Arc<OwnedFd>, OsString), Error> {
        match self.open.last() {
            None => Ok((self.place.folder.clone(), self.place.name.clone())),
            Some(_) => self.within(name),
        }
    }

    /// The folder of an entry that cannot be the first of a copy, and its name there.
    fn within(&self, name: &[u8]) -> Result<(Arc<OwnedFd>, OsString), Error> {
        match self.open.last() {
            Some(folder) if !name.is_empty() => Ok((folder.fd.clone(), OsString::from_vec(name.to_vec()))),
            _ => Err(Error::Malformed("a name that is none")),
        }
    }

    /// Fails where something is at this name that is not to be replaced: a folder never is.
    fn is_free(&self, folder: &OwnedFd, name: &OsStr) -> Result<(), Error> {
        match statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(self.failed(name, error)),
            Ok(found) if self.options.replace && FileType::from_raw_mode(found.st_mode) != FileType::Directory => {
                Ok(())
            }
            Ok(_) => Err(Error::Exists(self.path(name))),
        }
    }

    /// Gives what is whole its name.
    fn settle(&self, part: &Unfinished, name: &OsStr) -> Result<(), Error> {
        let Unfinished { folder, name: from } = part;
        let flags = if self.options.replace { RenameFlags::empty() } else { RenameFlags::NOREPLACE };
        let renamed = match renameat_with(folder, from, folder, name, flags) {
            // A file system that cannot do it; that nothing was there has been seen just now.
            Err(Errno::INVAL | Errno::NOSYS) => renameat(folder, from, folder, name),
            renamed => renamed,
        };
        renamed.map_err(|error| match error {
            Errno::EXIST | Errno::ISDIR => Error::Exists(self.path(name)),
            error => self.failed(name, error),
        })
    }

    /// Path of an entry of the newest folder, beginning with the copy's own name.
    fn path(&self, name: &OsStr) -> PathBuf {
        self.open.iter().map(|folder| &*folder.name).chain([name]).collect()
    }

    fn failed(&self, name: &OsStr, error: impl Into<io::Error>) -> Error {
        Error::File { path: self.path(name), error: error.into() }
    }
}

/// Something that has not its own name yet, and is removed unless it gets it.
struct Unfinished {
    folder: Arc<OwnedFd>,
    name: String,
}

impl Unfinished {
    fn new(folder: Arc<OwnedFd>) -> Self {
        Self { folder, name: format!(".pilothouse-copy-{:016x}", RandomState::new().hash_one(0)) }
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // It is gone where it got its name, unless that was another name of the same file already.
        let _ = unlinkat(&self.folder, &self.name, AtFlags::empty());
    }
}

/// Sets permissions and time of a folder that is filled. The umask has been taken off its permissions when it was made.
fn finish(folder: impl AsFd, entry: &Entry) -> rustix::io::Result<()> {
    fchmod(&folder, Mode::from_raw_mode(fstat(&folder)?.st_mode & entry.mode & 0o777))?;
    set_time(folder, entry)
}

fn set_time(what: impl AsFd, entry: &Entry) -> rustix::io::Result<()> {
    let modified = Timespec { tv_sec: entry.seconds, tv_nsec: entry.nanoseconds.into() };
    let omitted = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
    futimens(&what, &Timestamps { last_access: omitted, last_modification: modified })
}
