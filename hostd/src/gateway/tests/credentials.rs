//! Requests with secrets: a TLS client as in a guest, a TLS server as in the world, and what each of them sees.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    sync::atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use futures::StreamExt as _;
use hostd_core::{credentials::Credential, reports::State};
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::{
    body::Frame,
    client::conn::{http1 as http1_client, http2 as http2_client},
    server::conn::http2 as http2_server,
};
use hyper_util::rt::TokioExecutor;
use tokio::sync::{mpsc, watch};
use tokio_rustls::{
    TlsAcceptor, TlsConnector,
    client::TlsStream,
    rustls::{
        self, ClientConfig,
        crypto::ring,
        pki_types::{CertificateDer, ServerName, pem::PemObject as _},
    },
};

use super::*;
use crate::credentials::{Credentials, FILE};

const HOST: &str = "host.pilothouse.internal";
const SECRET: &str = "canary-secret";
/// Longest wait for anything here.
const WITHIN: Duration = Duration::from_secs(30);

/// A server of the world. It tells what it was asked.
struct World {
    port: u16,
    authority: Arc<Authority>,
    seen: mpsc::Receiver<Request<Bytes>>,
    /// Pieces of what `/events` answers.
    events: mpsc::Sender<&'static str>,
    /// Number of answers of `/events` that nobody reads any more.
    gone: watch::Receiver<usize>,
    connections: Arc<AtomicUsize>,
    _serve: AbortOnDropHandle<()>,
}

struct Shared {
    seen: mpsc::Sender<Request<Bytes>>,
    events: tokio::sync::Mutex<Option<mpsc::Receiver<&'static str>>>,
    gone: Arc<watch::Sender<usize>>,
}

/// Told when it is dropped.
struct Gone(Arc<watch::Sender<usize>>);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.send_modify(|gone| *gone += 1);
    }
}

impl World {
    async fn new(encrypted: bool) -> Self {
        Self::named(encrypted, HOST).await
    }

    /// Whose certificate is for this host.
    async fn named(encrypted: bool, host: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let authority = Arc::new(Authority::new().unwrap());
        let (seen_sender, seen) = mpsc::channel(32);
        let (events, events_receiver) = mpsc::channel(4);
        let (gone_sender, gone) = watch::channel(0);
        let events_receiver = tokio::sync::Mutex::new(Some(events_receiver));
        let shared = Arc::new(Shared { seen: seen_sender, events: events_receiver, gone: Arc::new(gone_sender) });
        let connections = Arc::new(AtomicUsize::new(0));
        let (server, count) = (authority.server(host).unwrap(), connections.clone());
        let serve = tokio::spawn(async move {
            let mut served = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                let (shared, server) = (shared.clone(), server.clone());
                served.spawn(async move {
                    if encrypted {
                        let Ok(stream) = TlsAcceptor::from(server).accept(stream).await else { return };
                        let h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                        serve_one(stream, h2, shared).await;
                    } else {
                        serve_one(stream, false, shared).await;
                    }
                });
            }
        });
        Self { port, authority, seen, events, gone, connections, _serve: AbortOnDropHandle::new(serve) }
    }

    async fn seen(&mut self) -> Request<Bytes> {
        timeout(WITHIN, self.seen.recv()).await.unwrap().unwrap()
    }

    /// Whether nobody has asked it anything that was not looked at.
    fn saw_no_more(&mut self) -> bool {
        self.seen.try_recv().is_err()
    }
}

async fn serve_one(io: impl crate::vm::Io, h2: bool, shared: Arc<Shared>) {
    let service = service_fn(move |request| {
        let shared = shared.clone();
        async move { Ok::<_, Infallible>(answer(request, &shared).await) }
    });
    let io = TokioIo::new(io);
    if h2 {
        let _ = http2_server::Builder::new(TokioExecutor::new()).serve_connection(io, service).await;
    } else {
        let _ = http1::Builder::new().serve_connection(io, service).with_upgrades().await;
    }
}

