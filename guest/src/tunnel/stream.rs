//! A program's connection in the guest, joined to one stream of the tunnel.

use std::{convert::Infallible, io, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use pilothouse_proto::{
    guest::v1::TunnelFrame,
    half::Half,
    link::{CHUNK, PIECE},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, tcp::OwnedReadHalf},
    sync::{Semaphore, mpsc},
    task::JoinSet,
    time::{sleep, timeout},
};
use tonic::{Status, Streaming};

/// Longest wait for the tunnel to come back before a program is told that it is gone.
pub(crate) const TUNNEL_WITHIN: Duration = Duration::from_secs(5);
/// Most frames that may wait for HTTP/2.
pub(crate) const QUEUE: usize = 2;
/// Most connections of one listener at a time; more wait.
const CONNECTIONS_MAX: usize = 256;
/// Longest time for a program to close a connection that is over.
const LINGER: Duration = Duration::from_secs(2);
/// Pause after an accept that failed, e.g. for want of file descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// Carries each connection that a listener takes, for ever.
///
/// # Errors
/// None so far: what can fail is tried again.
pub(crate) async fn accept<F>(listener: TcpListener, carry: impl Fn(TcpStream) -> F) -> io::Result<Infallible>
where
    F: Future<Output = ()> + Send + 'static,
{
    let free = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let permit = free.clone().acquire_owned().await.map_err(io::Error::other)?;
        match listener.accept().await {
            Err(_) => sleep(PAUSE).await,
            Ok((stream, _)) => {
                let _ = stream.set_nodelay(true);
                let carried = carry(stream);
                tokio::spawn(async move {
                    carried.await;
                    drop(permit);
                });
            }
        }
    }
}

/// A piece of what a program says.
pub(crate) fn said(data: impl Into<Bytes>) -> TunnelFrame {
    TunnelFrame { data: data.into(), takes_end: true, ..TunnelFrame::default() }
}

/// How a stream of the gateway has ended for a program that was there.
pub(crate) enum Received {
    /// In good order.
    Whole,
    /// The program takes nothing more.
    Unheard,
}

/// Copies bytes from the gateway to the program until the stream ends, which it does when both directions have: the world may end its
/// own before that. `answered` tells afterwards whether there were any.
pub(crate) async fn receive(
    frames: &mut Streaming<TunnelFrame>,
    program: &mut Half,
    answered: &mut bool,
) -> Result<Received, Status> {
    while let Some(frame) = frames.message().await? {
        if !frame.data.is_empty() {
            if program.write_all(&frame.data).await.is_err() {
                return Ok(Received::Unheard);
            }
            *answered = true;
        }
        if frame.end {
            program.end().await;
        }
    }
    Ok(Received::Whole)
}

/// Copies bytes from the program to the gateway, what it said `first` before the rest, and tells how they end. When nobody takes the
/// frames any more, reads on to the end all the same.
pub(crate) async fn send(mut first: BytesMut, mut reader: OwnedReadHalf, frames: mpsc::Sender<TunnelFrame>) {
    let mut frames = Some(frames);
    let mut buffer = BytesMut::new();
    loop {
        let mut frame = TunnelFrame { takes_end: true, ..TunnelFrame::default() };
        if first.is_empty() {
            buffer.reserve(PIECE);
            let mut piece = (&mut reader).take(PIECE as u64);
            match piece.read_buf(&mut buffer).await {
                Ok(0) => return,
                Ok(_) => frame.data = buffer.split().freeze(),
                Err(_) => frame.reset = true,
            }
        } else {
            frame.data = first.split_to(first.len().min(CHUNK)).freeze();
        }
        let over = frame.reset;
        if let Some(open) = &frames
            && open.send(frame).await.is_err()
        {
            frames = None;
        }
        if over {
            return;
        }
    }
}

/// Ends a connection in good order. `sending` reads what the program still says.
pub(crate) async fn end(mut program: Half, mut sending: JoinSet<()>) {
    program.end().await;
    // A socket that is closed with bytes unread takes back what was just written: the program closes first, if it does.
    let _ = timeout(LINGER, sending.join_next()).await;
}

/// Resets a connection of which `sending` reads what the program still says.
pub(crate) async fn reset(program: Half, mut sending: JoinSet<()>) {
    sending.shutdown().await;
    program.reset();
}

/// Ends a connection whose program takes nothing more. Where it has broken it, `sending` says so to the gateway.
pub(crate) async fn give_up(program: Half, mut sending: JoinSet<()>) {
    let _ = timeout(LINGER, sending.join_next()).await;
    program.reset();
}
