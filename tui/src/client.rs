//! Connections to hosts.

mod call_error;
mod child_stream;
mod config;
mod config_file;
mod endpoint;
mod ssh;

use std::{
    io,
    os::{fd::AsRawFd, unix::ffi::OsStrExt},
    path::Path,
    time::Duration,
};

use hyper_util::rt::TokioIo;
use rustix::fs::{CWD, Mode, OFlags};
use tokio::net::UnixStream;
use tokio_util::either::Either;
use tonic::transport::{self, Channel, Uri};
use tui_core::host_id::HostId;

pub(crate) use call_error::CallError;
pub(crate) use config::{ConfigError, Hosts};
pub(crate) use config_file::ConfigFile;
pub(crate) use endpoint::Endpoint;
pub(crate) use ssh::quoted;

/// Longest path that fits a `sockaddr_un`, without its final zero.
const SOCKET_PATH_MAX: usize = 107;

/// Windows of HTTP/2 in bytes, for one call and for one connection: what may be under way before it is taken here. Large enough
/// for bulk through `exec`, small enough that a stopped pager holds little.
const WINDOWS: (u32, u32) = (1 << 20, 4 << 20);

/// After how much silence a host is asked whether it is there, and how long it may take to say so: one that is frozen, or behind
/// a network that is gone, is lost after both.
const ALIVE: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(10));
/// The latter over ssh, where bulk that goes out before the question may hold it up; ssh looks itself whether its peer is there.
const ALIVE_FAR: Duration = Duration::from_secs(40);

/// Address of a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HostAddress {
    /// Name of the host for people: the configured one, or the address itself.
    pub(crate) name: String,
    /// Way to the host's hostd.
    pub(crate) endpoint: Endpoint,
}

impl HostAddress {
    /// A channel that connects when first used, and again by itself after hostd went away.
    pub(crate) fn channel(&self) -> Channel {
        let endpoint = self.endpoint.clone();
        transport::Endpoint::from_static("http://pilothouse.invalid")
            .initial_stream_window_size(WINDOWS.0)
            .initial_connection_window_size(WINDOWS.1)
            .http2_keep_alive_interval(ALIVE.0)
            .keep_alive_timeout(if self.is_far() { ALIVE_FAR } else { ALIVE.1 })
            .keep_alive_while_idle(true)
            .connect_with_connector_lazy(tower::service_fn(move |_: Uri| {
                let endpoint = endpoint.clone();
                async move {
                    let stream = match endpoint {
                        Endpoint::Unix(socket) => Either::Left(connect(&socket).await?),
                        Endpoint::Ssh(ssh) => Either::Right(ssh.connect().await?),
                    };
                    Ok::<_, io::Error>(TokioIo::new(stream))
                }
            }))
    }

    /// Longest wait for the host to begin to answer, where a host without a network in between takes this long.
    pub(crate) fn patience(&self, near: Duration) -> Duration {
        if self.is_far() { near.saturating_add(ssh::LOGIN) } else { near }
    }

    /// Whether a network lies between, and a login that may count tries.
    pub(crate) fn is_far(&self) -> bool {
        matches!(self.endpoint, Endpoint::Ssh(_))
    }

    /// Whether the name is the address, because nobody configured another.
    pub(crate) fn is_nameless(&self) -> bool {
        // A configured name has no colon.
        self.name.contains(':')
    }

    /// Identity of the host in the console: the same in whichever order hosts are named, and of no other one.
    pub(crate) fn id(&self) -> HostId {
        HostId::new(&format!("{} {}", self.name, self.endpoint))
    }
}

/// Connects to a socket, whatever the length of its path: a long one goes through its open folder.
async fn connect(socket: &Path) -> io::Result<UnixStream> {
    if socket.as_os_str().as_bytes().len() <= SOCKET_PATH_MAX {
        return UnixStream::connect(socket).await;
    }
    let (Some(folder), Some(name)) = (socket.parent(), socket.file_name()) else {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    };
    let folder = rustix::fs::openat(CWD, folder, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    UnixStream::connect(Path::new("/proc/self/fd").join(folder.as_raw_fd().to_string()).join(name)).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn connects_where_the_path_is_too_long_for_the_kernel() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("a".repeat(100)).join("b".repeat(100));
        std::fs::create_dir_all(&deep).unwrap();
        let opened = rustix::fs::open(&deep, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap();
        let short = format!("/proc/self/fd/{}/hostd.sock", opened.as_raw_fd());
        let _listener = tokio::net::UnixListener::bind(short).unwrap();
        connect(&deep.join("hostd.sock")).await.unwrap();
    }
}
