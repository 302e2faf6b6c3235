//! The proxy that programs find in HTTP_PROXY: carries each connection to the host's gateway, and understands none of it but
//! what is for the guest itself.

mod own;

use std::{convert::Infallible, io};

use bytes::BytesMut;
use pilothouse_proto::guest::v1::TunnelFrame;
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpListener, TcpStream, tcp::OwnedWriteHalf},
    sync::mpsc,
    task::JoinSet,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};

use crate::tunnel::{
    Gateway,
    stream::{self, QUEUE, TUNNEL_WITHIN, end, reset, send},
};

/// Address that the proxy listens on.
pub const ADDRESS: &str = "127.0.0.1:3128";

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
    stream::accept(listener, |stream| carry(stream, gateway.clone())).await
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
            sending.shutdown().await;
            return reset(writer);
        }
        let Refusal { status, text } = refusal;
        let length = text.len() + 1;
        let head = "Content-Type: text/plain; charset=utf-8\r\nConnection: close";
        let answer = format!("HTTP/1.1 {status}\r\n{head}\r\nContent-Length: {length}\r\n\r\n{text}\n");
        let _ = writer.write_all(answer.as_bytes()).await;
    }
    end(writer, sending).await;
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
    stream::receive(&mut frames, writer, answered).await.map_err(|s| refusal(&s))
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
