//! Sockets that hostd listens on.

use std::{
    fs::{self, File, Permissions},
    io,
    os::{
        fd::AsRawFd as _,
        unix::{fs::PermissionsExt as _, net::UnixStream},
    },
    path::{Path, PathBuf},
    str::FromStr,
};

use tokio::net::UnixListener;

/// Address that hostd listens on, written `unix:PATH`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// A Unix socket at this path.
    Unix(PathBuf),
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("unix", path)) if !path.is_empty() => Ok(Self::Unix(path.into())),
            Some(("tcp", _)) => Err("TCP needs mutual TLS, which this hostd does not have yet; use unix:PATH".into()),
            _ => Err("expected unix:PATH".into()),
        }
    }
}

/// Why hostd cannot listen on a socket.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Another process answers on the socket at this path.
    #[error("another program listens on {0}; end it, or choose another socket with --listen")]
    InUse(PathBuf),
    /// The socket's file cannot be looked at, made or replaced.
    #[error("{path}: {error}")]
    File {
        /// Path of the socket.
        path: PathBuf,
        /// Error of the system.
        error: io::Error,
    },
}

/// A socket that hostd listens on.
pub struct Socket {
    pub(super) listener: UnixListener,
    pub(super) guard: Guard,
}

/// The file of a socket, removed when this is dropped.
pub(super) struct Guard(PathBuf);

impl Drop for Guard {
    fn drop(&mut self) {
        // Somebody may have removed it already.
        let _ = fs::remove_file(&self.0);
    }
}

impl Socket {
    /// Listens on a socket that only its owner may connect to. A socket that nobody listens on any more is replaced.
    ///
    /// # Errors
    /// [`ListenError`].
    pub fn open(path: &Path) -> Result<Self, ListenError> {
        let failed = |error| ListenError::File { path: path.into(), error };
        let name = path.file_name().ok_or_else(|| failed(io::ErrorKind::InvalidInput.into()))?;
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::create_dir_all(folder).map_err(failed)?;
        // A socket's address holds 107 bytes at most; through its folder's descriptor any path fits.
        let folder_fd = File::open(folder).map_err(failed)?;
        let near = PathBuf::from(format!("/proc/self/fd/{}", folder_fd.as_raw_fd()));
        if UnixStream::connect(near.join(name)).is_ok() {
            return Err(ListenError::InUse(path.into()));
        }
        // Made under another name, so that it never stands there with other rights, and takes the old one's place at once.
        let new = near.join(format!(".hostd.{}.sock", std::process::id()));
        let _ = fs::remove_file(&new);
        let listener = UnixListener::bind(&new).map_err(failed)?;
        let placed = fs::set_permissions(&new, Permissions::from_mode(0o600))
            .and_then(|()| refuse_other(&near.join(name)))
            .and_then(|()| fs::rename(&new, near.join(name)));
        if let Err(error) = placed {
            let _ = fs::remove_file(&new);
            return Err(failed(error));
        }
        Ok(Self { listener, guard: Guard(path.into()) })
    }
}

/// Refuses a path where something else than a socket is: only a socket may be replaced.
fn refuse_other(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::FileTypeExt as _;
    match fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => {
            Err(io::Error::new(io::ErrorKind::AlreadyExists, "a file that is not a socket is there"))
        }
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn sockets_are_private_and_stale_ones_are_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("x".repeat(60)).join("y".repeat(60));
        let path = deep.join("hostd.sock");
        let socket = Socket::open(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(matches!(Socket::open(&path), Err(ListenError::InUse(_))));
        // As after a kill -9: the file stays, nobody listens.
        let Socket { listener, guard } = socket;
        drop(listener);
        std::mem::forget(guard);
        // A test beside this one may be between fork and exec of a program: its child listens on it until then.
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
        let again = loop {
            match Socket::open(&path) {
                Err(ListenError::InUse(_)) if std::time::Instant::now() < deadline => std::thread::yield_now(),
                opened => break opened.unwrap(),
            }
        };
        drop(again);
        assert!(!path.exists());
        fs::write(&path, "precious").unwrap();
        assert!(matches!(Socket::open(&path), Err(ListenError::File { .. })));
        assert_eq!(fs::read(&path).unwrap(), b"precious");
    }

    #[test]
    fn addresses() {
        assert_eq!("unix:/run/x".parse(), Ok(Listen::Unix("/run/x".into())));
        assert!("tcp:127.0.0.1:1".parse::<Listen>().unwrap_err().contains("TLS"));
        assert!("/run/x".parse::<Listen>().is_err());
    }
}
