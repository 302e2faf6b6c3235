//! Connections to what programs in the guest serve.

use std::io;

use bytes::Bytes;
use pilothouse_proto::guest::v1::{
    ConnectRequest, ConnectResponse, QuiesceRequest, connect_request::Request, connect_response::Response,
    guest_client::GuestClient,
};
use pilothouse_proto::link::NONCE;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional, duplex},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::mpsc,
    time::timeout,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming, transport::Channel};

use crate::support::{Host, client, greet, handshake, shake};

/// Nothing here takes longer.
const DEADLINE: std::time::Duration = std::time::Duration::from_secs(10);

fn request(request: Request) -> ConnectRequest {
    ConnectRequest { request: Some(request) }
}

/// A connection to a port, from the host's side.
async fn connect(
    client: &mut GuestClient<Channel>,
    port: u16,
) -> Result<(mpsc::Sender<ConnectRequest>, Streaming<ConnectResponse>), Status> {
    let (requests, receiver) = mpsc::channel(4);
    requests.send(request(Request::Port(port.into()))).await.unwrap();
    let answers = client.connect(ReceiverStream::new(receiver)).await?.into_inner();
    Ok((requests, answers))
}

async fn next(answers: &mut Streaming<ConnectResponse>) -> Result<Option<Response>, Status> {
    let message = timeout(DEADLINE, answers.message()).await.unwrap()?;
    Ok(message.map(|message| message.response.unwrap()))
}

async fn server() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

async fn accept(listener: &TcpListener) -> TcpStream {
    timeout(DEADLINE, listener.accept()).await.unwrap().unwrap().0
}

#[tokio::test]
async fn each_direction_ends_by_itself() {
    let mut client = Host::new().connect().await;
    let (listener, port) = server().await;
    let (requests, mut answers) = connect(&mut client, port).await.unwrap();
    assert!(matches!(next(&mut answers).await.unwrap(), Some(Response::Connected(_))));
    let mut stream = accept(&listener).await;
    // The program ends first, and reads on.
    stream.write_all(b"hello").await.unwrap();
    stream.shutdown().await.unwrap();
    assert_eq!(next(&mut answers).await.unwrap(), Some(Response::Data(Bytes::from_static(b"hello"))));
    assert_eq!(next(&mut answers).await.unwrap(), Some(Response::End(true)));
    requests.send(request(Request::Data(Bytes::from_static(b"goodbye")))).await.unwrap();
    drop(requests);
    let mut said = String::new();
    stream.read_to_string(&mut said).await.unwrap();
    assert_eq!(said, "goodbye");
    assert_eq!(next(&mut answers).await.unwrap(), None);
    // The other way around.
    let (requests, mut answers) = connect(&mut client, port).await.unwrap();
    assert!(matches!(next(&mut answers).await.unwrap(), Some(Response::Connected(_))));
    let mut stream = accept(&listener).await;
    drop(requests);
    assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
    stream.write_all(b"hello").await.unwrap();
    drop(stream);
    assert_eq!(next(&mut answers).await.unwrap(), Some(Response::Data(Bytes::from_static(b"hello"))));
    assert_eq!(next(&mut answers).await.unwrap(), Some(Response::End(true)));
    assert_eq!(next(&mut answers).await.unwrap(), None);
}

#[tokio::test]
async fn who_breaks_a_connection_has_it_reset() {
    let host = Host::new();
    let mut io = host.wire().await;
    greet(&mut io, [7; NONCE]).await;
    shake(&mut io, handshake(1)).await.unwrap();
    let (near, mut far) = duplex(64 << 10);
    let link = tokio::spawn(async move { copy_bidirectional(&mut io, &mut far).await });
    let mut client = client(near).await;
    let (listener, port) = server().await;
    // What is out of bounds breaks it as well.
    for last in [Request::Reset(true), Request::Port(1)] {
        let (requests, mut answers) = connect(&mut client, port).await.unwrap();
        let mut stream = accept(&listener).await;
        requests.send(request(last)).await.unwrap();
        let error = timeout(DEADLINE, stream.read(&mut [0])).await.unwrap().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        while let Ok(Some(_)) = next(&mut answers).await {}
    }

    let calls = connect(&mut client, port).await.unwrap();
    let mut stream = accept(&listener).await;
    link.abort();
    let error = timeout(DEADLINE, stream.read(&mut [0])).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    drop(calls);
}

#[tokio::test]
async fn a_program_that_breaks_a_connection_breaks_the_call() {
    let mut client = Host::new().connect().await;
    let (listener, port) = server().await;
    let (_requests, mut answers) = connect(&mut client, port).await.unwrap();
    let stream = accept(&listener).await;
    rustix::net::sockopt::set_socket_linger(&stream, Some(std::time::Duration::ZERO)).unwrap();
    drop(stream);
    assert!(matches!(next(&mut answers).await.unwrap(), Some(Response::Connected(_))));
    assert_eq!(next(&mut answers).await.unwrap_err().code(), Code::Aborted);
}

#[tokio::test]
async fn refusals_say_why() {
    let mut client = Host::new().connect().await;
    // It is bound, and nobody listens on it.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let port = socket.local_addr().unwrap().port();
    let refused = connect(&mut client, port).await.unwrap_err();
    let told = format!("nothing listens on port {port} in the session");
    assert_eq!((refused.code(), refused.message()), (Code::FailedPrecondition, told.as_str()));
    assert_eq!(connect(&mut client, 0).await.unwrap_err().code(), Code::InvalidArgument);
    client.quiesce(QuiesceRequest { freeze: true, trim: false }).await.unwrap();
    assert_eq!(connect(&mut client, port).await.unwrap_err().code(), Code::Unavailable);
}

/// A page's server may listen on ::1 alone, as Node's do for `localhost`.
#[tokio::test]
async fn a_program_that_listens_by_ipv6_alone_is_found() {
    let Ok(listener) = TcpListener::bind("[::1]:0").await else {
        return assert!(!std::path::Path::new("/proc/net/if_inet6").exists(), "this machine has IPv6");
    };
    let mut client = Host::new().connect().await;
    let (_requests, mut answers) = connect(&mut client, listener.local_addr().unwrap().port()).await.unwrap();
    drop(accept(&listener).await);
    assert!(matches!(next(&mut answers).await.unwrap(), Some(Response::Connected(_))));
}
