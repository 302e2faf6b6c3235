//! A guest without a VM: served over in-memory connections that a test makes and breaks.

use std::{
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use guest::{identity_file::IdentityFile, link::serve, machine::Machine, service::Guest, wire::Wire};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    service::TowerToHyperService,
};
use pilothouse_proto::{
    greet::{receive, send},
    guest::v1::{
        ExecRequest, ExecResponse, ExecStart, Exit, HandshakeAnswer, HandshakeClock, HandshakeRequest,
        HandshakeResponse, Size, exec_request, exec_response,
        gateway_server::{Gateway, GatewayServer},
        guest_client::GuestClient,
        handshake_answer::Answer,
    },
    link::{LENGTH, NONCE, preamble},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex},
    net::TcpStream,
    sync::mpsc,
    time::timeout,
};
use tonic::transport::{Channel, Endpoint, Uri};
use tower::service_fn;

/// A machine that remembers what was asked of it.
#[derive(Debug, Default)]
pub(crate) struct Fake {
    pub(crate) adopted: Mutex<Vec<HandshakeRequest>>,
    pub(crate) said: Mutex<Vec<IdentityFile>>,
    pub(crate) clock: Mutex<Vec<i64>>,
    pub(crate) frozen: Mutex<bool>,
    /// The guest goes first.
    pub(crate) first: AtomicBool,
    pub(crate) syncs: AtomicU32,
    /// Set: the disk cannot be trimmed.
    pub(crate) untrimmable: AtomicBool,
    /// Set: what is frozen does not thaw.
    pub(crate) unthawable: AtomicBool,
    /// Set: the next sync takes until this says something or is gone.
    pub(crate) syncing: Mutex<Option<std::sync::mpsc::Receiver<()>>>,
}

impl Machine for Fake {
    fn adopt(&self, identity: &HandshakeRequest) -> io::Result<()> {
        self.adopted.lock().unwrap().push(identity.clone());
        Ok(())
    }

    fn write_identity(&self, identity: &IdentityFile) {
        self.said.lock().unwrap().push(identity.clone());
    }

    fn set_clock(&self, unix_nanos: i64) -> io::Result<()> {
        self.clock.lock().unwrap().push(unix_nanos);
        Ok(())
    }

    fn freeze(&self, freeze: bool) -> io::Result<()> {
        if !freeze && self.unthawable.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::Other.into());
        }
        *self.frozen.lock().unwrap() = freeze;
        Ok(())
    }

    fn go_first(&self, first: bool) {
        self.first.store(first, Ordering::SeqCst);
    }

    fn sync(&self) {
        if let Some(gate) = self.syncing.lock().unwrap().take() {
            let _ = gate.recv();
        }
        self.syncs.fetch_add(1, Ordering::SeqCst);
    }

    fn trim(&self) -> io::Result<u64> {
        if self.untrimmable.load(Ordering::SeqCst) { Err(io::ErrorKind::Unsupported.into()) } else { Ok(4096) }
    }

    fn power_off(&self) -> io::Error {
        io::Error::other("this is a test")
    }
}

/// Connections as a test hands them out.
pub(crate) struct Connections(pub mpsc::Receiver<DuplexStream>);

impl Wire for Connections {
    type Io = DuplexStream;

    async fn connection(&mut self) -> io::Result<DuplexStream> {
        self.0.recv().await.ok_or_else(|| io::ErrorKind::BrokenPipe.into())
    }
}

/// A guest, and the host's side of its link port.
pub(crate) struct Host {
    pub(crate) machine: Arc<Fake>,
    pub(crate) guest: Guest,
    wires: mpsc::Sender<DuplexStream>,
}

impl Host {
    pub(crate) fn new() -> Self {
        let machine = Arc::new(Fake::default());
        let guest = Guest::new(machine.clone(), None, vec![]);
        let (wires, receiver) = mpsc::channel(1);
        tokio::spawn(serve(Connections(receiver), guest.clone()));
        Self { machine, guest, wires }
    }

    /// A connection before its preamble.
    pub(crate) async fn wire(&self) -> DuplexStream {
        let (near, far) = duplex(64 << 10);
        self.wires.send(far).await.unwrap();
        near
    }

    /// A connection after its handshake as generation 1.
    pub(crate) async fn connect(&self) -> GuestClient<Channel> {
        self.shake(handshake(1)).await.unwrap().0
    }

    /// A connection after this handshake; or why it was refused.
    pub(crate) async fn shake(
        &self,
        request: HandshakeRequest,
    ) -> Result<(GuestClient<Channel>, HandshakeResponse), String> {
        let mut io = self.wire().await;
        greet(&mut io, [7; NONCE]).await;
        let hello = shake(&mut io, request).await?;
        Ok((client(io).await, hello))
    }
}

