//! Reports of CI that runs elsewhere, over HTTP. Off unless asked for.
//!
//! ```text
//! POST /repositories/NAME/commits/COMMIT/checks/CHECK      Authorization: Bearer TOKEN
//! {"state": "failed", "url": "https://ci.example.com/7", "summary": "2 of 40 failed", "log": "..."}
//! ```
//!
//! CHECK may be percent-encoded. Only `state` is needed. Answers are JSON: `{"changed": true}`, or `{"error": "..."}` with 400,
//! 401, 404, 405 or 503. A connection takes one report. Until its head has come and has the token it is a stranger: these have
//! seconds, and the one that waits longest makes room for the next, so that who only connects keeps nobody out. It speaks plain
//! HTTP: where it is to be reached from elsewhere, TLS belongs in front of it.

#[cfg(test)]
mod tests;
mod visit;

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use hostd_core::checks::CheckState;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Deserialize;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{sleep, timeout},
};

use crate::forge::{Forge, ForgeError, Report};
use visit::{Desk, Visit};

/// Longest time of a connection, from its beginning to its end.
const DEADLINE: Duration = Duration::from_secs(60);
/// Longest head of a request, in bytes; as much of a body may be read ahead.
const HEAD_MAX: usize = 16 << 10;
/// Longest body of a request, in bytes.
const BODY_MAX: usize = 6 << 20;
/// Most bodies that are held at a time; more wait.
const BODIES: usize = 16;
/// Bytes of randomness in a token that is made here.
const TOKEN_BYTES: usize = 32;
/// Shortest token that is taken, in bytes.
const TOKEN_MIN: usize = 16;
/// Pause after an accept that failed, e.g. for want of file descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// Limits of connections that have not said the token.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Most strangers that wait at a time.
    pub strangers: usize,
    /// Most strangers of one address.
    pub of_address: usize,
    /// Longest wait for the head of a request.
    pub head: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { strangers: 256, of_address: 64, head: Duration::from_secs(5) }
    }
}

/// An address on which reports of checks are taken.
#[derive(Debug)]
pub struct Endpoint {
    listener: TcpListener,
    /// Hash of the token: comparing hashes tells nothing about how much of a token was right.
    token: blake3::Hash,
    limits: Limits,
}

impl Endpoint {
    /// Listens, and reads the token; one is made where the file is not there.
    ///
    /// # Errors
    /// The address cannot be listened on, or the token cannot be used; with what to do.
    pub async fn open(address: SocketAddr, token: &Path) -> io::Result<Self> {
        let token = read_token(token)?;
        let listener = TcpListener::bind(address).await.map_err(|error| told(&error, address))?;
        if !address.ip().is_loopback() {
            tracing::warn!(%address, "reports of checks come over plain HTTP; put TLS in front of it");
        }
        Ok(Self { listener, token: blake3::hash(token.as_bytes()), limits: Limits::default() })
    }

    /// Sets other limits.
    #[must_use]
    pub fn with_limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// Address that the endpoint listens on.
    ///
    /// # Errors
    /// What the system says.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Takes reports and gives them to the forge, for ever.
    pub async fn serve(self, forge: Arc<dyn Forge>) -> Infallible {
        let desk = Desk::new(self.limits);
        let taker =
            Arc::new(Taker { forge, token: self.token, bodies: Semaphore::new(BODIES), head: self.limits.head });
        loop {
            let Ok((stream, peer)) = self.listener.accept().await else {
                sleep(PAUSE).await;
                continue;
            };
            let (visit, taker) = (desk.admit(peer.ip()), taker.clone());
            tokio::spawn(async move { taker.serve(stream, visit).await });
        }
    }
}

/// What all connections share.
struct Taker {
    forge: Arc<dyn Forge>,
    token: blake3::Hash,
    /// Turns for holding a body.
    bodies: Semaphore,
    head: Duration,
}

impl Taker {
    async fn serve(&self, stream: TcpStream, visit: Visit) {
        let service = service_fn(|request| async { Ok::<_, Infallible>(answer(self, &visit, request).await) });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.head)
            .max_buf_size(HEAD_MAX)
            // The next request is of a stranger again.
            .keep_alive(false)
            .serve_connection(TokioIo::new(stream), service);
        // Whoever breaks off, dawdles or is sent away gets no answer.
        tokio::select! {
            _ = timeout(DEADLINE, connection) => {}
            () = visit.sent_away() => {}
        }
    }
}

fn told(error: &io::Error, what: impl std::fmt::Display) -> io::Error {
    io::Error::new(error.kind(), format!("{what}: {error}"))
}

