//! How a connection begins, over any stream of bytes: the guest's half of the preamble, and the link's handshake.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use prost::Message;
use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader, ReadBuf,
};
use tonic::{Request, Response, Status};

use crate::{
    guest::v1::{HandshakeAnswer, HandshakeRequest, HandshakeResponse, guest_server::Guest, handshake_answer::Answer},
    link::{FRAME_MAX, MAGIC, NONCE, Scanner, preamble},
};

/// A connection after its preamble.
#[derive(Debug)]
pub struct Greeted<T> {
    /// Bytes that were read already, to see that they are no preamble.
    first: Bytes,
    io: BufReader<T>,
}

/// Skips to the host's preamble and answers it, and every one that follows it at once: a host that waits for an answer sends
/// one after another, and goes on with the last. On both ports the host speaks first after that: on the link with its
/// handshake, on the tunnel as an HTTP/2 server, which does not wait for its client.
///
/// # Errors
/// The connection ended.
pub async fn greet<T: AsyncRead + AsyncWrite + Unpin>(io: T) -> io::Result<Greeted<T>> {
    // Preamble and handshake in one; later reads are larger than this buffer and bypass it.
    let mut io = BufReader::with_capacity(512, io);
    skip_magic(&mut io).await?;
    answer(&mut io).await?;
    let mut greeted = Greeted { first: Bytes::new(), io };
    greeted.begins_anew().await?;
    Ok(greeted)
}

impl<T: AsyncRead + AsyncWrite + Unpin> Greeted<T> {
    /// Waits for what the host says next. True: another preamble, which is answered, and so is every one that follows it at
    /// once. False: something else, which is still to be read.
    ///
    /// # Errors
    /// The connection ended.
    pub async fn begins_anew(&mut self) -> io::Result<bool> {
        let mut anew = false;
        loop {
            let mut first = [0; MAGIC.len()];
            self.read_exact(&mut first).await?;
            if first != MAGIC {
                self.first = Bytes::copy_from_slice(&first);
                return Ok(anew);
            }
            answer(&mut self.io).await?;
            anew = true;
        }
    }
}

/// Does the guest's half of the handshake, and once more for as long as a host that did not hear of it in time begins anew.
/// False: the guest refused, and the connection is over.
///
/// # Errors
/// The connection ended, or what came is no handshake.
pub async fn shake<T: AsyncRead + AsyncWrite + Unpin>(io: &mut Greeted<T>, guest: &impl Guest) -> io::Result<bool> {
    loop {
        let request: HandshakeRequest = receive(io).await?;
        let shaken = guest.handshake(Request::new(request)).await.map(Response::into_inner);
        let refused = shaken.is_err();
        send(io, &reply(shaken)).await?;
        if refused || !io.begins_anew().await? {
            return Ok(!refused);
        }
    }
}

/// The answer to a handshake, which asks for nothing more.
#[must_use]
pub fn reply(shaken: Result<HandshakeResponse, Status>) -> HandshakeAnswer {
    let answer = match shaken {
        Ok(response) => Answer::Shaken(response),
        Err(status) => Answer::Refused(status.message().into()),
    };
    HandshakeAnswer { answer: Some(answer), asks_clock: false }
}

/// Sends one message as [`framed`] makes it.
///
/// # Errors
/// The connection ended, or the message has more than [`FRAME_MAX`] bytes.
pub async fn send(io: &mut (impl AsyncWrite + Unpin), message: &impl Message) -> io::Result<()> {
    io.write_all(&framed(message)?).await?;
    io.flush().await
}

/// Encodes one message behind its length in four bytes, big-endian.
///
/// # Errors
/// It has more than [`FRAME_MAX`] bytes.
pub fn framed(message: &impl Message) -> io::Result<Vec<u8>> {
    let length = message.encoded_len();
    let header = u32::try_from(length).ok().filter(|_| length <= FRAME_MAX).ok_or(io::ErrorKind::InvalidInput)?;
    let mut bytes = Vec::with_capacity(4 + length);
    bytes.extend(header.to_be_bytes());
    message.encode(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes)
}

/// Receives a message that [`send`] has sent.
///
/// # Errors
/// The connection ended, or what came is no such message, or a longer one than [`FRAME_MAX`].
pub async fn receive<M: Message + Default>(io: &mut (impl AsyncRead + Unpin)) -> io::Result<M> {
    let length = usize::try_from(io.read_u32().await?).ok().filter(|&length| length <= FRAME_MAX);
    let mut bytes = vec![0; length.ok_or(io::ErrorKind::InvalidData)?];
    io.read_exact(&mut bytes).await?;
    M::decode(bytes.as_slice()).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
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

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