/// The host's part of the preamble; the guest's answer must be the next bytes.
pub(crate) async fn greet(io: &mut DuplexStream, nonce: [u8; NONCE]) {
    io.write_all(&preamble(nonce)).await.unwrap();
    let mut echo = [0; LENGTH];
    timeout(Duration::from_secs(10), io.read_exact(&mut echo)).await.expect("no answer to the preamble").unwrap();
    assert_eq!(echo, preamble(nonce));
}

/// What the host says the time is when it is asked.
pub(crate) const NOW: i64 = 1_800_000_000_000_000_000;

/// The host's part of the handshake.
pub(crate) async fn shake(io: &mut DuplexStream, request: HandshakeRequest) -> Result<HandshakeResponse, String> {
    send(io, &request).await.unwrap();
    let answer = timeout(Duration::from_secs(10), receive::<HandshakeAnswer>(io)).await;
    let HandshakeAnswer { answer, asks_clock } = answer.expect("no answer to the handshake").unwrap();
    if asks_clock {
        send(io, &HandshakeClock { unix_nanos: NOW }).await.unwrap();
    }
    match answer.unwrap() {
        Answer::Shaken(hello) => Ok(hello),
        Answer::Refused(why) => Err(why),
    }
}

pub(crate) async fn client(io: DuplexStream) -> GuestClient<Channel> {
    let mut io = Some(TokioIo::new(io));
    let once = service_fn(move |_: Uri| {
        std::future::ready(io.take().ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected)))
    });
    let channel = Endpoint::from_static("http://guest.invalid").connect_with_connector(once).await.unwrap();
    GuestClient::new(channel)
}

pub(crate) fn handshake(generation: u64) -> HandshakeRequest {
    HandshakeRequest {
        trust: None,
        protocol: 1,
        session_id: "01JTEST".into(),
        slug: "fix-parser".into(),
        machine_id: "0123456789abcdef0123456789abcdef".into(),
        generation,
        unix_nanos: 1,
        entropy: Bytes::from_static(&[5; 64]),
        stay_frozen: false,
        answer: None,
        first_output: None,
    }
}

pub(crate) fn start(command: &[&str], terminal: Option<Size>) -> ExecRequest {
    let command = command.iter().map(ToString::to_string).collect();
    let start = ExecStart { command, terminal, ..ExecStart::default() };
    request(exec_request::Request::Start(start))
}

pub(crate) fn request(request: exec_request::Request) -> ExecRequest {
    ExecRequest { request: Some(request) }
}

/// What a command gave.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Ran {
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
    pub(crate) exit: Option<Exit>,
}

impl Ran {
    pub(crate) fn add(&mut self, response: ExecResponse) {
        assert_eq!(self.exit, None, "nothing comes after the exit");
        match response.response.unwrap() {
            exec_response::Response::Stdout(bytes) => self.stdout.extend(bytes),
            exec_response::Response::Stderr(bytes) => self.stderr.extend(bytes),
            exec_response::Response::Exit(exit) => self.exit = Some(exit),
        }
    }

    pub(crate) fn text(&self) -> (String, String, i32) {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (text(&self.stdout), text(&self.stderr), self.exit.unwrap().code)
    }
}

/// Runs a command to its end.
pub(crate) async fn exec(client: &mut GuestClient<Channel>, requests: Vec<ExecRequest>) -> Ran {
    let mut answers = client.exec(tokio_stream::iter(requests)).await.unwrap().into_inner();
    let mut ran = Ran::default();
    while let Some(answer) = timeout(Duration::from_secs(60), answers.message()).await.expect("no answer").unwrap() {
        ran.add(answer);
    }
    ran
}

/// Waits for a condition with a deadline.
pub(crate) async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let poll = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(20), poll).await.unwrap_or_else(|_| panic!("never: {what}"));
}

/// Gives a guest's tunnel a connection to this gateway of a host. Aborting the task cuts it.
pub(crate) async fn tunnel_to(
    wires: &mpsc::Sender<DuplexStream>,
    gateway: impl Gateway,
) -> tokio::task::JoinHandle<()> {
    let (mut near, far) = duplex(64 << 10);
    wires.send(far).await.unwrap();
    greet(&mut near, [3; 16]).await;
    tokio::spawn(async move {
        let service = TowerToHyperService::new(GatewayServer::new(gateway));
        let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        let _ = server.serve_connection(TokioIo::new(near), service).await;
    })
}

/// What came before the reset.
pub(crate) async fn cut(mut stream: TcpStream) -> String {
    let mut bytes = Vec::new();
    let error = timeout(Duration::from_secs(30), stream.read_to_end(&mut bytes)).await.expect("no end").unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    String::from_utf8(bytes).unwrap()
}
