//! The first byte of a streamed answer through the gateway with a credential, beside the same through a plain tunnel, in turns:
//! `cargo bench -p tests --bench gateway`. No VM: what the guest's side costs is the same for both.
//!
//! The server is on this machine's loopback. It answers at once, or as late as a quick model gives its first word.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use hostd::{
    credentials::Credentials,
    forge::BareRepositories,
    gateway::{Access, Authority, Beside, Caller, Gateway},
};
use hostd_core::recipe::Egress;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::sleep,
};
use tokio_rustls::{
    TlsAcceptor, TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, RootCertStore, ServerConfig,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, pem::PemObject as _},
    },
};

const NAME: &str = "host.pilothouse.internal";
/// How often each is measured.
const ROUNDS: usize = 200;
/// When a quick model says its first word.
const MODEL: Duration = Duration::from_millis(100);

#[tokio::main]
async fn main() {
    let folder = tempfile::tempdir().unwrap();
    let (port, ca) = world().await;
    let authority = Arc::new(Authority::new().unwrap());
    let credentials = credentials(folder.path(), port, &ca);
    let gateway = Arc::new(Gateway::new(BareRepositories::at(folder.path().join("git"))).with_credentials(credentials));
    let with = Access { credentials: vec!["model".into()], authority: Some(authority.clone()), person: "sam".into() };
    let ways = [
        Way { proxy: proxy(&gateway, caller(port, Access::default())).await, tls: trusting(&ca), port },
        Way { proxy: proxy(&gateway, caller(port, with)).await, tls: trusting(authority.certificate()), port },
    ];
    println!(
        "{:<54}{:>12}{:>12}{:>8}",
        "to the first byte of a streamed answer (median)", "tunnel", "credential", "ratio"
    );
    for (what, thinks, kept) in [
        ("kept connection, server that answers at once", Duration::ZERO, true),
        ("new connection, server that answers at once", Duration::ZERO, false),
        ("kept connection, server that thinks for 100 ms", MODEL, true),
        ("new connection, server that thinks for 100 ms", MODEL, false),
    ] {
        let rounds = if thinks.is_zero() { ROUNDS } else { ROUNDS / 5 };
        let [tunnel, credential] = measure(&ways, thinks, kept, rounds).await;
        let ratio = credential.as_secs_f64() / tunnel.as_secs_f64();
        println!("{what:<54}{tunnel:>12.1?}{credential:>12.1?}{ratio:>8.2}");
    }
}

/// A proxy of the gateway's, for one caller, and whom its client trusts.
struct Way {
    proxy: String,
    tls: TlsConnector,
    port: u16,
}

async fn measure(ways: &[Way; 2], thinks: Duration, kept: bool, rounds: usize) -> [Duration; 2] {
    let mut connections = [ways[0].connect().await, ways[1].connect().await];
    let mut took = [Vec::new(), Vec::new()];
    for round in 0..=rounds {
        for (at, way) in ways.iter().enumerate() {
            let begun = Instant::now();
            if !kept {
                connections[at] = way.connect().await;
            }
            let first = way.ask(&mut connections[at], thinks, begun).await;
            // The first round warms up.
            if round > 0 {
                took[at].push(first);
            }
        }
    }
    took.map(|mut all| {
        all.sort();
        all[all.len() / 2]
    })
}

impl Way {
    async fn connect(&self) -> TlsStream<TcpStream> {
        let mut stream = TcpStream::connect(&self.proxy).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let ask = format!("CONNECT {NAME}:{0} HTTP/1.1\r\nHost: {NAME}:{0}\r\n\r\n", self.port);
        stream.write_all(ask.as_bytes()).await.unwrap();
        let mut head = vec![];
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        self.tls.connect(ServerName::try_from(NAME).unwrap(), stream).await.unwrap()
    }

    /// Asks, and reads all of the answer; returns when its first byte was there.
    async fn ask(&self, io: &mut TlsStream<TcpStream>, thinks: Duration, begun: Instant) -> Duration {
        let request = format!("GET /{} HTTP/1.1\r\nHost: {NAME}:{}\r\n\r\n", thinks.as_millis(), self.port);
        io.write_all(request.as_bytes()).await.unwrap();
        io.flush().await.unwrap();
        let (mut answer, mut first, mut buffer) = (vec![], None, [0; 4096]);
        while !answer.ends_with(b"0\r\n\r\n") {
            let length = io.read(&mut buffer).await.unwrap();
            assert!(length > 0, "{}", String::from_utf8_lossy(&answer));
            answer.extend_from_slice(&buffer[..length]);
            if first.is_none() && answer.windows(11).any(|part| part == b"data: first") {
                first = Some(begun.elapsed());
            }
        }
        first.unwrap()
    }
}

/// A server that streams two events, the second after the first has gone.
async fn world() -> (u16, String) {
    let authority_key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "the world");
    let ca = params.self_signed(&authority_key).unwrap().pem();
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new([NAME.to_owned()]).unwrap();
    let leaf = leaf.signed_by(&key, &Issuer::new(params, authority_key)).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            stream.set_nodelay(true).unwrap();
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut io) = acceptor.accept(stream).await else { return };
                while let Some(head) = head(&mut io).await {
                    let thinks = head.split(['/', ' ']).nth(2).unwrap().parse().unwrap();
                    sleep(Duration::from_millis(thinks)).await;
                    let head =
                        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
                    for piece in [&*format!("{head}d\r\ndata: first\n\n\r\n"), "e\r\ndata: second\n\n\r\n0\r\n\r\n"] {
                        if io.write_all(piece.as_bytes()).await.is_err() || io.flush().await.is_err() {
                            return;
                        }
                    }
                }
            });
        }
    });
    (port, ca)
}

async fn head(io: &mut (impl tokio::io::AsyncRead + Unpin)) -> Option<String> {
    let mut head = vec![];
    while !head.ends_with(b"\r\n\r\n") {
        head.push(io.read_u8().await.ok()?);
    }
    String::from_utf8(head).ok()
}

fn trusting(ca: &str) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca.as_bytes()).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}

fn credentials(folder: &Path, port: u16, ca: &str) -> Arc<Credentials> {
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    };
    write("ca.pem", ca);
    write("secret", "secret");
    let folder_name = folder.display();
    let text = format!(
        "[[credential]]\nname = 'model'\nhosts = ['{NAME}:{port}']\nheader = 'x-api-key'\n\
         secret = {{ file = '{folder_name}/secret' }}\nca = '{folder_name}/ca.pem'\n"
    );
    write("credentials.toml", &text);
    Arc::new(Credentials::of(folder))
}

fn caller(port: u16, access: Access) -> Arc<Caller> {
    Arc::new(Caller {
        session_id: "01BENCH".into(),
        slug: "bench".into(),
        environment: "bench".into(),
        repository: None,
        branch_prefix: None,
        opens_pulls: None,
        also_read: vec![],
        egress: vec![Egress { to: format!("{NAME}:{port}"), private: false }],
        beside: Beside::default(),
        access,
    })
}

/// The gateway for this caller, where in a guest's stead TCP connects to it.
async fn proxy(gateway: &Arc<Gateway>, caller: Arc<Caller>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let gateway = gateway.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            stream.set_nodelay(true).unwrap();
            let (gateway, caller) = (gateway.clone(), caller.clone());
            tokio::spawn(async move { gateway.serve(&caller, stream).await });
        }
    });
    address
}
