//! Connections that ask no proxy, and the resolver. Steered they are in a VM alone; here their addresses are the loopback's.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use futures::{Stream, StreamExt as _};
use guest::{
    direct::{self, Names},
    tunnel,
};
use pilothouse_proto::guest::v1::{AskRequest, AskResponse, TunnelFrame, gateway_server::Gateway};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream},
    net::{TcpListener, TcpStream, UdpSocket},
    sync::mpsc,
    time::timeout,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::support::{Connections, cut, tunnel_to};

/// Says to which destination a CONNECT is, and then everything back; refuses what begins with `denied`.
struct Judge;

#[tonic::async_trait]
impl Gateway for Judge {
    type TunnelStream = Pin<Box<dyn Stream<Item = Result<TunnelFrame, Status>> + Send>>;

    async fn tunnel(&self, request: Request<Streaming<TunnelFrame>>) -> Result<Response<Self::TunnelStream>, Status> {
        let mut frames = request.into_inner();
        let (answers, receiver) = mpsc::channel(4);
        tokio::spawn(async move {
            let first = frames.next().await.unwrap().unwrap().data;
            let head = String::from_utf8(first.to_vec()).unwrap();
            let target = head.strip_prefix("CONNECT ").unwrap().split(' ').next().unwrap().to_owned();
            assert!(head.ends_with("\r\n\r\n") && head.contains(&format!("\r\nHost: {target}\r\n")), "{head}");
            let say = async |text: String| {
                answers.send(Ok(TunnelFrame { data: text.into(), ..TunnelFrame::default() })).await
            };
            if target.starts_with("denied") {
                say("HTTP/1.1 403 no\r\nContent-Length: 14\r\n\r\n".into()).await.unwrap();
                say("it is refused\n".into()).await.unwrap();
                return;
            }
            // In pieces, as the link may cut them; the last has bytes of the other end.
            say("HTTP/1.1 200 OK\r\n\r".into()).await.unwrap();
            say(format!("\nto {target}\n")).await.unwrap();
            while let Some(Ok(frame)) = frames.next().await {
                answers.send(Ok(frame)).await.unwrap();
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn ask(&self, _: Request<AskRequest>) -> Result<Response<AskResponse>, Status> {
        Err(Status::unimplemented("not here"))
    }
}

struct Guest {
    names: Arc<Names>,
    port: u16,
    wires: mpsc::Sender<DuplexStream>,
}

impl Guest {
    /// One whose connections arrive at this port; 0: any.
    async fn new(port: u16) -> Self {
        let (wires, receiver) = mpsc::channel(1);
        let gateway = tunnel::Gateway::default();
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let names = Arc::new(Names::new((Ipv4Addr::new(127, 18, 0, 0), 15)));
        tokio::spawn(tunnel::keep(Connections(receiver), gateway.clone()));
        tokio::spawn(direct::serve(listener, names.clone(), gateway));
        Self { names, port, wires }
    }

    async fn dial(&self, to: impl Into<IpAddr>) -> TcpStream {
        TcpStream::connect((to.into(), self.port)).await.unwrap()
    }

    /// A program's connection is reset without a byte, whatever it says. It is told where it reads, where it writes or
    /// where it connects: that asks for the socket's error once it is connected, and the reset may be there by then.
    async fn resets(&self, to: impl Into<IpAddr>, says: &[u8]) {
        let mut heard = vec![];
        let talk = async {
            let mut program = TcpStream::connect((to.into(), self.port)).await?;
            program.write_all(says).await?;
            program.read_to_end(&mut heard).await
        };
        let error = timeout(Duration::from_secs(30), talk).await.expect("no end").unwrap_err();
        assert_eq!((error.kind(), heard), (std::io::ErrorKind::ConnectionReset, vec![]));
    }
}

#[tokio::test]
async fn a_connection_goes_to_the_name_that_its_address_stands_for() {
    let guest = Guest::new(0).await;
    let host = tunnel_to(&guest.wires, Judge).await;
    let named = guest.names.address("api.example").unwrap();
    for (address, target) in [(named, "api.example"), (Ipv4Addr::new(127, 9, 9, 9), "127.9.9.9")] {
        let mut program = guest.dial(address).await;
        program.write_all(b"hello").await.unwrap();
        program.shutdown().await.unwrap();
        let mut said = String::new();
        timeout(Duration::from_secs(30), program.read_to_string(&mut said)).await.unwrap().unwrap();
        assert_eq!(said, format!("to {target}:{}\nhello", guest.port));
    }
    // One that stands for no name, and one that is cut under way.
    guest.resets(Ipv4Addr::new(127, 18, 1, 1), b"").await;
    let mut program = guest.dial(named).await;
    let mut first = [0; 2];
    program.read_exact(&mut first).await.unwrap();
    host.abort();
    assert!(cut(program).await.ends_with(&format!(":{}\n", guest.port)));
}

#[tokio::test]
async fn what_is_refused_is_reset_also_where_the_program_says_nothing() {
    let guest = Guest::new(0).await;
    let _host = tunnel_to(&guest.wires, Judge).await;
    let denied = guest.names.address("denied.example").unwrap();
    guest.resets(denied, b"").await;
    // Its port is none of HTTP.
    guest.resets(denied, b"GET / HTTP/1.1\r\n\r\n").await;
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_reset_where_the_tunnel_stays_down() {
    let guest = Guest::new(0).await;
    let named = guest.names.address("api.example").unwrap();
    guest.resets(named, b"").await;
}

async fn resolver() -> (SocketAddr, Arc<Names>) {
    let datagrams = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = datagrams.local_addr().unwrap();
    let streams = TcpListener::bind(address).await.unwrap();
    let names = Arc::new(Names::new(direct::NETWORK));
    tokio::spawn(direct::resolve(datagrams, streams, names.clone()));
    (address, names)
}

const QUERY: &[u8] = b"\xab\xcd\x01\0\0\x01\0\0\0\0\0\0\x03api\x07example\0\0\x01\0\x01";

#[tokio::test]
async fn names_are_resolved_over_udp_and_tcp() {
    let (resolver, names) = resolver().await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    // What is no query is not answered, and does no harm.
    socket.send_to(b"\xff", resolver).await.unwrap();
    socket.send_to(QUERY, resolver).await.unwrap();
    let mut answer = [0; 512];
    let (length, _) = timeout(Duration::from_secs(30), socket.recv_from(&mut answer)).await.unwrap().unwrap();
    assert_eq!(answer[length - 4..length], names.address("api.example").unwrap().octets());

    let mut stream = TcpStream::connect(resolver).await.unwrap();
    let length = u16::try_from(QUERY.len()).unwrap().to_be_bytes();
    for _ in 0..2 {
        stream.write_all(&[&length[..], QUERY].concat()).await.unwrap();
        let length = timeout(Duration::from_secs(30), stream.read_u16()).await.unwrap().unwrap();
        let mut over_tcp = vec![0; length.into()];
        stream.read_exact(&mut over_tcp).await.unwrap();
        assert_eq!(over_tcp, answer[..over_tcp.len()]);
    }
}
