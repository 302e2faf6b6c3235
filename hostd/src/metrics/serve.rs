//! `GET /metrics` over plain HTTP, for whoever may connect to the address: it tells no names of sessions, and takes nothing.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::State,
    http::{
        StatusCode,
        header::{CONTENT_TYPE, HeaderValue},
    },
    response::{IntoResponse, Response},
    routing::get,
};
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::encoding::prometheus_text;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Mutex, OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout},
};
use tower::ServiceExt as _;

use super::Sources;

/// Most connections at a time; more wait to be accepted.
const CONNECTIONS: usize = 16;
/// Longest time of a connection. It takes one request.
const DEADLINE: Duration = Duration::from_secs(15);
/// Longest wait for the head of a request, and its longest size in bytes.
const HEAD: (Duration, usize) = (Duration::from_secs(2), 16 << 10);
/// Pause after an accept that failed, e.g. for want of file descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// An address on which metrics are shown.
#[derive(Debug)]
pub struct Endpoint(TcpListener);

impl Endpoint {
    /// Listens.
    ///
    /// # Errors
    /// The address cannot be listened on; with what to do.
    pub async fn open(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await.map_err(|error| {
            io::Error::new(error.kind(), format!("{address} cannot be listened on ({error}); choose another address"))
        })?;
        if !address.ip().is_loopback() {
            tracing::warn!(%address, "metrics are shown over plain HTTP to whoever reaches this address");
        }
        Ok(Self(listener))
    }

    /// Address that the endpoint listens on.
    ///
    /// # Errors
    /// What the system says.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    /// Shows the metrics of these sources, for ever.
    pub(crate) async fn serve(self, sources: Sources) -> Infallible {
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        let router = router(sources);
        let mut failing = false;
        loop {
            // Never closed.
            let place = places.clone().acquire_owned().await.ok();
            match self.0.accept().await {
                Ok((stream, _)) => {
                    failing = false;
                    tokio::spawn(serve_connection(stream, router.clone(), place));
                }
                Err(error) => {
                    if !std::mem::replace(&mut failing, true) {
                        tracing::warn!(%error, "metrics cannot be asked for at this moment");
                    }
                    sleep(PAUSE).await;
                }
            }
        }
    }
}

async fn serve_connection(stream: TcpStream, router: Router, _place: Option<OwnedSemaphorePermit>) {
    let service =
        service_fn(|request: hyper::Request<hyper::body::Incoming>| router.clone().oneshot(request.map(Body::new)));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD.0)
        .max_buf_size(HEAD.1)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    // Whoever breaks off or dawdles gets no answer.
    let _ = timeout(DEADLINE, connection).await;
}

/// One reading at a time: each looks at all VMs.
type Reader = Arc<Mutex<Sources>>;

fn router(sources: Sources) -> Router {
    Router::new().route("/metrics", get(show)).with_state(Arc::new(Mutex::new(sources)))
}

async fn show(State(reader): State<Reader>) -> Response {
    let sources = reader.lock().await;
    match sources.read().await {
        Ok(text) => {
            let kind = HeaderValue::from_static(prometheus_text::CONTENT_TYPE);
            ([(CONTENT_TYPE, kind)], text).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}
