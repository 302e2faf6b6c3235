use std::{
    collections::HashMap,
    ffi::OsStr,
    fs::{self, File, Metadata},
    io::{self, Read as _, Write},
    os::unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    path::Path,
};

use crate::{
    error::Error,
    tally::Tally,
    wire::{self, DATA_MAX, DEPTH_MAX, End, Entry, Hardlink, Leave, Part, Symlink},
};

/// Sends the file or folder at `path`, a link to one as what it leads to. `told` gets the path of what is left out, and why.
///
/// Returns how many files and folders could not be read, and were left out for that.
///
/// # Errors
/// [`Error::File`] where there is nothing to send, [`Error::Cut`] where nobody receives any more.
pub fn send(path: &Path, to: &mut impl Write, tally: &Tally, told: &mut dyn FnMut(&Path, &str)) -> Result<u64, Error> {
    let failed = |error| Error::File { path: path.into(), error };
    let found = fs::metadata(path).map_err(failed)?;
    if !found.is_dir() && !found.is_file() {
        return Err(failed(io::Error::other("neither a file nor a folder")));
    }
    // What cannot be opened at all is no copy.
    match found.is_dir() {
        true => drop(fs::read_dir(path).map_err(failed)?),
        false => drop(File::open(path).map_err(failed)?),
    }
    let mut walk = Walk { to, tally, told, names: Vec::new(), linked: HashMap::new(), depth: 0, unread: 0 };
    walk.one(path, OsStr::new(""), &found)?;
    let unread = walk.unread;
    wire::write(to, Part::End(End { unread }))?;
    to.flush().map_err(Error::Cut)?;
    Ok(unread)
}

struct Walk<'a, W> {
    to: &'a mut W,
    tally: &'a Tally,
    told: &'a mut dyn FnMut(&Path, &str),
    /// Names from the first folder on to the one that is being read; that of the first is left out.
    names: Vec<Vec<u8>>,
    /// Where a file that has several names was sent.
    linked: HashMap<(u64, u64), Vec<Vec<u8>>>,
    /// Number of folders that were entered and not left.
    depth: usize,
    unread: u64,
}

impl<W: Write> Walk<'_, W> {
    fn one(&mut self, path: &Path, name: &OsStr, found: &Metadata) -> Result<(), Error> {
        let kind = found.file_type();
        if kind.is_dir() {
            return self.folder(path, name, found);
        }
        if kind.is_file() {
            return self.file(path, name, found);
        }
        if kind.is_symlink() {
            return match fs::read_link(path) {
                Ok(target) => {
                    self.tally.link();
                    let (name, target) = (name.as_bytes().into(), target.as_os_str().as_bytes().into());
                    wire::write(self.to, Part::Symlink(Symlink { name, target }))
                }
                Err(error) => {
                    self.unread(path, &error);
                    Ok(())
                }
            };
        }
        (self.told)(path, "left out: it is a device, a socket or a pipe");
        Ok(())
    }

    fn folder(&mut self, path: &Path, name: &OsStr, found: &Metadata) -> Result<(), Error> {
        let entries = match fs::read_dir(path) {
            Ok(_) if self.depth == DEPTH_MAX => Err(io::Error::other("too many folders within each other")),
            entries => entries,
        };
        let entries = match entries {
            Ok(entries) => entries,
            Err(error) => {
                self.unread(path, &error);
                return Ok(());
            }
        };
        self.tally.folder();
        wire::write(self.to, Part::Enter(entry(name, found)))?;
        let is_first = name.is_empty();
        self.depth += 1;
        if !is_first {
            self.names.push(name.as_bytes().into());
        }
        for entry in entries {
            match entry.and_then(|entry| Ok((entry.metadata()?, entry))) {
                Ok((found, entry)) => self.one(&entry.path(), &entry.file_name(), &found)?,
                // It went while it was looked at.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => self.unread(path, &error),
            }
        }
        if !is_first {
            self.names.pop();
        }
        self.depth -= 1;
        wire::write(self.to, Part::Leave(Leave {}))
    }

    fn file(&mut self, path: &Path, name: &OsStr, found: &Metadata) -> Result<(), Error> {
        let here = || self.names.iter().cloned().chain([name.as_bytes().to_vec()]).collect::<Vec<_>>();
        let (place, has_more) = ((found.dev(), found.ino()), found.nlink() > 1 && !name.is_empty());
        if has_more && let Some(to) = self.linked.get(&place) {
            self.tally.file();
            return wire::write(self.to, Part::Hardlink(Hardlink { name: name.as_bytes().into(), to: to.clone() }));
        }
        let mut file = match File::open(path) {
            Ok(file) => file,
            Err(error) => {
                self.unread(path, &error);
                return Ok(());
            }
        };
        if has_more {
            self.linked.insert(place, here());
        }
        self.tally.file();
        wire::write(self.to, Part::File(entry(name, found)))?;
        let mut data = vec![0; DATA_MAX];
        loop {
            // As long as it is now, whatever it was before. A part of it is no file: the copy ends.
            let count = file.read(&mut data).map_err(|error| Error::File { path: path.into(), error })?;
            wire::write(self.to, Part::Data(data[..count].to_vec()))?;
            if count == 0 {
                return Ok(());
            }
            self.tally.data(count as u64);
        }
    }

    fn unread(&mut self, path: &Path, error: &io::Error) {
        self.unread += 1;
        (self.told)(path, &format!("left out: {error}"));
    }
}

fn entry(name: &OsStr, found: &Metadata) -> Entry {
    Entry {
        name: name.as_bytes().into(),
        mode: found.mode() & 0o777,
        seconds: found.mtime(),
        nanoseconds: found.mtime_nsec().try_into().unwrap_or_default(),
    }
}
