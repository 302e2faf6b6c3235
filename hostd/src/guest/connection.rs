//! One connection to a guest's port: preamble, bounds, and an end that can be waited for.

use std::{
    io,
    pin::Pin,
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

/// How long a port may take to be connected.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a guest may take to answer a preamble, before the host tries a new connection.
const ECHO_TIMEOUT: Duration = Duration::from_secs(4);
/// From the first preamble to the second. Longer than a guest takes that has just been resumed, even emulated. Each further
/// pause is twice as long: sooner or later it is longer than the guest takes to answer, however busy it is.
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

/// A byte stream that ends when `stop` is cancelled, and that cancels another token when it is dropped: whoever holds it
/// drops it exactly when the connection is over.
pub(super) struct Watched<T> {
    io: T,
    stop: Pin<Box<WaitForCancellationFutureOwned>>,
    _over: DropGuard,
}

impl<T> Watched<T> {
    pub(super) fn new(io: T, stop: &CancellationToken, over: CancellationToken) -> Self {
        Self { io, stop: Box::pin(stop.clone().cancelled_owned()), _over: over.drop_guard() }
    }

    fn check(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        match self.stop.as_mut().poll(cx) {
            Poll::Ready(()) => Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the link was closed")),
            Poll::Pending => Ok(()),
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Watched<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.check(cx)?;
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Watched<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.check(cx)?;
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
