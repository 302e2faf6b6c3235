//! The host's end against the guest's, over in-memory ports that break as virtio-serial ports do.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use guest::{identity_file::IdentityFile, machine::Machine, service::Guest, tunnel};
use hostd_core::{recipe::Egress, session::Cause};
use pilothouse_proto::{
    greet::{framed, send},
    guest::v1::{
        AnswerRequest, EventsRequest, HandshakeAnswer, HandshakeRequest, HandshakeResponse, StartAgentRequest,
        TerminalResponse, TunnelFrame, event::Event, handshake_answer::Answer,
    },
    link::{LENGTH, PROTOCOL},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, ReadHalf, WriteHalf, duplex, split},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::JoinHandle,
    time::{sleep, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use super::{Greeting, Identity, Link, LinkError, LinkState};
use crate::{
    forge::BareRepositories,
    gateway::{Access, Beside, Caller, Gateway},
    vm::{Io, MemoryUse, Port, Vm, VmError, snapshot::store::Manifest},
};

struct NoMachine;

impl Machine for NoMachine {
    fn adopt(&self, _: &HandshakeRequest) -> io::Result<()> {
        Ok(())
    }
    fn write_identity(&self, _: &IdentityFile) {}
    fn set_clock(&self, _: i64) -> io::Result<()> {
        Ok(())
    }
    fn freeze(&self, _: bool) -> io::Result<()> {
        Ok(())
    }
    fn go_first(&self, _: bool) {}
    fn sync(&self) {}
    fn trim(&self) -> io::Result<u64> {
        Ok(0)
    }
    fn power_off(&self) -> io::Error {
        io::ErrorKind::Unsupported.into()
    }
}

struct Wire(mpsc::Receiver<DuplexStream>);

impl guest::wire::Wire for Wire {
    type Io = DuplexStream;
    async fn connection(&mut self) -> io::Result<DuplexStream> {
        self.0.recv().await.ok_or_else(|| io::ErrorKind::BrokenPipe.into())
    }
}

/// What a port does with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    Good,
    /// Bytes of an earlier connection come first.
    Stale,
    /// What the host says first is lost.
    Forgetful,
    /// Every byte takes long.
    Slow,
    /// Nobody answers.
    Deaf,
    /// It cannot be connected.
    Gone,
}

/// A VM whose ports lead to a guest in this process, through a relay that can be cut.
struct Ports {
    link: mpsc::Sender<DuplexStream>,
    tunnel: mpsc::Sender<DuplexStream>,
    mood: Mutex<Mood>,
    relays: Mutex<Vec<JoinHandle<()>>>,
}

impl Ports {
    fn new() -> (Arc<Self>, Guest, tunnel::Gateway) {
        let (link, links) = mpsc::channel(4);
        let (tunnel, tunnels) = mpsc::channel(4);
        let guest = Guest::new(Arc::new(NoMachine), None, vec![]);
        let gateway = tunnel::Gateway::default();
        tokio::spawn(guest::link::serve(Wire(links), guest.clone()));
        tokio::spawn(guest::tunnel::keep(Wire(tunnels), gateway.clone()));
        let ports = Self { link, tunnel, mood: Mutex::new(Mood::Good), relays: Mutex::default() };
        (Arc::new(ports), guest, gateway)
    }

