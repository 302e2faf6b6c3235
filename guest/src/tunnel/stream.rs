//! A program's connection in the guest, joined to one stream of the tunnel.

use std::{convert::Infallible, io, sync::Arc, time::Duration};

use bytes::BytesMut;
use pilothouse_proto::{guest::v1::TunnelFrame, link::CHUNK};
use rustix::net::sockopt::set_socket_linger;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
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

/// Copies bytes from the gateway to the program until either has ended. `answered` tells afterwards whether there were any.
pub(crate) async fn receive(
    frames: &mut Streaming<TunnelFrame>,
    writer: &mut OwnedWriteHalf,
    answered: &mut bool,
) -> Result<(), Status> {
    while let Some(frame) = frames.message().await? {
        if writer.write_all(&frame.data).await.is_err() {
            return Ok(());
        }
        *answered = true;
    }
    Ok(())
}

/// Copies bytes from the program to the gateway, what it said `first` before the rest. When nobody takes the frames any more,
/// reads on to the end all the same.
pub(crate) async fn send(mut first: BytesMut, mut reader: OwnedReadHalf, frames: mpsc::Sender<TunnelFrame>) {
    let mut frames = Some(frames);
    let mut buffer = BytesMut::new();
    loop {
        if first.is_empty() {
            buffer.reserve(CHUNK);
            let mut piece = (&mut reader).take(CHUNK as u64);
            let Ok(1..) = piece.read_buf(&mut buffer).await else { return };
        } else {
            buffer = first.split_to(first.len().min(CHUNK));
        }
        let data = buffer.split().freeze();
        if let Some(open) = &frames
            && open.send(TunnelFrame { data }).await.is_err()
        {
            frames = None;
        }
    }
}

/// Ends a connection in good order. `sending` reads what the program still says.
pub(crate) async fn end(mut writer: OwnedWriteHalf, mut sending: JoinSet<()>) {
    let _ = writer.shutdown().await;
    // A socket that is closed with bytes unread takes back what was just written: the program closes first, if it does.
    let _ = timeout(LINGER, sending.join_next()).await;
}

/// Ends a connection by a reset, once nobody has its other half.
pub(crate) fn reset(writer: OwnedWriteHalf) {
    // Where that fails, the program is gone already.
    let _ = set_socket_linger(writer.as_ref(), Some(Duration::ZERO));
    // Dropped, it would end its direction in good order first.
    writer.forget();
}