async fn answer(mut request: Request<Incoming>, shared: &Shared) -> Response<Body> {
    let upgrade = (request.uri().path() == "/ws").then(|| hyper::upgrade::on(&mut request));
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    let body = if upgrade.is_some() { Bytes::new() } else { body.collect().await.unwrap().to_bytes() };
    let text = format!("{} {}", path, String::from_utf8_lossy(&body));
    shared.seen.send(Request::from_parts(parts, body)).await.unwrap();
    if let Some(upgrade) = upgrade {
        tokio::spawn(async move {
            let mut io = TokioIo::new(upgrade.await.unwrap());
            let mut buffer = [0; 64];
            while let Ok(length @ 1..) = io.read(&mut buffer).await {
                io.write_all(&buffer[..length].to_ascii_uppercase()).await.unwrap();
            }
        });
        let mut response = response::empty();
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        response.headers_mut().insert("connection", "upgrade".parse().unwrap());
        response.headers_mut().insert("upgrade", "websocket".parse().unwrap());
        return response;
    }
    if path.starts_with("/events") {
        let events = shared.events.lock().await.take().unwrap();
        let gone = Gone(shared.gone.clone());
        let stream = futures::stream::unfold((events, gone), |(mut events, gone)| async move {
            let piece = events.recv().await?;
            Some((Ok(Frame::data(Bytes::from(piece))), (events, gone)))
        });
        let mut response = Response::new(StreamBody::new(stream).boxed_unsync());
        response.headers_mut().insert("content-type", "text/event-stream".parse().unwrap());
        return response;
    }
    let mut response = Response::new(Full::new(Bytes::from(text)).map_err(|never| match never {}).boxed_unsync());
    if path.starts_with("/model") {
        *response.body_mut() = Full::new(Bytes::from(
            r#"{"model":"m-1","usage":{"input_tokens":7,"cache_read_input_tokens":2,"output_tokens":3}}"#,
        ))
        .map_err(|never| match never {})
        .boxed_unsync();
        response.headers_mut().insert("content-type", "application/json".parse().unwrap());
    }
    if path.starts_with("/limited/") {
        *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
        response.headers_mut().insert("retry-after", "300".parse().unwrap());
    }
    if path.starts_with("/overloaded/") {
        let error = "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\"}}\n\n";
        *response.body_mut() = Full::new(Bytes::from(error)).map_err(|never| match never {}).boxed_unsync();
        response.headers_mut().insert("content-type", "text/event-stream".parse().unwrap());
    }
    if path == "/denied" {
        *response.status_mut() = StatusCode::UNAUTHORIZED;
    }
    response
}

/// A gateway with one credential for the world, and a session that may use it.
struct Guest {
    fixture: Fixture,
    authority: Arc<Authority>,
    host: String,
    port: u16,
    spent: mpsc::Receiver<Spent>,
}

impl Guest {
    async fn of(world: &World) -> Self {
        Self::with(world, HOST, "header = 'x-api-key'", &[]).await
    }

    /// A credential with these lines beside the usual ones, for this host. `listed` is the recipe's egress.
    async fn with(world: &World, host: &str, lines: &str, listed: &[&str]) -> Self {
        let authority = Arc::new(Authority::new().unwrap());
        let access =
            Access { credentials: vec!["one".into()], authority: Some(authority.clone()), person: "sam".into() };
        let egress = listed.iter().map(|to| Egress { to: (*to).into(), private: false }).collect();
        let (port, ca) = (world.port, world.authority.certificate().to_owned());
        let (spending, spent) = mpsc::channel(8);
        let fixture = Fixture::with(Caller { egress, access, ..caller() }, |gateway, data| {
            write(&data.join("ca.pem"), &ca);
            write(&data.join("secret"), SECRET);
            let folder = data.display();
            let ca = if lines.contains("# no ca") { String::new() } else { format!("ca = '{folder}/ca.pem'\n") };
            let text = format!(
                "[[credential]]\nname = 'one'\nhosts = ['{host}:{port}']\nsecret = {{ file = '{folder}/secret' }}\n\
                 variables.API_KEY = 'a-stand-in'\n{ca}{lines}\n"
            );
            write(&data.join(FILE), &text);
            gateway.with_credentials(Arc::new(Credentials::of(data))).with_spending(spending)
        })
        .await;
        Self { fixture, authority, host: host.into(), port, spent }
    }

    fn name(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// A connection to the world by CONNECT.
    async fn connect(&self) -> TcpStream {
        let mut stream = TcpStream::connect(&self.fixture.proxy).await.unwrap();
        stream.write_all(format!("CONNECT {0} HTTP/1.1\r\nHost: {0}\r\n\r\n", self.name()).as_bytes()).await.unwrap();
        let mut head = vec![];
        while !head.ends_with(b"\r\n\r\n") {
            head.push(timeout(WITHIN, stream.read_u8()).await.unwrap().unwrap());
        }
        assert!(head.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&head));
        stream
    }

