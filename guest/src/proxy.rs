//! The proxy that programs find in HTTP_PROXY: carries each connection to the host's gateway, and understands none of it but
//! what is for the guest itself.

mod own;

use std::{convert::Infallible, io};

use bytes::BytesMut;
use pilothouse_proto::{guest::v1::TunnelFrame, half::Half};
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::JoinSet,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};

use crate::tunnel::{
    Gateway,
    stream::{self, QUEUE, Received, TUNNEL_WITHIN, end, give_up, reset, send},
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

/// Carries one connection, of which each direction ends by itself. A stream that was cut, by a suspend or by what lies beyond the
/// gateway, is cut for the program as well: half an answer that ends in good order would be taken for a whole one.
async fn carry(mut stream: TcpStream, gateway: Gateway) {
    let mut first = BytesMut::new();
    if let Some(own) = own::wanted(&mut stream, &mut first).await {
        return own::carry(stream, own).await;
    }
    let (reader, writer) = stream.into_split();
    let mut program = Half::new(writer);
    let (frames, outbound) = mpsc::channel(QUEUE);
    let mut sending = JoinSet::new();
    sending.spawn(send(first, reader, frames));
    let mut answered = false;
    match receive(&gateway, outbound, &mut program, &mut answered).await {
        Ok(Received::Whole) => {}
        Ok(Received::Unheard) => return give_up(program, sending).await,
        Err(_) if answered => return reset(program, sending).await,
        Err(Refusal { status, text }) => {
            let length = text.len() + 1;
            let head = "Content-Type: text/plain; charset=utf-8\r\nConnection: close";
            let answer = format!("HTTP/1.1 {status}\r\n{head}\r\nContent-Length: {length}\r\n\r\n{text}\n");
            let _ = program.write_all(answer.as_bytes()).await;
        }
    }
    end(program, sending).await;
}

/// Copies bytes from the gateway to the program.
async fn receive(
    gateway: &Gateway,
    outbound: mpsc::Receiver<TunnelFrame>,
    program: &mut Half,
    answered: &mut bool,
) -> Result<Received, Refusal> {
    let down = || Refusal {
        status: "503 Service Unavailable",
        text: "pilothouse: the tunnel to the host is down; try again later".into(),
    };
    let mut client = gateway.client(TUNNEL_WITHIN).await.ok_or_else(down)?;
    let mut frames = client.tunnel(ReceiverStream::new(outbound)).await.map_err(|s| refusal(&s))?.into_inner();
    stream::receive(&mut frames, program, answered).await.map_err(|s| refusal(&s))
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
