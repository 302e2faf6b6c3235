//! The proxy in the guest, with a host's gateway that echoes.

use std::{pin::Pin, time::Duration};

use futures::{Stream, StreamExt as _};
use guest::{proxy, tunnel};
use pilothouse_proto::guest::v1::{AskRequest, AskResponse, TunnelFrame, gateway_server::Gateway};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::timeout,
};
use tonic::{Request, Response, Status, Streaming};

use crate::support::{Connections, cut, tunnel_to};

/// Sends everything back; refuses an exclamation mark by itself.
struct Echo;

#[tonic::async_trait]
impl Gateway for Echo {
    type TunnelStream = Pin<Box<dyn Stream<Item = Result<TunnelFrame, Status>> + Send>>;

    async fn tunnel(&self, request: Request<Streaming<TunnelFrame>>) -> Result<Response<Self::TunnelStream>, Status> {
        let frames = request.into_inner().map(|frame| match frame {
            Ok(frame) if *frame.data == *b"!" => Err(Status::internal("no")),
            frame => frame,
        });
        Ok(Response::new(Box::pin(frames)))
    }

    async fn ask(&self, _: Request<AskRequest>) -> Result<Response<AskResponse>, Status> {
        Err(Status::unimplemented("not here"))
    }
}

struct Guest {
    address: std::net::SocketAddr,
    wires: mpsc::Sender<DuplexStream>,
}

impl Guest {
    async fn new() -> Self {
        let (wires, receiver) = mpsc::channel(1);
        let gateway = tunnel::Gateway::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(tunnel::keep(Connections(receiver), gateway.clone()));
        tokio::spawn(proxy::serve(listener, gateway));
        Self { address, wires }
    }

    /// The host's side: aborting it cuts the connection.
    async fn connect(&self) -> tokio::task::JoinHandle<()> {
        tunnel_to(&self.wires, Echo).await
    }

    async fn program(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }
}

async fn to_end(mut stream: TcpStream) -> String {
    let mut text = String::new();
    timeout(Duration::from_secs(30), stream.read_to_string(&mut text)).await.expect("no end").unwrap();
    text
}

#[tokio::test]
async fn half_an_answer_is_reset_and_a_whole_one_ends() {
    let guest = Guest::new().await;
    let host = guest.connect().await;
    // Its gateway fails in the middle of an answer.
    let mut program = guest.program().await;
    program.write_all(b"half of it").await.unwrap();
    let mut first = [0; 10];
    program.read_exact(&mut first).await.unwrap();
    program.write_all(b"!").await.unwrap();
    assert_eq!(cut(program).await, "");
    // One that was suspended meanwhile.
    let mut program = guest.program().await;
    program.write_all(b"half").await.unwrap();
    program.read_exact(&mut first[..4]).await.unwrap();
    host.abort();
    assert_eq!(cut(program).await, "");
    // Another works at once, and ends where it has ended.
    let _host = guest.connect().await;
    let mut program = guest.program().await;
    program.write_all(b"whole").await.unwrap();
    program.shutdown().await.unwrap();
    assert_eq!(to_end(program).await, "whole");
}

#[tokio::test(flavor = "multi_thread")]
async fn carries_bytes_both_ways_unchanged() {
    let guest = Guest::new().await;
    let _host = guest.connect().await;
    let mut programs = Vec::new();
    for seed in 0..8_u8 {
        let (mut reader, mut writer) = guest.program().await.into_split();
        let data: Vec<u8> = (0..1_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8 ^ seed).collect();
        let sent = data.clone();
        tokio::spawn(async move {
            writer.write_all(&sent).await.unwrap();
            writer.shutdown().await.unwrap();
        });
        programs.push(tokio::spawn(async move {
            let mut back = Vec::new();
            reader.read_to_end(&mut back).await.unwrap();
            assert!(back == data);
        }));
    }
    for program in programs {
        timeout(Duration::from_secs(60), program).await.unwrap().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn says_so_when_the_tunnel_is_down_and_works_when_it_is_back() {
    let guest = Guest::new().await;
    let mut program = guest.program().await;
    program.write_all(b"GET http://example.com/ HTTP/1.1\r\n\r\n").await.unwrap();
    let answer = to_end(program).await;
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("the tunnel to the host is down"), "{answer}");

    for _ in 0..3 {
        let host = guest.connect().await;
        let mut program = guest.program().await;
        program.write_all(b"hello").await.unwrap();
        let mut echo = [0; 5];
        program.read_exact(&mut echo).await.unwrap();
        assert_eq!(&echo, b"hello");
        // A connection cut under way is cut; nothing is added to what came.
        host.abort();
        assert_eq!(cut(program).await, "");
    }
}

/// A program of a fork has a NO_PROXY that names the original. There is no host in this one.
#[tokio::test]
async fn what_is_for_the_guest_by_its_present_name_stays_in_it() {
    let guest = Guest::new().await;
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let server = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let port = server.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = server.accept().await.unwrap();
            let mut asked = vec![0; 4096];
            let length = stream.read(&mut asked).await.unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
            stream.write_all(&asked[..length]).await.unwrap();
        }
    });
    let ask = async |request: String| {
        let mut program = guest.program().await;
        program.write_all(request.as_bytes()).await.unwrap();
        to_end(program).await
    };
    let plain = ask(format!("GET http://{name}:{port}/here HTTP/1.1\r\nHost: {name}\r\n\r\n")).await;
    assert_eq!(
        plain,
        format!("HTTP/1.1 200 OK\r\n\r\nGET /here HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n")
    );
    let tunnel = ask(format!("CONNECT {name}:{port} HTTP/1.1\r\n\r\nraw")).await;
    assert_eq!(tunnel, "HTTP/1.1 200 Connection established\r\n\r\nHTTP/1.1 200 OK\r\n\r\nraw");
    let nobody = ask(format!("GET http://{name}:1/ HTTP/1.1\r\n\r\n")).await;
    assert!(nobody.starts_with("HTTP/1.1 502 ") && nobody.contains("port 1 of this VM"), "{nobody}");
}

#[tokio::test]
async fn says_so_when_the_gateway_fails() {
    let guest = Guest::new().await;
    let _host = guest.connect().await;
    let mut program = guest.program().await;
    program.write_all(b"!").await.unwrap();
    assert!(to_end(program).await.starts_with("HTTP/1.1 502 "));
}