    /// The same with TLS, by whom this authority vouches for, in this name.
    async fn try_tls(&self, authority: &Authority, name: &str, alpn: &str) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(authority.certificate().as_bytes()).unwrap()).unwrap();
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
        let name = ServerName::try_from(name.to_owned()).unwrap();
        timeout(WITHIN, TlsConnector::from(Arc::new(config)).connect(name, self.connect().await)).await.unwrap()
    }

    async fn tls(&self, alpn: &str) -> TlsStream<TcpStream> {
        self.try_tls(&self.authority, &self.host, alpn).await.unwrap()
    }

    fn request(&self, path: &str) -> hyper::http::request::Builder {
        Request::builder().uri(format!("https://{}{path}", self.name())).header("host", self.name())
    }

    /// Sends a request by HTTP/2 or HTTP/1.1, on a connection of its own.
    async fn send(&self, h2: bool, request: Request<Full<Bytes>>) -> Response<Incoming> {
        let response = if h2 {
            let io = TokioIo::new(self.tls("h2").await);
            let (mut sender, connection) = http2_client::handshake(TokioExecutor::new(), io).await.unwrap();
            tokio::spawn(connection);
            let mut request = request;
            request.headers_mut().remove("host");
            let answered = timeout(WITHIN, sender.send_request(request)).await.unwrap();
            // The connection ends with its last sender.
            tokio::spawn(async move { sender.ready().await.is_ok() && std::future::pending::<bool>().await });
            answered
        } else {
            let (mut sender, connection) =
                http1_client::handshake(TokioIo::new(self.tls("http/1.1").await)).await.unwrap();
            tokio::spawn(connection);
            let (mut parts, body) = request.into_parts();
            parts.uri = parts.uri.path_and_query().unwrap().as_str().parse().unwrap();
            timeout(WITHIN, sender.send_request(Request::from_parts(parts, body))).await.unwrap()
        };
        response.unwrap()
    }
}

fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

fn body(text: &'static str) -> Full<Bytes> {
    Full::new(Bytes::from(text))
}

async fn text_of(response: Response<Incoming>) -> String {
    String::from_utf8(timeout(WITHIN, response.into_body().collect()).await.unwrap().unwrap().to_bytes().to_vec())
        .unwrap()
}

#[rstest::rstest]
#[tokio::test]
async fn the_secret_arrives_in_its_place_and_the_rest_as_it_was(#[values(false, true)] h2: bool) {
    let mut world = World::new(true).await;
    let guest = Guest::of(&world).await;
    let request = guest
        .request("/v1/messages?beta=true")
        .method("POST")
        .header("x-api-key", "a-stand-in")
        .header("authorization", "Bearer a-stand-in")
        .header("x-own", "kept")
        .header("proxy-authorization", "not for the world");
    let response = guest.send(h2, request.body(body("a question")).unwrap()).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(text_of(response).await, "/v1/messages a question");
    let seen = world.seen().await;
    let header = |name: &str| seen.headers().get_all(name).iter().map(|v| v.to_str().unwrap()).collect::<Vec<_>>();
    assert_eq!((header("x-api-key"), header("x-own")), (vec![SECRET], vec!["kept"]));
    assert_eq!((header("authorization").len(), header("proxy-authorization").len()), (0, 0));
    let authority = seen.uri().authority().map(|it| it.as_str()).or_else(|| header("host").first().copied());
    assert_eq!(authority, Some(&*guest.name()));
    assert_eq!(seen.uri().query(), Some("beta=true"));
    // Who has no stand-in has the secret all the same, and who has another key does not get through with it.
    for request in [guest.request("/"), guest.request("/").header("x-api-key", "mine").header("x-api-key", "other")] {
        assert_eq!(guest.send(h2, request.body(body("")).unwrap()).await.status(), StatusCode::OK);
        let seen = world.seen().await;
        assert_eq!(seen.headers().get_all("x-api-key").iter().collect::<Vec<_>>(), [SECRET]);
    }
}

#[rstest::rstest]
#[case("bearer = true", "Bearer canary-secret")]
#[case("basic = 'me'", "Basic bWU6Y2FuYXJ5LXNlY3JldA==")]
#[case("header = 'authorization'", "canary-secret")]
#[tokio::test]
async fn it_goes_in_as_the_credential_says(#[case] lines: &str, #[case] expected: &str) {
    let mut world = World::new(true).await;
    let guest = Guest::with(&world, HOST, lines, &[]).await;
    let request = guest.request("/").header("authorization", "Basic bWU6eA==").header("connection", "authorization");
    assert_eq!(guest.send(false, request.body(body("")).unwrap()).await.status(), StatusCode::OK);
    assert_eq!(world.seen().await.headers()["authorization"], expected);
}

