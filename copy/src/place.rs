use std::{
    ffi::{OsStr, OsString},
    io,
    os::{fd::OwnedFd, unix::ffi::OsStrExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use rustix::fs::{Mode, OFlags, open};

use crate::error::Error;

/// Where a copy is put: an open folder, and the name in it that the copy is to have.
#[derive(Debug)]
pub struct Place {
    pub(crate) folder: Arc<OwnedFd>,
    pub(crate) name: OsString,
    path: PathBuf,
}

impl Place {
    /// Finds the place that a person means by `path`, as cp does: in it under `name` where it is a folder, else at it.
    ///
    /// # Errors
    /// [`Error::File`] where there is no such folder; where `path` ends with a slash it has to be one.
    pub fn of(path: &Path, name: &OsStr) -> Result<Self, Error> {
        let failed = |path: &Path, error| Error::File { path: path.into(), error };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match open(path, flags, Mode::empty()) {
            Ok(folder) => return Ok(Self { folder: folder.into(), name: name.into(), path: path.join(name) }),
            Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR)
                if !path.as_os_str().as_bytes().ends_with(b"/") => {}
            Err(error) => return Err(failed(path, error.into())),
        }
        let Some(last) = path.file_name() else { return Err(failed(path, io::ErrorKind::InvalidInput.into())) };
        let above = path.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let folder = open(above, flags, Mode::empty()).map_err(|error| failed(above, error.into()))?;
        Ok(Self { folder: folder.into(), name: last.into(), path: path.into() })
    }

    /// Path of the copy: `path` of [`Place::of`], or below it.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}
