//! A server on the host's loopback with a certificate of its own authority, for credentials whose `ca` that is.

use std::{
    fs,
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    sync::Arc,
    thread,
};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tokio_rustls::rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    crypto::ring,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};

use tests::{Host, paths};

/// Name by which guests reach it.
pub(crate) const NAME: &str = "host.pilothouse.internal";

/// A connection to it.
pub(crate) type Stream = StreamOwned<ServerConnection, TcpStream>;

/// Has each connection served by a thread, until the process ends. Returns the port, and the authority's certificate as PEM.
pub(crate) fn serve(serve: impl Fn(Stream) -> io::Result<()> + Send + Sync + 'static) -> (u16, String) {
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
    let (config, listener) = (Arc::new(config), TcpListener::bind("127.0.0.1:0").unwrap());
    let port = listener.local_addr().unwrap().port();
    let serve = Arc::new(serve);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (config, serve) = (config.clone(), serve.clone());
            thread::spawn(move || {
                let connection = ServerConnection::new(config).unwrap();
                // Who hangs up has what it wanted.
                let _ = serve(StreamOwned::new(connection, stream));
            });
        }
    });
    (port, ca)
}

/// Has each request of a connection answered, by its path, until the other side hangs up.
pub(crate) fn answer_each(stream: Stream, answer: impl Fn(&str, &mut Stream) -> io::Result<()>) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut first = String::new();
        if stream.read_line(&mut first)? == 0 {
            return Ok(());
        }
        let mut length = 0;
        loop {
            let mut line = String::new();
            stream.read_line(&mut line)?;
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length: ") {
                length = value.trim().parse().unwrap();
            }
            if line.trim_end().is_empty() {
                break;
            }
        }
        stream.read_exact(&mut vec![0; length])?;
        answer(first.split(' ').nth(1).unwrap_or_default(), stream.get_mut())?;
        stream.get_mut().flush()?;
    }
}

/// Has the environment `tools` use it as the API of a model, by a credential whose files are put into this folder. `lines` of the recipe
/// come on top. Returns its `host:port`.
pub(crate) fn model(host: &Host, folder: &Path, port: u16, ca: &str, lines: &str) -> String {
    fs::write(folder.join("ca.pem"), ca).unwrap();
    let secret = folder.join("secret");
    fs::write(&secret, "the secret\n").unwrap();
    let (name, folder) = (format!("{NAME}:{port}"), folder.display());
    let credentials = host.data().join("credentials.toml");
    let text = format!(
        "[[credential]]\nname = 'model'\nhosts = ['{name}']\nsecret = {{ file = '{folder}/secret' }}\nca = '{folder}/ca.pem'\n\
         header = 'x-api-key'\npath = '/v1/'\n"
    );
    fs::write(&credentials, text).unwrap();
    for file in [&secret, &credentials] {
        fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
    }
    let tools = fs::read_to_string(paths::root().join("tests/environments/tools.toml")).unwrap();
    let tools = tools.replacen("agent =", &format!("{lines}credentials = ['model']\nagent ="), 1);
    let recipe = host.data().join("tools.toml");
    fs::write(&recipe, tools).unwrap();
    assert!(host.cli(["env", "build", recipe.to_str().unwrap()]).text().contains("was built before"));
    name
}
