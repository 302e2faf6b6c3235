//! The guest's end of a virtio-serial port: connections, one after another, each begun with a preamble.

mod port;
mod serve;

use std::{future::Future, io};

pub use port::{Connection, Port};
pub use serve::serve;
use tokio::io::{AsyncRead, AsyncWrite};

/// Where connections come from: a [`Port`], or in tests whatever there is.
pub trait Wire: Send + 'static {
    /// A byte stream; its end is the end of the host's connection.
    type Io: AsyncRead + AsyncWrite + Send + Unpin + 'static;

    /// Waits for the host. The connection before is over when this is called.
    fn connection(&mut self) -> impl Future<Output = io::Result<Self::Io>> + Send;
}
