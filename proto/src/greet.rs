//! The guest's half of the preamble, over any stream of bytes.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader, ReadBuf,
};

use crate::link::{MAGIC, NONCE, Scanner, preamble};

/// A connection after its preamble.
#[derive(Debug)]
pub struct Greeted<T> {
    /// Read already, to see that it is no preamble.
    first: Bytes,
    io: BufReader<T>,
}

/// Skips to the host's preamble and answers it, and every one that follows it at once: a host that waits for an answer sends
/// one after another, and goes on with the last. On both ports the host speaks first after that (an HTTP/2 server does not
/// wait for its client), so the first bytes that are no preamble are HTTP/2's.
///
/// # Errors
/// The connection ended.
pub async fn greet<T: AsyncRead + AsyncWrite + Unpin>(io: T) -> io::Result<Greeted<T>> {
    // Later reads are larger than this buffer and bypass it.
    let mut io = BufReader::with_capacity(4096, io);
    skip_magic(&mut io).await?;
    loop {
        answer(&mut io).await?;
        let mut first = [0; MAGIC.len()];
        io.read_exact(&mut first).await?;
        if first != MAGIC {
            return Ok(Greeted { first: Bytes::copy_from_slice(&first), io });
        }
    }
}

async fn skip_magic<T: AsyncRead + Unpin>(io: &mut BufReader<T>) -> io::Result<()> {
    let mut scanner = Scanner::new(MAGIC);
    loop {
        let piece = io.fill_buf().await?;
        if piece.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let length = piece.len();
        let found = scanner.find(piece);
        io.consume(found.unwrap_or(length));
        if found.is_some() {
            return Ok(());
        }
    }
}

/// Reads the nonce after the magic and sends both back.
async fn answer<T: AsyncRead + AsyncWrite + Unpin>(io: &mut BufReader<T>) -> io::Result<()> {
    let mut nonce = [0; NONCE];
    io.read_exact(&mut nonce).await?;
    io.write_all(&preamble(nonce)).await?;
    io.flush().await
}

impl<T: AsyncRead + Unpin> AsyncRead for Greeted<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.first.is_empty() {
            return Pin::new(&mut self.io).poll_read(cx, buffer);
        }
        let length = self.first.len().min(buffer.remaining());
        buffer.put_slice(&self.first.split_to(length));
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Greeted<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