    fn mood(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    fn cut(&self) {
        self.relays.lock().unwrap().drain(..).for_each(|relay| relay.abort());
    }
}

#[async_trait]
impl Vm for Ports {
    async fn connect(&self, port: Port) -> io::Result<Box<dyn Io>> {
        let mood = *self.mood.lock().unwrap();
        let (near, mut middle) = duplex(64 << 10);
        match mood {
            Mood::Gone => return Err(io::ErrorKind::ConnectionRefused.into()),
            Mood::Stale => middle.write_all(b"\0\0\x08\x06PLTHLNK1stale stale stale").await?,
            Mood::Good | Mood::Deaf | Mood::Forgetful | Mood::Slow => {}
        }
        let (far, mut guest) = duplex(64 << 10);
        let wires = if port == Port::Link { &self.link } else { &self.tunnel };
        let deaf = if mood == Mood::Deaf {
            Some(far)
        } else {
            wires.send(far).await.map_err(io::Error::other).map(|()| None)?
        };
        let relay = tokio::spawn(async move {
            if mood == Mood::Forgetful {
                let _ = middle.read_exact(&mut [0; LENGTH]).await;
            }
            if mood == Mood::Slow {
                slowly(middle, guest).await;
            } else {
                let _ = tokio::io::copy_bidirectional(&mut middle, &mut guest).await;
            }
            drop(deaf);
        });
        self.relays.lock().unwrap().push(relay);
        Ok(Box::new(near))
    }
    async fn ended(&self) -> Cause {
        std::future::pending().await
    }
    async fn end(&self) {}
    async fn serial(&self) -> Vec<u8> {
        vec![]
    }
    async fn snapshot(&self, _: &Path) -> Result<Manifest, VmError> {
        Err(VmError::Kernel("a test".into()))
    }
    async fn pause(&self) -> Result<(), VmError> {
        Ok(())
    }

