//! One connection to a guest's port: preamble, bounds, and an end that can be waited for.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    task::{Context, Poll},
    time::Duration,
};

use pilothouse_proto::link::{self, Scanner};
use tokio::{
    io::{AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader, ReadBuf},
    time::timeout,
};
use tokio_util::sync::{CancellationToken, DropGuard, WaitForCancellationFutureOwned};

use crate::vm::{Io, Port, Vm};

/// Longest time for a port to be connected.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Longest time for a guest to answer a preamble, before the host tries a new connection.
const ECHO_TIMEOUT: Duration = Duration::from_secs(4);
/// Time from the first preamble to the second. Longer than a guest takes that has just been resumed, even emulated. Each
/// further pause is twice as long: sooner or later it is longer than the guest takes to answer, however busy it is.
const RESEND: Duration = Duration::from_millis(50);

/// A connected port after the preamble: the next byte is the answer to what was said behind that.
pub(super) type Connected = BufReader<Box<dyn Io>>;

/// Connects a port and exchanges preambles. What `first` gives stands right behind each: a guest that has nothing to wait for
/// is there sooner.
///
/// # Errors
/// The port cannot be connected, or the guest does not answer in time.
pub(super) async fn connect(vm: &dyn Vm, port: Port, first: impl Fn() -> io::Result<Vec<u8>>) -> io::Result<Connected> {
    let io = timeout(CONNECT_TIMEOUT, vm.connect(port)).await.map_err(|_| timed_out("the port did not connect"))??;
    open(io, first).await
}

/// Exchanges preambles on a port that is connected, as [`connect`].
///
/// # Errors
/// The guest does not answer in time.
pub(super) async fn open(io: Box<dyn Io>, first: impl Fn() -> io::Result<Vec<u8>>) -> io::Result<Connected> {
    // HTTP/2 reads larger pieces than this, so the buffer is bypassed once the preamble is through.
    let mut io = BufReader::with_capacity(4096, io);
    timeout(ECHO_TIMEOUT, exchange(&mut io, first))
        .await
        .map_err(|_| timed_out("the guest does not answer on its port"))??;
    Ok(io)
}

/// Sends preambles until the last one sent is answered.
async fn exchange(
    io: &mut (impl AsyncBufRead + AsyncWrite + Unpin),
    first: impl Fn() -> io::Result<Vec<u8>>,
) -> io::Result<()> {
    let mut pause = RESEND;
    loop {
        let mut nonce = [0; link::NONCE];
        getrandom::fill(&mut nonce).map_err(io::Error::other)?;
        let ours = link::preamble(nonce);
        // One write: a guest reads it as one.
        io.write_all(&[&ours[..], &first()?].concat()).await?;
        io.flush().await?;
        match timeout(pause, answer(io, Scanner::new(ours))).await {
            Ok(answered) => return answered,
            Err(_) => pause *= 2,
        }
    }
}

/// Skips to what the scanner wants. Cancel safe, in that what was read was of no use.
async fn answer(io: &mut (impl AsyncBufRead + Unpin), mut scanner: Scanner<{ link::LENGTH }>) -> io::Result<()> {
    loop {
        let piece = io.fill_buf().await?;
        if piece.is_empty() {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the VM closed the port before the guest answered on it",
            ));
        }
        let length = piece.len();
        let found = scanner.find(piece);
        io.consume(found.unwrap_or(length));
        if found.is_some() {
            return Ok(());
        }
    }
}

fn timed_out(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, what)
}

/// The end of a link, which its connection waits for.
#[derive(Clone, Debug)]
pub(super) struct Stop {
    pub(super) now: CancellationToken,
    /// Takes the link's connection at its end, if anybody holds the other side.
    silent: SyncSender<Connected>,
}

impl Stop {
    pub(super) fn new() -> (Self, Held) {
        let (silent, held) = sync_channel(1);
        (Self { now: CancellationToken::new(), silent }, Held { _connection: held })
    }
}

/// The connection of a link that was closed: nobody says anything on it any more. The guest sees that its port is left when
/// this is dropped.
#[derive(Debug)]
pub struct Held {
    _connection: Receiver<Connected>,
}

/// A byte stream that ends with a [`Stop`], and that cancels a token when it is dropped: whoever holds it drops it exactly
/// when the connection is over.
pub(super) struct Watched {
    /// The connection; None only while this is dropped.
    io: Option<Connected>,
    stop: Stop,
    stopped: Pin<Box<WaitForCancellationFutureOwned>>,
    _over: DropGuard,
}

impl Watched {
    pub(super) fn new(io: Connected, stop: &Stop, over: CancellationToken) -> Self {
        let stopped = Box::pin(stop.now.clone().cancelled_owned());
        Self { io: Some(io), stop: stop.clone(), stopped, _over: over.drop_guard() }
    }

    fn io(&mut self, cx: &mut Context<'_>) -> io::Result<Pin<&mut Connected>> {
        match (self.stopped.as_mut().poll(cx), &mut self.io) {
            (Poll::Pending, Some(io)) => Ok(Pin::new(io)),
            _ => Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the link was closed")),
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if self.stop.now.is_cancelled()
            && let Some(io) = self.io.take()
        {
            // Where nobody holds it, it ends here.
            let _ = self.stop.silent.try_send(io);
        }
    }
}

impl AsyncRead for Watched {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.io(cx)?.poll_read(cx, buffer)
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.io(cx)?.poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.io(cx)?.poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.as_ref().is_some_and(AsyncWrite::is_write_vectored)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io(cx)?.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io(cx)?.poll_shutdown(cx)
    }
}
