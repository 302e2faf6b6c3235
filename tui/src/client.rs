//! Connections to hosts.

use std::path::PathBuf;

use hyper_util::rt::TokioIo;
use tonic::transport::{Channel, Endpoint, Uri};

/// Where a host listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostAddress {
    /// For people: the configured name, or the address itself.
    pub name: String,
    /// Unix socket of its hostd.
    pub socket: PathBuf,
}

impl HostAddress {
    /// A channel that connects when first used, and again by itself after hostd went away.
    pub fn channel(&self) -> Channel {
        let socket = self.socket.clone();
        Endpoint::from_static("http://pilothouse.invalid").connect_with_connector_lazy(tower::service_fn(move |_: Uri| {
            let socket = socket.clone();
            async move { Ok::<_, std::io::Error>(TokioIo::new(tokio::net::UnixStream::connect(socket).await?)) }
        }))
    }
}
