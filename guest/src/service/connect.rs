//! Connections to what programs in the guest serve.
//!
//! Each direction ends by itself, as in TCP. What its caller breaks, or a link that goes down, resets the connection: half a request
//! that ended in good order would be taken for a whole one. A caller says so by a message, since an HTTP/2 stream that hyper's client
//! drops may end in good order.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use bytes::BytesMut;
use pilothouse_proto::{
    guest::v1::{ConnectRequest, ConnectResponse, Connected, connect_request::Request, connect_response::Response},
    half::Half,
    link::{CHUNK, PIECE},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, tcp::OwnedReadHalf},
    sync::mpsc,
    time::timeout,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::guest::{Answers, Guest, QUIET};

/// Longest wait for a program to take a connection, which its backlog may be too full for.
const PATIENCE: Duration = Duration::from_secs(10);
/// Messages that wait for HTTP/2, of at most `CHUNK` bytes each.
const QUEUE: usize = 2;

pub(super) async fn open(
    guest: &Guest,
    mut requests: Streaming<ConnectRequest>,
) -> Result<Answers<ConnectResponse>, Status> {
    let permit = guest.0.connections.clone().try_acquire_owned();
    let permit = permit.map_err(|_| Status::resource_exhausted("too many connections at once into this session"))?;
    let Some(Request::Port(port)) = requests.message().await?.and_then(|message| message.request) else {
        return Err(Status::invalid_argument("a connection begins with `port`"));
    };
    let port = u16::try_from(port).ok().filter(|port| *port > 0);
    let port = port.ok_or_else(|| Status::invalid_argument("a port is a number from 1 to 65535"))?;
    if guest.is_quiet() {
        return Err(Status::unavailable(QUIET));
    }
    let stream = dial(port).await?;
    let (answers, receiver) = mpsc::channel(QUEUE);
    tokio::spawn(async move {
        tokio::select! {
            carried = carry(stream, requests, &answers) => {
                if let Err(status) = carried {
                    // Where nobody hears it, nobody is there to be told.
                    let _ = answers.send(Err(status)).await;
                }
            }
            () = answers.closed() => {}
        }
        drop(permit);
    });
    Ok(Box::pin(ReceiverStream::new(receiver)))
}

/// Carries both directions to their ends. What is dropped before, or fails, is reset.
async fn carry(
    stream: TcpStream,
    requests: Streaming<ConnectRequest>,
    answers: &mpsc::Sender<Result<ConnectResponse, Status>>,
) -> Result<(), Status> {
    let (reader, writer) = stream.into_split();
    tokio::try_join!(feed(requests, Half::new(writer)), drain(reader, answers))?;
    Ok(())
}

/// Copies bytes of the program to the host, and tells their end.
async fn drain(
    mut reader: OwnedReadHalf,
    answers: &mpsc::Sender<Result<ConnectResponse, Status>>,
) -> Result<(), Status> {
    let broke = |error: io::Error| Status::aborted(format!("the program broke the connection: {error}"));
    let mut buffer = BytesMut::new();
    let mut response = Response::Connected(Connected {});
    loop {
        let over = response == Response::End(true);
        let sent = answers.send(Ok(ConnectResponse { response: Some(response) })).await;
        if over || sent.is_err() {
            return Ok(());
        }
        buffer.reserve(PIECE);
        response = match (&mut reader).take(PIECE as u64).read_buf(&mut buffer).await.map_err(broke)? {
            0 => Response::End(true),
            _ => Response::Data(buffer.split().freeze()),
        };
    }
}

/// Connects to a program that listens on the loopback, by IPv4 or else by IPv6.
async fn dial(port: u16) -> Result<TcpStream, Status> {
    let dialled = timeout(PATIENCE, async {
        match TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                TcpStream::connect((Ipv6Addr::LOCALHOST, port)).await.map_err(|_| error)
            }
            other => other,
        }
    });
    let stream = dialled
        .await
        .map_err(|_| Status::failed_precondition(format!("the program on port {port} takes no connection")))?
        .map_err(|_| Status::failed_precondition(format!("nothing listens on port {port} in the session")))?;
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

/// Copies bytes to the program. What is out of bounds breaks the connection; a well-behaved host sends no such thing.
async fn feed(mut requests: Streaming<ConnectRequest>, mut program: Half) -> Result<(), Status> {
    while let Some(message) = requests.message().await? {
        match message.request {
            Some(Request::Data(bytes)) if bytes.len() <= CHUNK => {
                if program.write_all(&bytes).await.is_err() {
                    // The program reads no more; what it still says is its own matter.
                    return Ok(());
                }
            }
            Some(Request::Reset(_)) => return Err(Status::cancelled("the host broke the connection")),
            _ => return Err(Status::invalid_argument("a connection carries pieces of at most 64 KiB")),
        }
    }
    program.end().await;
    Ok(())
}