#[rstest::rstest]
#[tokio::test]
async fn what_it_is_not_for_goes_without_or_not_at_all(#[values(false, true)] h2: bool) {
    let mut world = World::new(true).await;
    let lines = "header = 'x-api-key'\npath = '/v1/'";
    let name = format!("{HOST}:{}", world.port);
    for (listed, expected) in [(&[][..], StatusCode::FORBIDDEN), (&[name.as_str()][..], StatusCode::OK)] {
        let guest = Guest::with(&world, HOST, lines, listed).await;
        for path in ["/admin", "/v1/../admin", "/v1/%2e%2e/admin"] {
            let response = guest.send(h2, guest.request(path).body(body("")).unwrap()).await;
            assert_eq!(response.status(), expected, "{path}");
            if expected == StatusCode::OK {
                assert!(!world.seen().await.headers().contains_key("x-api-key"), "{path}");
            } else {
                assert!(text_of(response).await.contains("to allow it without a secret, add"));
            }
        }
        assert_eq!(guest.send(h2, guest.request("/v1/x").body(body("")).unwrap()).await.status(), StatusCode::OK);
        assert_eq!(world.seen().await.headers()["x-api-key"], SECRET);
    }
    assert!(world.saw_no_more());
}

/// Sends bytes by TLS and reads until the end.
async fn raw(guest: &Guest, request: &str) -> String {
    let mut io = guest.tls("http/1.1").await;
    io.write_all(request.as_bytes()).await.unwrap();
    let mut answer = vec![];
    let _ = timeout(WITHIN, io.read_to_end(&mut answer)).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

#[rstest::rstest]
#[case::other_host("GET / HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n", "421")]
#[case::other_port("GET / HTTP/1.1\r\nHost: host.pilothouse.internal:1\r\nConnection: close\r\n\r\n", "421")]
#[case::user("GET / HTTP/1.1\r\nHost: NAME@evil.example\r\nConnection: close\r\n\r\n", "421")]
#[case::absolute("GET http://evil.example/ HTTP/1.1\r\nHost: NAME\r\nConnection: close\r\n\r\n", "421")]
#[case::two_hosts("GET / HTTP/1.1\r\nHost: NAME\r\nHost: NAME\r\nConnection: close\r\n\r\n", "400")]
#[case::no_host("GET / HTTP/1.1\r\nConnection: close\r\n\r\n", "400")]
#[case::trace("TRACE / HTTP/1.1\r\nHost: NAME\r\nConnection: close\r\n\r\n", "405")]
#[case::connect("CONNECT NAME HTTP/1.1\r\nHost: NAME\r\nConnection: close\r\n\r\n", "405")]
#[case::two_lengths(
    "POST / HTTP/1.1\r\nHost: NAME\r\nContent-Length: 1\r\nContent-Length: 2\r\nConnection: close\r\n\r\nxx",
    "400"
)]
#[case::space("GET / HTTP/1.1\r\nHost : NAME\r\nConnection: close\r\n\r\n", "400")]
#[case::folded("GET / HTTP/1.1\r\nHost: NAME\r\nX: a\r\n b\r\nConnection: close\r\n\r\n", "400")]
#[tokio::test]
async fn requests_for_others_and_unclear_ones_do_not_reach_the_world(#[case] request: &str, #[case] status: &str) {
    let mut world = World::new(true).await;
    let guest = Guest::of(&world).await;
    let answer = raw(&guest, &request.replace("NAME", &guest.name())).await;
    assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
    assert!(world.saw_no_more() && !answer.contains(SECRET));
}

/// One request with two lengths is at most one at the other end.
#[tokio::test]
async fn a_request_cannot_hide_another() {
    let mut world = World::new(true).await;
    let guest = Guest::of(&world).await;
    let hidden = "GET /hidden HTTP/1.1\r\nHost: NAME\r\n\r\n";
    for head in [
        "Content-Length: 4\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 4",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: xchunked",
    ] {
        let request = format!("POST /a HTTP/1.1\r\nHost: NAME\r\n{head}\r\nConnection: close\r\n\r\n0\r\n\r\n{hidden}");
        let answer = raw(&guest, &request.replace("NAME", &guest.name())).await;
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{head}: {answer}");
        while let Ok(seen) = world.seen.try_recv() {
            assert!(seen.uri().path() == "/a" && seen.body().is_empty(), "{head}: {seen:?}");
        }
    }
}

#[tokio::test]
async fn an_authority_of_http_2_is_held_to_the_connection_too() {
    let mut world = World::new(true).await;
    let guest = Guest::of(&world).await;
    for (uri, host) in [("https://evil.example/", None), (&*format!("https://{}/", guest.name()), Some("evil.example"))]
    {
        let io = TokioIo::new(guest.tls("h2").await);
        let (mut sender, connection) = http2_client::handshake(TokioExecutor::new(), io).await.unwrap();
        tokio::spawn(connection);
        let mut request = Request::builder().uri(uri).body(body("")).unwrap();
        if let Some(host) = host {
            request.headers_mut().insert("host", host.parse().unwrap());
        }
        let response = timeout(WITHIN, sender.send_request(request)).await.unwrap().unwrap();
        assert_eq!(response.status(), StatusCode::MISDIRECTED_REQUEST);
    }
    assert!(world.saw_no_more());
}

