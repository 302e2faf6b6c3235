//! Source of connections, which a port is in a guest.

use std::{future::Future, io, time::Duration};

use tokio::io::{AsyncRead, AsyncWrite};

/// Source of connections: a [port](crate::link::Port), or in tests whatever there is.
pub trait Wire: Send + 'static {
    /// A byte stream; its end is the end of the host's connection.
    type Io: AsyncRead + AsyncWrite + Send + Unpin + 'static;

    /// Waits for the host's next connection. The connection before is over when this is called.
    fn connection(&mut self) -> impl Future<Output = io::Result<Self::Io>> + Send;

    /// Has what begins as a preamble taken for one, which ends the present connection; or no more. For as long as programs are
    /// frozen: what else the host says goes to none of them, and it may have been cut off in the middle of that.
    fn await_anew(&self, awaited: bool) {
        let _ = awaited;
    }

    /// Notes that HTTP/2 has ended on the present connection. Where it stumbled over a preamble, that is how the next one
    /// begins.
    fn over(&mut self) {}

    /// Waits for what the host does next on the present connection, and blocks the whole runtime meanwhile. What it says is not
    /// lost: who reads next has it.
    ///
    /// # Errors
    /// The wire itself failed.
    fn stand_by(&mut self, within: Duration) -> io::Result<Next> {
        let _ = within;
        Ok(Next::Word)
    }
}

/// What the host did while the guest stood by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The host did nothing in this time.
    Nothing,
    /// The host may have said something, on the same connection.
    Word,
    /// The host went away, or has begun a new connection.
    Anew,
}
