//! The proxy that programs find in HTTP_PROXY: carries each connection to the host's gateway, and understands none of it but
//! what is for the guest itself.

mod own;

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
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};

use crate::tunnel::Gateway;

/// Address that the proxy listens on.
pub const ADDRESS: &str = "127.0.0.1:3128";
/// Most connections at a time; more wait.
const CONNECTIONS_MAX: usize = 256;
/// Longest wait for the tunnel to come back before a program is told that it is gone.
const TUNNEL_WITHIN: Duration = Duration::from_secs(5);
/// Most frames that may wait for HTTP/2.
const QUEUE: usize = 2;
/// Longest time for a program to close a connection that is over.
const LINGER: Duration = Duration::from_secs(2);
/// Pause after an accept that failed, e.g. for want of file descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// Listens on [`ADDRESS`], for ever.
///
/// # Errors
/// The address is taken.
pub async fn run(gateway: Gateway) -> io::Result<Infallible> {
    serve(TcpListener::bind(ADDRESS).await?, gateway).await
}

/// Serves a listener, for ever.
///
/// # Errors
/// None so far: what can fail is tried again.
pub async fn serve(listener: TcpListener, gateway: Gateway) -> io::Result<Infallible> {
    let free = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let permit = free.clone().acquire_owned().await.map_err(io::Error::other)?;
        match listener.accept().await {
            Err(_) => sleep(PAUSE).await,
            Ok((stream, _)) => {
                let gateway = gateway.clone();
                tokio::spawn(async move {
                    carry(stream, gateway).await;
                    drop(permit);
                });
            }
        }
    }
}

/// Why a connection came to nothing, in HTTP's terms.
struct Refusal {
    status: &'static str,
    text: String,
}

/// Carries one connection: the end of the gateway's direction ends it, that of the program's direction does not. A stream that was
/// cut, by a suspend or by what lies beyond the gateway, is cut for the program as well: half an answer that ends in good order would
/// be taken for a whole one.
async fn carry(mut stream: TcpStream, gateway: Gateway) {
    let _ = stream.set_nodelay(true);
    let mut first = BytesMut::new();
    if let Some(own) = own::wanted(&mut stream, &mut first).await {
        return own::carry(stream, own).await;
    }
    let (reader, mut writer) = stream.into_split();
    let (frames, outbound) = mpsc::channel(QUEUE);
    let mut sending = JoinSet::new();
    sending.spawn(send(first, reader, frames));
    let mut answered = false;
    if let Err(refusal) = receive(&gateway, outbound, &mut writer, &mut answered).await {
        if answered {
            return reset(writer, sending).await;
        }
        let Refusal { status, text } = refusal;
        let length = text.len() + 1;
        let head = "Content-Type: text/plain; charset=utf-8\r\nConnection: close";
        let answer = format!("HTTP/1.1 {status}\r\n{head}\r\nContent-Length: {length}\r\n\r\n{text}\n");
        let _ = writer.write_all(answer.as_bytes()).await;
    }
    let _ = writer.shutdown().await;
    // A socket that is closed with bytes unread takes back what was just written: the program closes first, if it does.
    let _ = timeout(LINGER, sending.join_next()).await;
}

/// Ends a connection by a reset.
async fn reset(writer: OwnedWriteHalf, mut sending: JoinSet<()>) {
    // Where that fails, the program is gone already.
    let _ = set_socket_linger(writer.as_ref(), Some(Duration::ZERO));
    sending.shutdown().await;
    // Dropped, it would end its direction in good order first.
    writer.forget();
}

/// Copies bytes from the gateway to the program.
async fn receive(
    gateway: &Gateway,
    outbound: mpsc::Receiver<TunnelFrame>,
    writer: &mut OwnedWriteHalf,
    answered: &mut bool,
) -> Result<(), Refusal> {
    let down = || Refusal {
        status: "503 Service Unavailable",
        text: "pilothouse: the tunnel to the host is down; try again later".into(),
    };
    let mut client = gateway.client(TUNNEL_WITHIN).await.ok_or_else(down)?;
    let mut frames = client.tunnel(ReceiverStream::new(outbound)).await.map_err(|s| refusal(&s))?.into_inner();
    while let Some(frame) = frames.message().await.map_err(|s| refusal(&s))? {
        if writer.write_all(&frame.data).await.is_err() {
            return Ok(());
        }
        *answered = true;
    }
    Ok(())
}

fn refusal(status: &Status) -> Refusal {
    match status.code() {
        Code::ResourceExhausted => {
            Refusal { status: "503 Service Unavailable", text: format!("pilothouse: {}", status.message()) }
        }
        _ => Refusal {
            status: "502 Bad Gateway",
            text: format!("pilothouse: the connection to the host was lost: {}", status.message()),
        },
    }
}

/// Copies bytes from the program to the gateway, what it said `first` before the rest. When nobody takes the frames any more,
/// reads on to the end all the same.
async fn send(mut first: BytesMut, mut reader: OwnedReadHalf, frames: mpsc::Sender<TunnelFrame>) {
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
