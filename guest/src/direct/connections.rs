//! Connections that were steered, each a stream of the tunnel.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use bytes::BytesMut;
use pilothouse_proto::{guest::v1::TunnelFrame, half::Half};
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpListener, TcpStream, tcp::OwnedReadHalf},
    sync::mpsc,
    task::JoinSet,
    time::timeout,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use super::names::{Destination, Names};
use crate::tunnel::{
    Gateway,
    stream::{QUEUE, Received, TUNNEL_WITHIN, accept, end, give_up, receive, reset, said, send},
};

/// Longest head of the gateway's answer, in bytes.
const HEAD: usize = 16 << 10;
/// Longest refusal that is passed on, in bytes.
const REFUSAL: usize = 64 << 10;
/// Port on which programs speak HTTP, so that a refusal can be told.
const HTTP: u16 = 80;
/// Longest wait for the request that a refusal is the answer to.
const REQUEST_WITHIN: Duration = Duration::from_secs(10);

/// Serves a listener that connections to anywhere are steered to, for ever. Their local end says where to; one to the listener's own
/// address leads nowhere.
///
/// # Errors
/// The listener has no address. What else can fail is tried again.
pub async fn serve(listener: TcpListener, names: Arc<Names>, gateway: Gateway) -> io::Result<Infallible> {
    let own = listener.local_addr()?;
    accept(listener, |stream| {
        let (names, gateway) = (names.clone(), gateway.clone());
        async move {
            let to = stream.local_addr().ok().filter(|to| *to != own);
            carry(stream, to, &names, &gateway).await;
        }
    })
    .await
}

/// Carries one connection. One that comes to nothing, or is cut by what lies beyond the gateway, is reset.
async fn carry(stream: TcpStream, to: Option<SocketAddr>, names: &Names, gateway: &Gateway) {
    let to = to.and_then(|to| Some((names.destination(to.ip().to_canonical())?, to.port())));
    let (reader, writer) = stream.into_split();
    let (mut program, mut sending) = (Half::new(writer), JoinSet::new());
    let opened = match &to {
        None => None,
        Some((to, port)) => open(gateway, to, *port).await.map(|opened| (opened, *port)),
    };
    match opened {
        None => reset(program, sending).await,
        Some((Opened::Refused(text), port)) => {
            let told = port == HTTP && asks(&reader).await;
            // What else the program says is read, and goes nowhere.
            sending.spawn(send(BytesMut::new(), reader, mpsc::channel(1).0));
            if told && program.write_all(&text).await.is_ok() {
                end(program, sending).await;
            } else {
                reset(program, sending).await;
            }
        }
        Some((Opened::Stream { first, mut frames, outbound }, _)) => {
            sending.spawn(send(BytesMut::new(), reader, outbound));
            let received = match program.write_all(&first).await {
                Ok(()) => receive(&mut frames, &mut program, &mut false).await,
                Err(_) => Ok(Received::Unheard),
            };
            match received {
                Ok(Received::Whole) => end(program, sending).await,
                Ok(Received::Unheard) => give_up(program, sending).await,
                Err(_) => reset(program, sending).await,
            }
        }
    }
}

/// What the gateway made of a CONNECT.
enum Opened {
    Stream {
        /// Bytes of the other end that came with the answer.
        first: BytesMut,
        frames: Box<Streaming<TunnelFrame>>,
        outbound: mpsc::Sender<TunnelFrame>,
    },
    /// A whole answer in HTTP that says why not.
    Refused(BytesMut),
}

/// Asks the gateway to connect. None: it cannot be asked.
async fn open(gateway: &Gateway, to: &Destination<'_>, port: u16) -> Option<Opened> {
    let host = &to.host;
    let ask = format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n");
    let (outbound, inbound) = mpsc::channel(QUEUE);
    outbound.try_send(said(ask)).ok()?;
    let mut client = gateway.client(TUNNEL_WITHIN).await?;
    let mut frames = client.tunnel(ReceiverStream::new(inbound)).await.ok()?.into_inner();
    let mut answer = BytesMut::new();
    let head = loop {
        if let Some(end) = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            break end + 4;
        }
        if answer.len() > HEAD {
            return None;
        }
        answer.extend_from_slice(&frames.message().await.ok()??.data);
    };
    if answer[..head].split(|&byte| byte == b' ').nth(1) == Some(b"200") {
        let frames = Box::new(frames);
        return Some(Opened::Stream { first: answer.split_off(head), frames, outbound });
    }
    while answer.len() < REFUSAL
        && let Ok(Some(frame)) = frames.message().await
    {
        answer.extend_from_slice(&frame.data);
    }
    Some(Opened::Refused(answer))
}

/// Whether a program sends a request, which a refusal can be the answer to.
async fn asks(reader: &OwnedReadHalf) -> bool {
    let mut first = [0; 16];
    let length = timeout(REQUEST_WITHIN, reader.as_ref().peek(&mut first)).await;
    length.is_ok_and(|length| length.is_ok_and(|length| is_request(&first[..length])))
}

/// Whether bytes begin like a request in HTTP/1: a method in capital letters.
fn is_request(first: &[u8]) -> bool {
    let method = first.split(|&byte| byte == b' ').next().unwrap_or_default();
    !method.is_empty() && method.iter().all(u8::is_ascii_uppercase)
}
