//! One request to a server, and the head of its answer: each on a connection of its own.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::{
    HeaderMap, Method, Request, StatusCode, Uri,
    body::Incoming,
    client::conn::http1,
    header::{HOST, LOCATION, USER_AGENT},
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, lookup_host},
    time::timeout,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, pki_types::ServerName},
};
use tokio_util::task::AbortOnDropHandle;

use crate::gateway::is_public;

/// Longest wait for a connection, TLS included.
const CONNECT: Duration = Duration::from_secs(30);
/// Longest wait for the head of an answer, and for each next piece of it.
pub(super) const SILENCE: Duration = Duration::from_secs(60);
/// Most places that an answer may lead on to.
const REDIRECTS: usize = 5;

/// Where a request goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Url {
    pub(super) secure: bool,
    pub(super) host: String,
    pub(super) port: u16,
    /// Path and query.
    pub(super) path: String,
}

impl Url {
    /// The URL in this text, http or https; None: it is none.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let uri: Uri = text.parse().ok()?;
        let secure = match uri.scheme_str()? {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let host = uri.host()?.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        // Who asks is said in a header, and to whom it may be.
        (!uri.authority()?.as_str().contains('@')).then(|| Self { secure, host, port, path: path.into() })
    }

    /// The place that an answer from here leads on to.
    fn join(&self, location: &str) -> Option<Self> {
        if location.starts_with('/') && !location.starts_with("//") {
            return Some(Self { path: location.into(), ..self.clone() });
        }
        Self::parse(location)
    }

    /// Host and port, as a request names them.
    pub(super) fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        let usual = if self.secure { 443 } else { 80 };
        if self.port == usual { host } else { format!("{host}:{}", self.port) }
    }

    fn is_of(&self, other: &Self) -> bool {
        (self.secure, &self.host, self.port) == (other.secure, &other.host, other.port)
    }
}

/// An answer whose body is still to be read.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// Host that has answered at last, for people.
    pub(super) host: String,
    /// Whether that is the one that was asked first: what another says is nothing that the registry says.
    pub(super) first: bool,
    body: Incoming,
    _connection: AbortOnDropHandle<()>,
}

impl Answer {
    /// The next piece of the body; None: that was all.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, String> {
        loop {
            let frame = timeout(SILENCE, self.body.frame()).await;
            match frame.map_err(|_| format!("nothing came for {} s", SILENCE.as_secs()))? {
                None => return Ok(None),
                Some(Err(error)) => return Err(format!("it broke off: {}", causes(&error))),
                Some(Ok(frame)) => {
                    if let Ok(bytes) = frame.into_data() {
                        return Ok(Some(bytes));
                    }
                }
            }
        }
    }

    /// All of the body, at most so many bytes.
    pub(super) async fn all(&mut self, most: u64) -> Result<Vec<u8>, String> {
        let mut all = vec![];
        while let Some(piece) = self.next().await? {
            if all.len() as u64 + piece.len() as u64 > most {
                return Err(format!("it says more than {most} bytes"));
            }
            all.extend_from_slice(&piece);
        }
        Ok(all)
    }
}

/// What differs from server to server.
pub(super) trait Asker: Sync {
    /// Whom it trusts there; None: there is no TLS.
    fn tls(&self, url: &Url) -> Option<&Arc<ClientConfig>>;
    /// Headers that say who asks. Nobody but the host that is asked first gets them.
    fn own(&self, url: &Url) -> HeaderMap;
    /// Whether content of a repository has said where to ask: then nothing but public addresses is.
    fn is_foreign(&self) -> bool;
}

/// Sends a request, and follows where its answers lead on to. Nothing goes unencrypted that began encrypted.
pub(super) async fn send(asker: &dyn Asker, method: &Method, url: &Url, headers: &HeaderMap) -> Result<Answer, String> {
    let mut at = url.clone();
    for _ in 0..=REDIRECTS {
        let mut all = headers.clone();
        if at.is_of(url) {
            all.extend(asker.own(&at));
        }
        let answer = once(asker.tls(&at), asker.is_foreign(), method, &at, all).await;
        let answer = answer.map_err(|why| format!("{}: {why}", at.authority()))?;
        if !answer.status.is_redirection() {
            return Ok(Answer { first: at.is_of(url), ..answer });
        }
        let next = answer.headers.get(LOCATION).and_then(|location| at.join(location.to_str().ok()?));
        let next = next.ok_or_else(|| format!("{} leads on to nowhere", at.authority()))?;
        if at.secure && !next.secure {
            return Err(format!("{} leads on to {}, without TLS", at.authority(), next.authority()));
        }
        at = next;
    }
    Err(format!("{} leads on more than {REDIRECTS} times", url.authority()))
}

async fn once(
    tls: Option<&Arc<ClientConfig>>,
    is_foreign: bool,
    method: &Method,
    url: &Url,
    headers: HeaderMap,
) -> Result<Answer, String> {
    let connecting = async {
        let address = (url.host.as_str(), url.port);
        let unreached = |error: std::io::Error| format!("it is not reached: {error}");
        let stream = if is_foreign {
            // By the very addresses that were judged.
            let all = lookup_host(address).await.map_err(unreached)?;
            let public: Vec<SocketAddr> = all.filter(|address| is_public(address.ip())).collect();
            if public.is_empty() {
                return Err(format!(
                    "it has no public address, and a repository has named it or its registry; add `registries = [\"{}\"]`, \
                     or the registry that leads to it, to the recipe's base if it is meant",
                    url.authority()
                ));
            }
            TcpStream::connect(&public[..]).await.map_err(unreached)?
        } else {
            TcpStream::connect(address).await.map_err(unreached)?
        };
        if !url.secure {
            return Ok::<Box<dyn Stream>, String>(Box::new(stream));
        }
        let config = tls.ok_or("it wants TLS, and there is none for it")?;
        let name = ServerName::try_from(url.host.clone()).map_err(|error| error.to_string())?;
        let stream = TlsConnector::from(config.clone()).connect(name, stream).await;
        Ok(Box::new(stream.map_err(|error| format!("TLS: {error}"))?))
    };
    let stream = timeout(CONNECT, connecting).await;
    let stream = stream.map_err(|_| format!("it is not reached within {} s", CONNECT.as_secs()))??;
    let handshake = http1::handshake::<_, Empty<Bytes>>(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|error| causes(&error))?;
    let connection = AbortOnDropHandle::new(tokio::spawn(async move {
        // Whoever reads the body is told.
        let _ = connection.await;
    }));
    let mut request = Request::builder()
        .method(method)
        .uri(&url.path)
        .header(HOST, url.authority())
        .header(USER_AGENT, concat!("pilothouse/", env!("CARGO_PKG_VERSION")))
        .body(Empty::new())
        .map_err(|error| error.to_string())?;
    request.headers_mut().extend(headers);
    let answer = timeout(SILENCE, sender.send_request(request)).await;
    let answer = answer.map_err(|_| format!("it does not answer within {} s", SILENCE.as_secs()))?;
    let (head, body) = answer.map_err(|error| causes(&error))?.into_parts();
    Ok(Answer {
        status: head.status,
        headers: head.headers,
        host: url.authority(),
        first: true,
        body,
        _connection: connection,
    })
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// An error with all that has led to it.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}
