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
mod token;
mod visit;

use std::{convert::Infallible, io, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use axum::{
    Extension, Router,
    body::{Body, to_bytes},
    extract::{self, Request, State, rejection::PathRejection},
    http::{
        StatusCode,
        header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue},
    },
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::post,
};
use hostd_core::checks::CheckState;
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Deserialize;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{sleep, timeout},
};
use tower::ServiceExt as _;

use crate::forge::{Forge, ForgeError, Report};
pub use token::default_token;
use visit::{Desk, Visit};

/// Longest time of a connection, from its beginning to its end.
const DEADLINE: Duration = Duration::from_secs(60);
/// Longest head of a request, in bytes; as much of a body may be read ahead.
const HEAD_MAX: usize = 16 << 10;
/// Longest body of a request, in bytes.
const BODY_MAX: usize = 6 << 20;
/// Most bodies that are held at a time; more wait for a permit.
const BODIES: usize = 16;
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
        let token = token::read(token)?;
        let listener = TcpListener::bind(address).await.map_err(|error| token::told(&error, address))?;
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
        let router = router(Arc::new(Taker { forge, token: self.token, bodies: Semaphore::new(BODIES) }));
        loop {
            let Ok((stream, peer)) = self.listener.accept().await else {
                sleep(PAUSE).await;
                continue;
            };
            let visit = Arc::new(desk.admit(peer.ip()));
            tokio::spawn(serve_connection(stream, router.clone(), visit, self.limits.head));
        }
    }
}

/// Serves one connection, which takes one request.
async fn serve_connection(stream: TcpStream, router: Router, visit: Arc<Visit>, head: Duration) {
    let service = service_fn(|request: hyper::Request<hyper::body::Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(visit.clone());
        router.clone().oneshot(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head)
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

/// What all connections share.
struct Taker {
    forge: Arc<dyn Forge>,
    /// Hash of the token.
    token: blake3::Hash,
    /// Permits for holding a body.
    bodies: Semaphore,
}

/// The only route, behind the token.
fn router(taker: Arc<Taker>) -> Router {
    let nowhere = "reports go to /repositories/NAME/commits/COMMIT/checks/CHECK";
    Router::new()
        .route("/repositories/{repository}/commits/{commit}/checks/{check}", post(take))
        .fallback(move || async move { Refusal::new(StatusCode::NOT_FOUND, nowhere) })
        .method_not_allowed_fallback(|| async { Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "reports are POSTed") })
        .layer(middleware::from_fn_with_state(taker.clone(), authorize))
        .with_state(taker)
}

/// Lets a request through that has the token; its connection is no stranger any more.
async fn authorize(
    State(taker): State<Arc<Taker>>,
    Extension(visit): Extension<Arc<Visit>>,
    request: Request,
    next: Next,
) -> Result<Response, Refusal> {
    let given = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let given = given.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
    if blake3::hash(given.trim().as_bytes()) != taker.token {
        let help = "say `Authorization: Bearer TOKEN` with this host's token";
        return Err(Refusal::new(StatusCode::UNAUTHORIZED, help));
    }
    visit.become_known();
    Ok(next.run(request).await)
}

/// Takes a report.
async fn take(
    State(taker): State<Arc<Taker>>,
    path: Result<extract::Path<(String, String, String)>, PathRejection>,
    request: Request,
) -> Result<Response, Refusal> {
    let extract::Path((repository, commit, name)) =
        path.map_err(|_| Refusal::new(StatusCode::BAD_REQUEST, "the path is not UTF-8"))?;
    let permit = taker.bodies.acquire().await;
    let _permit = permit.map_err(|_| Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "hostd is stopping; try again"))?;
    let body = to_bytes(request.into_body(), BODY_MAX).await.map_err(|_| {
        Refusal::new(StatusCode::BAD_REQUEST, format!("the body breaks off, or has over {BODY_MAX} bytes"))
    })?;
    let report = read(name, &body).map_err(|why| Refusal::new(StatusCode::BAD_REQUEST, why))?;
    let changed = taker.forge.report(&repository, &commit, report).await;
    let changed = changed.map_err(|error| Refusal::new(status_of(&error), error.to_string()))?;
    Ok(json(StatusCode::OK, &serde_json::json!({ "changed": changed })))
}

/// Why a request is refused, in words for whoever set up the CI elsewhere.
struct Refusal {
    status: StatusCode,
    text: String,
}

impl Refusal {
    fn new(status: StatusCode, text: impl Into<String>) -> Self {
        Self { status, text: text.into() }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        json(self.status, &serde_json::json!({ "error": self.text }))
    }
}

fn json(status: StatusCode, body: &serde_json::Value) -> Response {
    let kind = [(CONTENT_TYPE, HeaderValue::from_static("application/json"))];
    (status, kind, format!("{body}\n")).into_response()
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

/// The report that a request's body makes of the check of this name. The body is foreign.
///
/// # Errors
/// Why the body is no report, in words for a person.
pub fn read(name: String, body: &[u8]) -> Result<Report, String> {
    let said: Said =
        serde_json::from_slice(body).map_err(|error| format!("the body is not as it should be: {error}"))?;
    let state = CheckState::from_word(&said.state).ok_or_else(|| {
        let words = CheckState::ALL.map(CheckState::word).join(", ");
        format!("{:?} is no state; say one of {words}", said.state)
    })?;
    let log = said.log.map(String::into_bytes);
    Ok(Report { name, state, summary: said.summary, url: said.url, log })
}

fn status_of(error: &ForgeError) -> StatusCode {
    match error {
        ForgeError::NoRepository { .. } | ForgeError::NoCommit { .. } => StatusCode::NOT_FOUND,
        ForgeError::Invalid(_) => StatusCode::BAD_REQUEST,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