    async fn go_on(&self) -> Result<(), VmError> {
        Ok(())
    }
    fn memory(&self) -> MemoryUse {
        MemoryUse::default()
    }
    fn memory_part(&self) -> MemoryUse {
        MemoryUse::default()
    }
    async fn pivot(&self, _: &Path) -> Result<(), VmError> {
        Err(VmError::Kernel("a test".into()))
    }
    async fn rebase(&self, _: usize, _: &Path) -> Result<(), VmError> {
        Err(VmError::Kernel("a test".into()))
    }
}

/// Each piece arrives a while after it was sent.
async fn slowly(near: DuplexStream, far: DuplexStream) {
    let ((mut from_host, mut to_host), (mut from_guest, mut to_guest)) = (split(near), split(far));
    let there = async { while delayed(&mut from_host, &mut to_guest).await.is_ok() {} };
    let back = async { while delayed(&mut from_guest, &mut to_host).await.is_ok() {} };
    tokio::join!(there, back);
}

async fn delayed(from: &mut ReadHalf<DuplexStream>, to: &mut WriteHalf<DuplexStream>) -> io::Result<()> {
    let mut piece = [0; 4096];
    let length = from.read(&mut piece).await?;
    if length == 0 {
        to.shutdown().await?;
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    sleep(Duration::from_millis(350)).await;
    to.write_all(&piece[..length]).await
}

fn identity() -> Identity {
    Identity {
        session_id: "01JTEST".into(),
        slug: "fix-parser".into(),
        machine_id: "0123456789abcdef0123456789abcdef".into(),
        generation: 1,
        trust: None,
    }
}

fn start(ports: &Arc<Ports>) -> Link {
    start_with(ports, identity())
}

fn start_with(ports: &Arc<Ports>, greeting: impl Into<Greeting>) -> Link {
    start_to(ports, greeting, vec![])
}

/// One whose programs may reach these.
fn start_to(ports: &Arc<Ports>, greeting: impl Into<Greeting>, egress: Vec<Egress>) -> Link {
    let caller = Caller {
        session_id: "01JTEST".into(),
        slug: "fix-parser".into(),
        environment: "demo".into(),
        repository: None,
        branch_prefix: None,
        opens_pulls: None,
        also_read: vec![],
        egress,
        beside: Beside::default(),
        access: Access::default(),
    };
    Link::start(
        ports.clone(),
        greeting,
        Arc::new(Gateway::new(BareRepositories::at(PathBuf::from("/no/such/folder")))),
        Arc::new(caller),
    )
}

const SOON: Duration = Duration::from_secs(30);

#[tokio::test]
async fn comes_up_again_after_every_cut() {
    let (ports, guest, _) = Ports::new();
    let link = start(&ports);
    let mut state = link.state();
    for number in 1..=5 {
        let hello = link.client(SOON).await.unwrap();
        assert_eq!(hello.handshake.protocol, 1);
        guest.events().push(Event::OomKilled("x".into()));
        let mut events = hello.client.clone().events(EventsRequest { after: number - 1 }).await.unwrap().into_inner();
        assert_eq!(events.message().await.unwrap().unwrap().sequence, number);
        if number % 2 == 0 {
            ports.mood(Mood::Stale);
        }
        ports.cut();
        timeout(SOON, state.wait_for(|state| matches!(state, LinkState::Down))).await.unwrap().unwrap();
        assert!(events.message().await.is_err(), "calls of a connection end with it");
        ports.mood(Mood::Good);
    }
}

#[tokio::test(start_paused = true)]
async fn a_greeting_takes_an_answer_along_and_has_the_tunnel_wait() {
    let (ports, guest, gateway) = Ports::new();
    let mut waiting = guest.waits().begin("checks".into(), 0, 0).unwrap();
    let terminal_open = CancellationToken::new();
    let answer = |json: String| Some(AnswerRequest { wait: 1, json });
    let greeting = || Greeting::from(identity()).tunnel_after(terminal_open.clone());
    // One that is too long for a handshake is left out.
    let long = start_with(&ports, greeting().answering(answer("x".repeat(40 << 10))));
    assert_eq!(long.client(SOON).await.unwrap().handshake.answered, None);
    drop(long);
    let link = start_with(&ports, greeting().answering(answer("{}".into())));
    let answered = link.client(SOON).await.unwrap().handshake.answered;
    assert_eq!(answered.map(|answered| answered.known), Some(true));
    assert_eq!(waiting.answer().await, Some("{}".into()));
    assert!(gateway.client(SOON).await.is_none(), "the tunnel goes first");
    terminal_open.cancel();
    assert!(gateway.client(SOON).await.is_some());
}

#[tokio::test]
async fn what_an_agent_shows_first_comes_with_the_first_connection() {
    let (ports, ..) = Ports::new();
    let link = start(&ports);
    let start = StartAgentRequest {
        command: ["sh", "-c", "echo ready; exec cat"].map(Into::into).into(),
        columns: 80,
        rows: 24,
        ..StartAgentRequest::default()
    };
    link.client(SOON).await.unwrap().client.clone().start_agent(start).await.unwrap();
    drop(link);
    let link = start_with(&ports, Greeting::from(identity()).showing_from(Some(0)));
    let hello = link.client(SOON).await.unwrap();
    let output = b"ready\r\n"[..].into();
    assert_eq!(hello.first_output, Some(TerminalResponse { offset: 0, output, end: false }));
    assert!(hello.client.clone().events(EventsRequest { after: 0 }).await.is_ok(), "HTTP/2 goes on behind it");
    // Its next connection is not about to be told anything.
    let mut state = link.state();
    ports.cut();
    timeout(SOON, state.wait_for(|state| matches!(state, LinkState::Down))).await.unwrap().unwrap();
    assert_eq!(link.client(SOON).await.unwrap().first_output, None);
}

/// On both ports; the second connection of each goes through a port of the same mood.
#[tokio::test(start_paused = true)]
async fn asks_again_where_its_first_words_are_lost_or_late() {
    for mood in [Mood::Forgetful, Mood::Slow] {
        let (ports, _, gateway) = Ports::new();
        ports.mood(mood);
        let link = start(&ports);
        for _ in 0..2 {
            link.client(SOON).await.unwrap();
            assert!(gateway.client(SOON).await.is_some(), "{mood:?}: no tunnel");
            let mut state = link.state();
            ports.cut();
            timeout(SOON, state.wait_for(|state| matches!(state, LinkState::Down))).await.unwrap().unwrap();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn says_why_it_is_not_up() {
    let (ports, ..) = Ports::new();
    ports.mood(Mood::Gone);
    let link = start(&ports);
    let LinkError::Silent { last, .. } = link.client(Duration::from_secs(5)).await.unwrap_err() else {
        panic!("closed")
    };
    assert!(last.contains("refused"), "{last}");
    ports.mood(Mood::Deaf);
    let LinkError::Silent { last, .. } = link.client(Duration::from_secs(15)).await.unwrap_err() else {
        panic!("closed")
    };
    assert!(last.contains("does not answer"), "{last}");
    ports.mood(Mood::Good);
    link.client(SOON).await.unwrap();
}

#[tokio::test]
async fn ends_with_its_last_owner() {
    let (ports, ..) = Ports::new();
    let link = start(&ports);
    let hello = link.client(SOON).await.unwrap();
    let mut state = link.state();
    drop(link);
    timeout(SOON, async { while state.changed().await.is_ok() {} }).await.unwrap();
    let ended = async { while hello.client.clone().events(EventsRequest { after: 0 }).await.is_ok() {} };
    timeout(SOON, ended).await.unwrap();
}

#[tokio::test]
async fn a_guest_sees_that_a_closed_link_is_left_when_nobody_holds_it() {
    let (ports, _, gateway) = Ports::new();
    for hold in [true, false] {
        let link = start(&ports);
        let hello = link.client(SOON).await.unwrap();
        assert!(gateway.client(SOON).await.is_some());
        let relays: Vec<_> = ports.relays.lock().unwrap().drain(..).collect();
        let [mut on_link, on_tunnel] = <[JoinHandle<()>; 2]>::try_from(relays).unwrap();
        let held = link.close().filter(|_| hold);
        assert!(hello.client.clone().events(EventsRequest { after: 0 }).await.is_err());
        timeout(SOON, on_tunnel).await.expect("the tunnel ends").unwrap();
        assert!(link.close().is_none(), "it is held once");
        if hold {
            assert!(timeout(Duration::from_millis(200), &mut on_link).await.is_err(), "it is left");
        }
        drop(held);
        timeout(SOON, on_link).await.expect("the link's connection ends").unwrap();
        timeout(SOON, async { while gateway.client(Duration::ZERO).await.is_some() {} }).await.unwrap();
    }
}

/// Half an answer is not taken for a whole one, whoever cut it.
#[tokio::test]
async fn what_is_cut_beyond_the_gateway_is_cut_for_the_program_and_what_ends_ends() {
    let world = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = world.local_addr().unwrap().to_string();
    let (ports, _, gateway) = Ports::new();
    let _link = start_to(&ports, identity(), vec![Egress { to: to.clone(), private: false }]);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = listener.local_addr().unwrap();
    tokio::spawn(guest::proxy::serve(listener, gateway));
    let asked = [
        format!("GET http://{to}/ HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\n\r\n"),
        format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n\r\nGET / HTTP/1.1\r\n\r\n"),
    ];
    for (asks, resets) in asked.iter().flat_map(|asks| [(asks, true), (asks, false)]) {
        let mut program = TcpStream::connect(proxy).await.unwrap();
        program.write_all(asks.as_bytes()).await.unwrap();
        let (mut server, _) = timeout(SOON, world.accept()).await.unwrap().unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            server.read_buf(&mut head).await.unwrap();
        }
        server.write_all(b"HTTP/1.1 200 OK\r\n\r\nhalf").await.unwrap();
        let mut text = Vec::new();
        while !text.windows(4).any(|word| word == b"half") {
            assert!(timeout(SOON, program.read_buf(&mut text)).await.unwrap().unwrap() > 0);
        }
        if resets {
            rustix::net::sockopt::set_socket_linger(&server, Some(Duration::ZERO)).unwrap();
        }
        drop(server);
        let end = timeout(SOON, program.read_to_end(&mut text)).await.expect("no end");
        assert_eq!(end.is_err(), resets, "{asks}: {end:?} after {}", String::from_utf8_lossy(&text));
    }
}

/// A world of one port, and programs of a guest that get there by its proxy or without.
struct Ways {
    world: TcpListener,
    ports: Arc<Ports>,
    proxy: SocketAddr,
    direct: SocketAddr,
    gateway: tunnel::Gateway,
    _link: Link,
}

impl Ways {
    async fn new() -> Self {
        // What is steered keeps its port: of one number, here is where programs dial, and there what they reach.
        let (steered, world) = loop {
            let steered = TcpListener::bind("0.0.0.0:0").await.unwrap();
            let port = steered.local_addr().unwrap().port();
            if let Ok(world) = TcpListener::bind((Ipv6Addr::LOCALHOST, port)).await {
                break (steered, world);
            }
        };
        let to = world.local_addr().unwrap();
        let (ports, _, gateway) = Ports::new();
        let link = start_to(&ports, identity(), vec![Egress { to: to.to_string(), private: false }]);
        let names = Arc::new(guest::direct::Names::new((Ipv4Addr::new(127, 18, 0, 0), 15)));
        let direct = (names.address("[::1]").unwrap(), to.port()).into();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = listener.local_addr().unwrap();
        tokio::spawn(guest::proxy::serve(listener, gateway.clone()));
        tokio::spawn(guest::direct::serve(steered, names, gateway.clone()));
        Self { world, ports, proxy, direct, gateway, _link: link }
    }

    /// A program's connection, and its other end in the world.
    async fn joined(&self, direct: bool) -> (TcpStream, TcpStream) {
        let mut program = TcpStream::connect(if direct { self.direct } else { self.proxy }).await.unwrap();
        if !direct {
            // Written [::1] it is the guest itself for its proxy, which asks nobody then.
            let to = format!("[0:0:0:0:0:0:0:1]:{}", self.world.local_addr().unwrap().port());
            program.write_all(format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n\r\n").as_bytes()).await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(timeout(SOON, program.read_u8()).await.unwrap().unwrap());
            }
        }
        let (mut world, _) = timeout(SOON, self.world.accept()).await.unwrap().unwrap();
        world.write_all(b"hello").await.unwrap();
        let mut hello = [0; 5];
        timeout(SOON, program.read_exact(&mut hello)).await.unwrap().unwrap();
        (program, world)
    }
}

async fn to_end(mut stream: impl tokio::io::AsyncRead + Unpin) -> io::Result<String> {
    let mut text = String::new();
    timeout(SOON, stream.read_to_string(&mut text)).await.expect("no end").map(|_| text)
}

#[tokio::test]
async fn each_direction_of_a_connection_ends_by_itself() {
    let ways = Ways::new().await;
    for (direct, world_first) in [(false, true), (false, false), (true, true), (true, false)] {
        let (program, world) = ways.joined(direct).await;
        let (mut first, mut other) = if world_first { (world, program) } else { (program, world) };
        first.write_all(b"no more").await.unwrap();
        first.shutdown().await.unwrap();
        let (mut reader, mut writer) = other.split();
        assert_eq!(to_end(&mut reader).await.unwrap(), "no more");
        // More than any of the buffers on its way.
        let long = "more ".repeat(1 << 20);
        let (heard, ()) = tokio::join!(to_end(&mut first), async {
            writer.write_all(long.as_bytes()).await.unwrap();
            writer.shutdown().await.unwrap();
        });
        assert!(heard.is_ok_and(|heard| heard == long), "direct: {direct}, the world first: {world_first}");
    }
}

#[tokio::test]
async fn what_a_program_or_the_link_breaks_is_reset_in_the_world() {
    let ways = Ways::new().await;
    for (direct, world_ended, link) in [
        (false, false, false),
        (true, false, false),
        (false, true, false),
        (true, true, false),
        (false, false, true),
        (true, true, true),
    ] {
        let (program, mut world) = ways.joined(direct).await;
        if world_ended {
            world.shutdown().await.unwrap();
        }
        let reads = async {
            // The program keeps its end where it is the link that breaks.
            let _kept = if link {
                ways.ports.cut();
                Some(program)
            } else {
                rustix::net::sockopt::set_socket_linger(&program, Some(Duration::ZERO)).unwrap();
                drop(program);
                None
            };
            to_end(&mut world).await
        };
        let error = reads.await.expect_err("it was half of something");
        assert_eq!(
            error.kind(),
            io::ErrorKind::ConnectionReset,
            "direct: {direct}, {world_ended}, by the link: {link}"
        );
    }
}

#[tokio::test]
async fn what_the_world_breaks_after_its_end_is_reset_for_the_program() {
    let ways = Ways::new().await;
    for direct in [false, true] {
        let (mut program, world) = ways.joined(direct).await;
        drop(world);
        assert_eq!(to_end(&mut program).await.unwrap(), "");
        let says_on = async { while program.write_all(b"more").await.is_ok() {} };
        timeout(SOON, says_on).await.expect("nobody hears it");
    }
}

#[tokio::test]
async fn for_a_guest_of_before_the_worlds_end_is_that_of_all() {
    let ways = Ways::new().await;
    let to = ways.world.local_addr().unwrap();
    let connect = format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n\r\n");
    let (frames, outbound) = mpsc::channel(2);
    frames.send(TunnelFrame { data: connect.into(), ..TunnelFrame::default() }).await.unwrap();
    let mut client = ways.gateway.client(SOON).await.unwrap();
    let mut answers = client.tunnel(ReceiverStream::new(outbound)).await.unwrap().into_inner();
    let (world, _) = timeout(SOON, ways.world.accept()).await.unwrap().unwrap();
    drop(world);
    while let Some(frame) = timeout(SOON, answers.message()).await.expect("no end").unwrap() {
        assert!(!frame.end);
    }
}

#[tokio::test]
async fn brings_the_guests_requests_to_the_gateway() {
    let (ports, _, gateway) = Ports::new();
    let _link = start(&ports);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(guest::proxy::serve(listener, gateway));
    for _ in 0..3 {
        let mut program = TcpStream::connect(address).await.unwrap();
        program.write_all(b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n").await.unwrap();
        let mut answer = vec![0; 12];
        timeout(SOON, program.read_exact(&mut answer)).await.unwrap().unwrap();
        assert_eq!(String::from_utf8_lossy(&answer), "HTTP/1.1 403");
        ports.cut();
    }
}

/// A guest that answers the preamble and then says what it likes. Why there is no link.
async fn heard_of(words: Vec<u8>) -> String {
    let (ports, greeting) = (saying(words), Greeting::from(identity()).showing_from(Some(0)));
    match start_with(&ports, greeting).client(Duration::from_secs(40)).await.unwrap_err() {
        LinkError::Silent { last, .. } => last,
        LinkError::Closed => panic!("closed"),
    }
}

/// Ports to a guest that answers the preamble and then says this.
fn saying(words: Vec<u8>) -> Arc<Ports> {
    let (links, mut connections) = mpsc::channel::<DuplexStream>(4);
    let (tunnel, mut tunnels) = mpsc::channel::<DuplexStream>(4);
    tokio::spawn(async move { while tunnels.recv().await.is_some() {} });
    tokio::spawn(async move {
        let mut open = Vec::new();
        while let Some(mut io) = connections.recv().await {
            let mut preamble = [0; LENGTH];
            let _ = io.read_exact(&mut preamble).await;
            let _ = io.write_all(&preamble).await;
            let _ = io.write_all(&words).await;
            open.push(io);
        }
    });
    Arc::new(Ports { link: links, tunnel, mood: Mutex::new(Mood::Good), relays: Mutex::default() })
}

/// The hand of a guest that says whether it shows something first.
fn hand(first_output: bool) -> Vec<u8> {
    let shaken = HandshakeResponse { protocol: PROTOCOL, first_output, ..HandshakeResponse::default() };
    framed(&HandshakeAnswer { answer: Some(Answer::Shaken(shaken)), asks_clock: false }).unwrap()
}

#[tokio::test]
async fn a_guest_of_before_shows_nothing_first_and_one_that_was_not_asked_is_not_waited_for() {
    for (shows, asked) in [(false, Some(0)), (true, None)] {
        let link = start_with(&saying(hand(shows)), Greeting::from(identity()).showing_from(asked));
        assert_eq!(link.client(SOON).await.unwrap().first_output, None);
    }
}

#[tokio::test(start_paused = true)]
async fn outlives_a_guest_that_talks_nonsense() {
    let mut refused = Vec::new();
    let why = "\x1b[2Jnever ".to_string() + &"x".repeat(5000);
    send(&mut refused, &HandshakeAnswer { answer: Some(Answer::Refused(why)), asks_clock: false }).await.unwrap();
    let mut empty = Vec::new();
    send(&mut empty, &HandshakeAnswer::default()).await.unwrap();
    for (words, said) in [
        (vec![0xff; 4096], "did not shake hands"),
        (b"\0\0\x10\0and no more".to_vec(), "no answer to the handshake"),
        (Vec::new(), "no answer to the handshake"),
        (empty, "no answer to the handshake"),
        (refused, "the guest refused the handshake: "),
        (hand(true), "did not say what its agent shows"),
        ([hand(true), vec![0xff; 4096]].concat(), "did not say what its agent shows"),
    ] {
        let heard = heard_of(words).await;
        assert!(heard.contains(said) && heard.len() < 2048 && !heard.contains('\x1b'), "{heard}");
    }
}