/// curl 7.88 reads no answer of a stream that was closed before its own end.
#[tokio::test]
async fn over_http_2_a_refusal_comes_after_the_request() {
    let mut world = World::new(true).await;
    let guest = Guest::of(&world).await;
    let io = TokioIo::new(guest.tls("h2").await);
    let (mut sender, connection) = http2_client::handshake(TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);
    let (pieces, receiver) = mpsc::channel::<std::io::Result<Frame<Bytes>>>(1);
    let body = StreamBody::new(tokio_stream::wrappers::ReceiverStream::new(receiver));
    let request = Request::builder().method("POST").uri("https://evil.example/").body(body).unwrap();
    let mut answered = tokio::spawn(sender.send_request(request));
    for _ in 0..3 {
        pieces.send(Ok(Frame::data(Bytes::from_static(b"a piece")))).await.unwrap();
        let early = timeout(Duration::from_millis(100), &mut answered).await;
        assert!(early.is_err(), "its end has not come");
    }
    drop(pieces);
    let response = timeout(WITHIN, answered).await.unwrap().unwrap().unwrap();
    assert_eq!(response.status(), StatusCode::MISDIRECTED_REQUEST);
    assert!(world.saw_no_more());
}

#[tokio::test]
async fn tls_is_ended_in_the_name_that_was_asked_for_and_for_nobody_else() {
    let mut world = World::new(true).await;
    let guest = Guest::of(&world).await;
    assert!(guest.try_tls(&guest.authority, "other.example", "http/1.1").await.is_err());
    assert!(guest.try_tls(&world.authority, HOST, "http/1.1").await.is_err(), "it is the session's authority");
    // A session without the credential, or whose environment may not use it, has a tunnel as before: the world's own certificate.
    for lines in ["header = 'x-api-key'\nenvironments = ['other']"] {
        let name = format!("{HOST}:{}", world.port);
        let guest = Guest::with(&world, HOST, lines, &[&name]).await;
        let mut io = guest.try_tls(&world.authority, HOST, "http/1.1").await.unwrap();
        io.write_all(format!("GET / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n").as_bytes()).await.unwrap();
        assert!(!world.seen().await.headers().contains_key("x-api-key"));
        let refused = Guest::with(&world, HOST, lines, &[]).await;
        let answer = refused.fixture.ask(&format!("CONNECT {name} HTTP/1.1\r\nConnection: close\r\n\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    }
}

/// What a credential is not for goes only as its entry lets it, and as people allow it.
#[tokio::test]
async fn what_goes_without_it_is_spoken_as_its_entry_says() {
    let mut world = World::new(true).await;
    let lines = "header = 'x-api-key'\npath = '/v1/'";
    let name = format!("{HOST}:{}", world.port);
    for (entry, expected) in [("http://", StatusCode::FORBIDDEN), ("https://", StatusCode::OK)] {
        let guest = Guest::with(&world, HOST, lines, &[&format!("{entry}{name}")]).await;
        let response = guest.send(false, guest.request("/admin").body(body("")).unwrap()).await;
        assert_eq!(response.status(), expected, "{entry}");
    }
    assert!(!world.seen().await.headers().contains_key("x-api-key"));
    let guest = Guest::with(&world, HOST, lines, &[]).await;
    let asks = async || guest.send(false, guest.request("/admin").body(body("")).unwrap()).await.status();
    assert_eq!(asks().await, StatusCode::FORBIDDEN);
    guest.fixture.gateway.allow("01J", &[Egress { to: name, private: true }]);
    assert_eq!(asks().await, StatusCode::OK);
    assert!(!world.seen().await.headers().contains_key("x-api-key"));
}

#[tokio::test]
async fn a_host_that_nobody_vouches_for_is_told_nothing() {
    let mut world = World::new(true).await;
    let guest = Guest::with(&world, HOST, "bearer = true # no ca", &[]).await;
    let response = guest.send(false, guest.request("/").body(body("")).unwrap()).await;
    assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
    let text = text_of(response).await;
    assert!(text.contains("gave no proper answer") && text.contains("certificate"), "{text}");
    let mut wrong = World::named(true, "other.example").await;
    let guest = Guest::of(&wrong).await;
    assert_eq!(guest.send(true, guest.request("/").body(body("")).unwrap()).await.status(), StatusCode::BAD_GATEWAY);
    assert!(world.saw_no_more() && wrong.saw_no_more());
}

#[rstest::rstest]
#[tokio::test]
async fn a_piece_of_an_answer_arrives_before_the_next_was_sent(#[values(false, true)] h2: bool) {
    let mut world = World::new(true).await;
    let guest = Guest::of(&world).await;
    let response = guest.send(h2, guest.request("/events").body(body("")).unwrap()).await;
    let mut pieces = response.into_body().into_data_stream();
    for piece in ["data: one\n\n", "data: two\n\n"] {
        world.events.send(piece).await.unwrap();
        assert_eq!(timeout(WITHIN, pieces.next()).await.unwrap().unwrap().unwrap(), piece);
    }
    // Who goes away is not answered any more at the other end either.
    drop(pieces);
    drop(guest);
    world.events.send("data: three\n\n").await.ok();
    timeout(WITHIN, world.gone.wait_for(|gone| *gone == 1)).await.unwrap().unwrap();
}

#[rstest::rstest]
#[tokio::test]
async fn websockets_go_through(#[values(true, false)] encrypted: bool) {
    let mut world = World::new(encrypted).await;
    let guest = Guest::of(&world).await;
    let request =
        format!("GET /ws HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", guest.name());
    let mut io: Box<dyn crate::vm::Io> =
        if encrypted { Box::new(guest.tls("http/1.1").await) } else { Box::new(guest.connect().await) };
    io.write_all(request.as_bytes()).await.unwrap();
    let mut head = vec![];
    while !head.ends_with(b"\r\n\r\n") {
        head.push(timeout(WITHIN, io.read_u8()).await.unwrap().unwrap());
    }
    assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
    assert_eq!(world.seen().await.headers()["x-api-key"], SECRET);
    for _ in 0..2 {
        io.write_all(b"hello").await.unwrap();
        let mut echo = [0; 5];
        timeout(WITHIN, io.read_exact(&mut echo)).await.unwrap().unwrap();
        assert_eq!(&echo, b"HELLO");
    }
}

#[tokio::test]
async fn connections_are_used_again() {
    let mut world = World::new(true).await;
    let guest = Guest::of(&world).await;
    let (mut sender, connection) = http1_client::handshake(TokioIo::new(guest.tls("http/1.1").await)).await.unwrap();
    tokio::spawn(connection);
    for _ in 0..3 {
        sender.ready().await.unwrap();
        let request = Request::builder().uri("/").header("host", guest.name()).body(body("")).unwrap();
        let response = timeout(WITHIN, sender.send_request(request)).await.unwrap().unwrap();
        text_of(response).await;
        world.seen().await;
    }
    assert_eq!(world.connections.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn who_takes_a_credential_back_is_heard_by_connections_that_stand() {
    let mut world = World::new(true).await;
    let guest = Guest::of(&world).await;
    let (mut sender, connection) = http1_client::handshake(TokioIo::new(guest.tls("http/1.1").await)).await.unwrap();
    tokio::spawn(connection);
    for expected in [StatusCode::OK, StatusCode::FORBIDDEN] {
        sender.ready().await.unwrap();
        let request = Request::builder().uri("/").header("host", guest.name()).body(body("")).unwrap();
        let response = timeout(WITHIN, sender.send_request(request)).await.unwrap().unwrap();
        assert_eq!(response.status(), expected);
        text_of(response).await;
        let _ = fs::remove_file(guest.fixture.path(FILE));
    }
    world.seen().await;
    assert!(world.saw_no_more());
}

#[tokio::test]
async fn a_secret_that_cannot_be_read_is_said_without_a_word_of_it() {
    let mut world = World::new(true).await;
    let guest = Guest::of(&world).await;
    write(&guest.fixture.path("secret"), "canary-secret\nX-Evil: 1");
    let response = guest.send(false, guest.request("/").body(body("")).unwrap()).await;
    assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
    let text = text_of(response).await;
    assert!(text.contains("pilothouse credential check one") && !text.contains("canary"), "{text}");
    assert!(world.saw_no_more());
}

#[rstest::rstest]
#[tokio::test]
async fn nothing_goes_in_unencrypted_but_to_the_host_itself_or_where_that_is_said(#[values(true, false)] tunnel: bool) {
    let mut world = World::new(false).await;
    let listed = [format!("127.0.0.1:{}", world.port)];
    let listed: Vec<&str> = listed.iter().map(String::as_str).collect();
    for (host, lines, secret) in [
        (HOST, "header = 'x-api-key'", true),
        ("127.0.0.1", "header = 'x-api-key'", false),
        ("127.0.0.1", "header = 'x-api-key'\nplain = true", true),
    ] {
        let guest = Guest::with(&world, host, lines, &listed).await;
        let name = guest.name();
        if tunnel {
            let mut io = guest.connect().await;
            let request = format!("GET / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n");
            io.write_all(request.as_bytes()).await.unwrap();
            io.read_to_end(&mut vec![]).await.unwrap();
        } else {
            let request = format!("GET http://{name}/ HTTP/1.1\r\nHost: x\r\nConnection: close, x-api-key\r\n\r\n");
            let answer = guest.fixture.ask(&request).await;
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        }
        assert_eq!(world.seen().await.headers().contains_key("x-api-key"), secret, "{host}, {lines}");
    }
}

#[tokio::test]
async fn a_credential_is_tried_as_a_guest_would_use_it() {
    for encrypted in [true, false] {
        let mut world = World::new(encrypted).await;
        let guest = Guest::with(&world, HOST, "header = 'x-api-key'\npath = '/denied'", &[]).await;
        let one = guest.fixture.gateway.credentials.as_ref().unwrap().all().remove(0);
        let answers = guest.fixture.gateway.try_credential(&one).await;
        assert_eq!(answers, [(guest.name(), Ok(401))]);
        let seen = world.seen().await;
        assert_eq!((seen.uri().path(), seen.headers()["x-api-key"].to_str().unwrap()), ("/denied", SECRET));
    }
    let world = World::named(true, "other.example").await;
    let guest = Guest::with(&world, "127.0.0.1", "bearer = true", &[]).await;
    let one = guest.fixture.gateway.credentials.as_ref().unwrap().all().remove(0);
    let answers = guest.fixture.gateway.try_credential(&one).await;
    assert!(answers[0].1.as_ref().is_err_and(|why| why.contains("certificate")), "{answers:?}");
}

#[tokio::test]
async fn what_an_answer_took_is_read_as_it_passes() {
    let mut world = World::new(true).await;
    let mut guest = Guest::of(&world).await;
    let request = |guest: &Guest, path: &str| {
        guest.request(path).method("POST").header("accept-encoding", "gzip, br").body(body("question")).unwrap()
    };
    for h2 in [false, true] {
        let answer = text_of(guest.send(h2, request(&guest, "/model")).await).await;
        assert!(answer.contains("\"output_tokens\":3"), "{answer}");
        assert_eq!(world.seen().await.headers()["accept-encoding"], "identity");
        let spent = timeout(WITHIN, guest.spent.recv()).await.unwrap().unwrap();
        let tokens = hostd_core::usage::Tokens { input: 7, cache_read: 2, cache_write: 0, output: 3 };
        assert_eq!((spent.session.as_str(), spent.person.as_str(), spent.model.as_str()), ("01J", "sam", "m-1"));
        assert_eq!((spent.environment.as_str(), spent.tokens), ("demo", Some(tokens)));
    }
    // Of a GET, and of what is no JSON, nothing is read.
    text_of(guest.send(false, guest.request("/model").body(body("")).unwrap()).await).await;
    text_of(guest.send(false, request(&guest, "/other")).await).await;
    assert!(guest.spent.try_recv().is_err());
}

#[rstest::rstest]
#[tokio::test]
async fn what_an_api_refuses_is_known_until_it_answers(#[values(false, true)] h2: bool) {
    let world = World::new(true).await;
    let guest = Guest::of(&world).await;
    let gateway = guest.fixture.gateway.clone();
    let mut refusal = gateway.limits().open("01J", None);
    let ask = async |path: &str| {
        text_of(guest.send(h2, guest.request(path).method("POST").body(body("{}")).unwrap()).await).await;
    };
    let before = crate::clock::now();
    ask("/limited/v1/messages").await;
    let known = timeout(WITHIN, refusal.wait_for(Option::is_some)).await.unwrap().unwrap().clone().unwrap();
    assert_eq!((known.state, &*known.text, &*known.app), (State::Limited, "rate limited", HOST));
    assert!(known.at >= before && known.until.unwrap() >= before + 300_000, "{known:?}");
    // What asks no model says nothing of it.
    ask("/other").await;
    assert_eq!(refusal.borrow().clone(), Some(known));
    ask("/v1/messages").await;
    timeout(WITHIN, refusal.wait_for(Option::is_none)).await.unwrap().unwrap();
    // A stream that begins well may end so.
    ask("/overloaded/v1/messages").await;
    let known = timeout(WITHIN, refusal.wait_for(Option::is_some)).await.unwrap().unwrap().clone().unwrap();
    assert_eq!(&*known.text, "its model's API is overloaded");
    // That it begins to answer is not that it has answered.
    gateway.limits().set_aside("01J");
    let begun = refusal.borrow().clone().unwrap();
    assert_eq!((begun.state, &*begun.text, begun.until), (State::Working, "", None));
    gateway.limits().forget_over_budget("01J");
    assert_eq!(refusal.borrow().clone(), Some(begun));
    gateway.limits().answered("01J");
    assert_eq!(refusal.borrow().clone(), None);
    gateway.ledger().open("01J", Some(1), 1);
    ask("/v1/messages").await;
    let known = timeout(WITHIN, refusal.wait_for(Option::is_some)).await.unwrap().unwrap().clone().unwrap();
    assert_eq!((&*known.text, known.until), ("over budget", None));
    gateway.limits().forget_over_budget("01J");
    assert_eq!(refusal.borrow().clone(), None);
}

#[rstest::rstest]
#[tokio::test]
async fn an_answer_that_begins_is_none_until_it_has_ended(#[values(false, true)] h2: bool) {
    let world = World::new(true).await;
    let guest = Guest::of(&world).await;
    let gateway = guest.fixture.gateway.clone();
    let mut known = gateway.limits().open("01J", None);
    gateway.limits().refused("01J", "other.example.com", &hostd_core::usage::Limit::OVER_BUDGET);
    let request = guest.request("/events/v1/messages").method("POST").body(body("{}")).unwrap();
    let answer = guest.send(h2, request).await;
    let mut is = async |state: State| {
        let seen = known.wait_for(|known| known.as_ref().is_some_and(|known| known.state == state));
        timeout(WITHIN, seen).await.unwrap().unwrap().clone().unwrap()
    };
    is(State::Working).await;
    // Whoever reads this may end its turn before the stream ends.
    world.events.send("event: error\ndata: {\"error\":{\"type\":\"overloaded_error\"}}\n\n").await.unwrap();
    assert_eq!(is(State::Limited).await.app, HOST);
    drop(answer);
}

#[rstest::rstest]
#[tokio::test]
async fn a_budget_that_is_used_up_refuses_what_asks_a_model(#[values(false, true)] h2: bool) {
    let world = World::new(true).await;
    let mut guest = Guest::of(&world).await;
    let gateway = guest.fixture.gateway.clone();
    gateway.ledger().open("01J", Some(1600), 0);
    let ask = |guest: &Guest, path: &str| guest.request(path).method("POST").body(body("{}")).unwrap();
    // What says nothing of what it took is told with what it had reserved.
    text_of(guest.send(h2, ask(&guest, "/v1/messages")).await).await;
    let spent = timeout(WITHIN, guest.spent.recv()).await.unwrap().unwrap();
    assert_eq!((spent.tokens, spent.under_way.as_ref().unwrap().reserve()), (None, 100));
    drop(spent);
    gateway.ledger().charge("01J", 1600);
    for (path, status, kind) in
        [("/v1/messages", 402, "billing_error"), ("/v1/responses?x=1", 400, "insufficient_quota")]
    {
        let refused = guest.send(h2, ask(&guest, path)).await;
        assert_eq!(refused.status(), status);
        assert_eq!(refused.headers()["content-type"], "application/json");
        let said: serde_json::Value = serde_json::from_str(&text_of(refused).await).unwrap();
        assert_eq!(said["error"]["type"], kind);
        let why = "the budget of $0.0016 of this session is used up; a person raises it with `pilothouse budget ";
        assert!(said["error"]["message"].as_str().unwrap().starts_with(why), "{said}");
    }
    for request in [ask(&guest, "/graphql"), guest.request("/v1/messages").body(body("")).unwrap()] {
        assert_eq!(guest.send(h2, request).await.status(), StatusCode::OK, "it asks no model");
    }
    let upgrade = guest.request("/v1/responses").header("connection", "Upgrade").header("upgrade", "websocket");
    if !h2 {
        let refused = guest.send(h2, upgrade.body(body("")).unwrap()).await;
        assert_eq!(refused.status(), StatusCode::UPGRADE_REQUIRED, "nothing is counted there");
    }
    gateway.ledger().set_budget("01J", Some(2000));
    assert_eq!(guest.send(h2, ask(&guest, "/v1/messages")).await.status(), StatusCode::OK);
}

#[test]
fn a_wildcard_gives_leave_to_private_networks_alone() {
    let text = "[[credential]]\nname = 'lan'\nhosts = ['*.corp.lan']\nsecret = { file = '/s' }\nheader = 'x-key'\nprivate = true\n";
    let held: Vec<_> = Credential::parse("credentials.toml", text).unwrap().into_iter().map(Arc::new).collect();
    let destination = crate::gateway::egress::Destination { host: "x.corp.lan".into(), port: 443 };
    let allowed = with_leave(&caller(), &destination, &held);
    let entry = allowed.beside.credentials.iter().find(|entry| destination.is(entry)).unwrap();
    let leads = |address: &str| entry.may_lead_to(address.parse().unwrap());
    assert!(leads("10.0.0.1") && !leads("127.0.0.1") && !leads("169.254.169.254"));
    let other = crate::gateway::egress::Destination { port: 80, ..destination };
    assert!(!with_leave(&caller(), &other, &held).beside.credentials.iter().any(|entry| other.is(entry)));
}
