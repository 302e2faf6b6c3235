//! How files of a service are put where they belong: with the rights that others need, whatever the umask is, and none by half.

use std::{
    fs,
    io::{self, Read as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _},
    path::Path,
};

use tempfile::NamedTempFile;

/// Begin of the names of files that are not in their place yet.
const PREFIX: &str = ".hostd-";
/// Bytes that are compared at once.
const PIECE: u64 = 64 << 10;

/// Makes a folder and those above it, where they are not there: open to all, and below `home` to its user alone.
pub(super) fn make_folder(folder: &Path, home: Option<&Path>) -> io::Result<()> {
    if folder.is_dir() || folder.as_os_str().is_empty() {
        return Ok(());
    }
    if let Some(parent) = folder.parent() {
        make_folder(parent, home)?;
    }
    match fs::DirBuilder::new().mode(0o700).create(folder) {
        // Another was faster.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => return Ok(()),
        made => made?,
    }
    let mode = if home.is_some_and(|home| folder.starts_with(home)) { 0o700 } else { 0o755 };
    fs::set_permissions(folder, fs::Permissions::from_mode(mode))
}

/// A file beside the place that it is for: complete, with its rights, and on the disk.
pub(super) fn beside(
    to: &Path,
    mode: u32,
    home: Option<&Path>,
    fill: impl FnOnce(&mut fs::File) -> io::Result<()>,
) -> io::Result<NamedTempFile> {
    let folder = folder_of(to);
    make_folder(folder, home)?;
    let mut new = tempfile::Builder::new().prefix(PREFIX).tempfile_in(folder)?;
    fill(new.as_file_mut())?;
    new.as_file().set_permissions(fs::Permissions::from_mode(mode))?;
    new.as_file().sync_all()?;
    Ok(new)
}

/// Puts a file in its place. Who has what was there open keeps that.
pub(super) fn put(new: NamedTempFile, to: &Path) -> io::Result<()> {
    new.persist(to).map_err(|error| error.error)?;
    fs::File::open(folder_of(to))?.sync_all()
}

/// Keeps a file by another name, too, at once: what had that name is lost only then. A file that is not there is not kept.
pub(super) fn keep(file: &Path, by: &Path) -> io::Result<()> {
    match fs::symlink_metadata(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(_) => {}
    }
    // Renaming a name of a file to another of the same file does nothing.
    if is_kept(file, by) {
        return Ok(());
    }
    let link = tempfile::Builder::new().prefix(PREFIX).make_in(folder_of(by), |path| fs::hard_link(file, path))?;
    link.persist(by).map_err(|error| error.error)?;
    Ok(())
}

/// Whether both are names of one file: it is kept, and not replaced yet.
pub(super) fn is_kept(file: &Path, by: &Path) -> bool {
    let of = |path| fs::symlink_metadata(path).map(|is| (is.dev(), is.ino())).ok();
    of(file).is_some_and(|file| of(by) == Some(file))
}

/// Whether two files hold the same bytes.
pub(super) fn same(one: &Path, other: &Path) -> io::Result<bool> {
    let (mut one, mut other) = (fs::File::open(one)?, fs::File::open(other)?);
    if one.metadata()?.len() != other.metadata()?.len() {
        return Ok(false);
    }
    let (mut first, mut second) = (vec![], vec![]);
    loop {
        first.clear();
        second.clear();
        let read = one.by_ref().take(PIECE).read_to_end(&mut first)?;
        other.by_ref().take(PIECE).read_to_end(&mut second)?;
        if first != second || read == 0 {
            return Ok(first == second);
        }
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_the_same_by_what_is_in_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let mut bytes = vec![7; 200_000];
        fs::write(path("one"), &bytes).unwrap();
        fs::write(path("other"), &bytes).unwrap();
        assert!(same(&path("one"), &path("other")).unwrap());
        bytes[199_999] = 8;
        fs::write(path("other"), &bytes).unwrap();
        assert!(!same(&path("one"), &path("other")).unwrap());
        fs::write(path("other"), &bytes[..100]).unwrap();
        assert!(!same(&path("one"), &path("other")).unwrap());
    }
}