/// Reads the token from this file, without white space around it; makes one where there is no such file.
fn read_token(path: &Path) -> io::Result<String> {
    let shown = path.display();
    match std::fs::read_to_string(path) {
        Ok(text) if text.trim().len() >= TOKEN_MIN => Ok(text.trim().to_owned()),
        Ok(_) => {
            let text = format!("{shown}: a token has at least {TOKEN_MIN} bytes; remove the file to have one made");
            Err(io::Error::new(io::ErrorKind::InvalidData, text))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let mut bytes = [0; TOKEN_BYTES];
            getrandom::fill(&mut bytes).map_err(io::Error::other)?;
            let token = URL_SAFE_NO_PAD.encode(bytes);
            let mut file = std::fs::File::options().write(true).create_new(true).mode(0o600).open(path)?;
            io::Write::write_all(&mut file, format!("{token}\n").as_bytes()).map_err(|error| told(&error, shown))?;
            Ok(token)
        }
        Err(error) => Err(told(&error, shown)),
    }
}

/// Body of a report. Foreign.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    state: String,
    #[serde(default)]
    url: String,
    #[serde(default)]
    summary: String,
    log: Option<String>,
}

async fn answer(taker: &Taker, visit: &Visit, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let (status, body) = match report(taker, visit, request).await {
        Ok(changed) => (StatusCode::OK, serde_json::json!({ "changed": changed })),
        Err((status, error)) => (status, serde_json::json!({ "error": error })),
    };
    let mut response = Response::new(Full::new(Bytes::from(format!("{body}\n"))));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

async fn report(taker: &Taker, visit: &Visit, request: Request<Incoming>) -> Result<bool, (StatusCode, String)> {
    let wrong = |status: StatusCode, text: &str| (status, text.to_owned());
    let given = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let given = given.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
    if blake3::hash(given.trim().as_bytes()) != taker.token {
        return Err(wrong(StatusCode::UNAUTHORIZED, "say `Authorization: Bearer TOKEN` with this host's token"));
    }
    visit.become_known();
    if request.method() != Method::POST {
        return Err(wrong(StatusCode::METHOD_NOT_ALLOWED, "reports are POSTed"));
    }
    let path = request.uri().path().to_owned();
    let (repository, commit, name) = place(&path)?;
    let turn = taker.bodies.acquire().await;
    let _turn = turn.map_err(|_| wrong(StatusCode::SERVICE_UNAVAILABLE, "hostd is stopping; try again"))?;
    let body = Limited::new(request.into_body(), BODY_MAX).collect().await;
    let body =
        body.map_err(|_| (StatusCode::BAD_REQUEST, format!("the body breaks off, or has over {BODY_MAX} bytes")))?;
    let report = said(name, &body.to_bytes())?;
    taker.forge.report(repository, commit, report).await.map_err(|error| (status_of(&error), error.to_string()))
}

/// The repository, commit and check that a request's path names.
fn place(path: &str) -> Result<(&str, &str, String), (StatusCode, String)> {
    let help = "reports go to /repositories/NAME/commits/COMMIT/checks/CHECK";
    let parts: Vec<&str> = path.split('/').collect();
    let ["", "repositories", repository, "commits", commit, "checks", name] = parts[..] else {
        return Err((StatusCode::NOT_FOUND, help.into()));
    };
    let name = decoded(name).ok_or_else(|| (StatusCode::BAD_REQUEST, "the check's name is not UTF-8".to_owned()))?;
    Ok((repository, commit, name))
}

/// The report that a request's body makes of the check of this name.
fn said(name: String, body: &[u8]) -> Result<Report, (StatusCode, String)> {
    let said: Said = serde_json::from_slice(body)
        .map_err(|error| (StatusCode::BAD_REQUEST, format!("the body is not as it should be: {error}")))?;
    let state = CheckState::from_word(&said.state).ok_or_else(|| {
        let words = CheckState::ALL.map(CheckState::word).join(", ");
        (StatusCode::BAD_REQUEST, format!("{:?} is no state; say one of {words}", said.state))
    })?;
    let log = said.log.map(String::into_bytes);
    Ok(Report { name, state, summary: said.summary, url: said.url, log })
}

/// Reads the path and the body of a request, for the fuzz targets.
///
/// # Errors
/// It is no report.
#[cfg(fuzzing)]
pub fn read(path: &str, body: &[u8]) -> Result<Report, String> {
    place(path).and_then(|(_, _, name)| said(name, body)).map_err(|(_, text)| text)
}

fn status_of(error: &ForgeError) -> StatusCode {
    match error {
        ForgeError::NoRepository { .. } | ForgeError::NoCommit { .. } => StatusCode::NOT_FOUND,
        ForgeError::Invalid(_) => StatusCode::BAD_REQUEST,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// Decodes `%XX` to the byte that it stands for; None: the result is no text.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let hex = tail.get(..2).filter(|_| *first == b'%').and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8(bytes).ok()
}

/// Path of the token's file unless another is named.
#[must_use]
pub fn default_token(data: &Path) -> PathBuf {
    data.join("checks.token")
}
