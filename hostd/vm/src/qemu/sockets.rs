//! Unix sockets in a VM's folder, whose path may be longer than a socket's address: reached by way of the folder's
//! descriptor.

use std::{
    fs, io,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::{fs::PermissionsExt, net::UnixListener},
    },
    path::{Path, PathBuf},
};

use rustix::fs::{CWD, Mode, OFlags, openat};
use tokio::net::UnixStream;

use crate::Port;

/// File names of the sockets in a VM's folder: QEMU's control socket, and those of the two ports.
pub(super) const QMP: &str = "qmp.sock";
pub(super) const LINK: &str = "link.sock";
pub(super) const TUNNEL: &str = "tunnel.sock";

/// The three sockets of a VM, listening. Made before QEMU is, so that a connection never comes too early.
#[derive(Debug)]
pub(super) struct Listeners {
    pub(super) qmp: OwnedFd,
    pub(super) link: OwnedFd,
    pub(super) tunnel: OwnedFd,
}

impl Listeners {
    /// Binds all three; sockets of an earlier VM are replaced.
    pub(super) fn bind(folder: &Path) -> io::Result<Self> {
        Ok(Self { qmp: bind(folder, QMP)?, link: bind(folder, LINK)?, tunnel: bind(folder, TUNNEL)? })
    }
}

/// Connects to the socket of this name in this folder.
pub(super) async fn connect(folder: &Path, name: &str) -> io::Result<UnixStream> {
    let (_folder, path) = short(folder, name)?;
    UnixStream::connect(path).await
}

/// Connects to a port's socket of this folder.
pub(super) async fn connect_port(folder: &Path, port: Port) -> io::Result<UnixStream> {
    connect(folder, if port == Port::Link { LINK } else { TUNNEL }).await
}

/// Removes the sockets that [`Listeners::bind`] made.
pub(super) fn remove(folder: &Path) {
    for name in [QMP, LINK, TUNNEL] {
        // What is not there needs no removing, and a stale socket does no harm: bind replaces it.
        let _ = fs::remove_file(folder.join(name));
    }
}

/// Moves the sockets that [`Listeners::bind`] made; they listen on.
pub(super) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    [QMP, LINK, TUNNEL].iter().try_for_each(|name| fs::rename(from.join(name), to.join(name)))
}

fn bind(folder: &Path, name: &str) -> io::Result<OwnedFd> {
    match fs::remove_file(folder.join(name)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let (_folder, path) = short(folder, name)?;
    let listener = UnixListener::bind(&path)?;
    fs::set_permissions(folder.join(name), fs::Permissions::from_mode(0o600))?;
    Ok(listener.into())
}

/// A short path to a file of this folder, good as long as the descriptor is open.
fn short(folder: &Path, name: &str) -> io::Result<(OwnedFd, PathBuf)> {
    let folder = openat(CWD, folder, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let path = PathBuf::from(format!("/proc/self/fd/{}/{name}", folder.as_raw_fd()));
    Ok((folder, path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn works_at_the_end_of_a_long_path() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("x".repeat(200)).join("y".repeat(200));
        fs::create_dir_all(&deep).unwrap();
        let first = Listeners::bind(&deep).unwrap();
        let _second = Listeners::bind(&deep).unwrap();
        drop(first);
        connect(&deep, LINK).await.unwrap();
        assert_eq!(fs::metadata(deep.join(QMP)).unwrap().permissions().mode() & 0o777, 0o600);
        remove(&deep);
        assert_eq!(fs::read_dir(&deep).unwrap().count(), 0);
        assert_eq!(connect(&deep, LINK).await.unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
