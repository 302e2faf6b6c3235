//! Allowed traffic to the world: tunnels, and plain HTTP requests.

use std::{
    io,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use http_body_util::BodyExt;
use hyper::{
    Request, Response, StatusCode, Uri,
    body::Incoming,
    client::conn::http1,
    header::{CONNECTION, HOST, HeaderMap, HeaderName, HeaderValue},
    upgrade::OnUpgrade,
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, timeout},
};
use tokio_util::task::AbortOnDropHandle;

use super::{
    egress::Destination,
    response::{self, Body},
};

/// Time after which a tunnel is closed over which nothing went.
const IDLE: Duration = Duration::from_secs(3600);
/// Longest wait for the head of an answer: models think long before their first word.
pub(super) const ANSWER_DEADLINE: Duration = Duration::from_secs(900);

/// The two ends of an accepted CONNECT: the guest's and the world's.
pub(super) type Tunnel = (OnUpgrade, TcpStream);

/// Copies both ways until both have ended, one fails, or nothing moves any more.
pub(super) async fn tunnel((guest, world): Tunnel) {
    let Ok(guest) = guest.await else { return };
    both_ways(TokioIo::new(guest), world).await;
}

/// Copies both ways between two connections until both have ended, one fails, or nothing moves any more.
pub(super) async fn both_ways(guest: impl AsyncRead + AsyncWrite, world: impl AsyncRead + AsyncWrite) {
    let (mut guest_in, mut guest_out) = tokio::io::split(guest);
    let (mut world_in, mut world_out) = tokio::io::split(world);
    let moved = Mutex::new(Instant::now());
    let out = copy(&mut guest_in, &mut world_out, &moved);
    let back = copy(&mut world_in, &mut guest_out, &moved);
    if let Err(error) = tokio::try_join!(out, back) {
        tracing::debug!(%error, "a tunnel ended");
    }
}

/// Copies one direction. Each is patient while the other moves.
async fn copy(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    moved: &Mutex<Instant>,
) -> io::Result<()> {
    let mut buffer = vec![0; 32 * 1024];
    loop {
        let length = loop {
            match timeout(IDLE, from.read(&mut buffer)).await {
                Ok(length) => break length?,
                Err(_) if last(moved).elapsed() < IDLE => {}
                Err(_) => return Err(io::ErrorKind::TimedOut.into()),
            }
        };
        if length == 0 {
            return to.shutdown().await;
        }
        to.write_all(&buffer[..length]).await?;
        to.flush().await?;
        *moved.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }
}

fn last(moved: &Mutex<Instant>) -> Instant {
    *moved.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sends one plain HTTP request on, and its answer back.
pub(super) async fn request(to: &Destination, request: Request<Incoming>, stream: TcpStream) -> Response<Body> {
    match forward(to, request, stream).await {
        Ok(response) => response,
        Err(error) => {
            response::text(StatusCode::BAD_GATEWAY, &format!("pilothouse: {to} gave no proper answer: {error}"))
        }
    }
}

async fn forward(
    to: &Destination,
    mut request: Request<Incoming>,
    stream: TcpStream,
) -> Result<Response<Body>, Box<dyn std::error::Error + Send + Sync>> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let driver = AbortOnDropHandle::new(tokio::spawn(connection));
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    *request.uri_mut() = Uri::try_from(path)?;
    only_end_to_end(request.headers_mut());
    // The Host that was judged, whatever the request's own header says.
    let host = if to.port == 80 { to.to_string().trim_end_matches(":80").to_owned() } else { to.to_string() };
    request.headers_mut().insert(HOST, HeaderValue::try_from(host)?);
    let mut response = timeout(ANSWER_DEADLINE, sender.send_request(request)).await??;
    only_end_to_end(response.headers_mut());
    Ok(response.map(|body| {
        // The connection is driven for as long as the body is wanted, and no longer.
        body.map_frame(move |frame| {
            let _ = &driver;
            frame
        })
        .map_err(io::Error::other)
        .boxed_unsync()
    }))
}

/// Removes the headers that speak of one connection alone, and those meant for the proxy.
pub(super) fn only_end_to_end(headers: &mut HeaderMap) {
    const OF_ONE_HOP: [&str; 9] = [
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ];
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named {
        headers.remove(name);
    }
    for name in OF_ONE_HOP {
        headers.remove(name);
    }
}
