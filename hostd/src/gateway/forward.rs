//! Allowed traffic to the world: tunnels, and plain HTTP requests.

use std::{
    io::{self, Cursor},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use hostd_core::first_words::Told;
use http_body_util::BodyExt;
use hyper::{
    Request, Response, StatusCode, Uri,
    body::Incoming,
    client::conn::http1,
    header::{CONNECTION, HOST, HeaderMap, HeaderName, HeaderValue},
    upgrade::OnUpgrade,
};
use hyper_util::rt::TokioIo;
use pilothouse_proto::half::Half;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, sleep, timeout},
};
use tokio_util::task::AbortOnDropHandle;

use super::{
    bounds::PLACE,
    egress::{Destination, Spoken},
    response::{self, Body},
};

/// Time after which a tunnel is reset over which nothing went.
const IDLE: Duration = Duration::from_secs(3600);
/// The same where the world has ended its direction. Programs keep connections that a server has closed until they want the next one,
/// and each takes one of few places: with the looks at that it is less than the longest wait for one.
const IDLE_HALF: Duration = Duration::from_secs(20);
/// Time between two looks at that.
const LOOK: Duration = Duration::from_secs(5);
const _: () = assert!(IDLE_HALF.as_secs() + LOOK.as_secs() < PLACE.as_secs());
/// Longest wait for what a program says first, where that is looked at.
const FIRST_WORDS: Duration = Duration::from_secs(60);
/// Longest wait for the head of an answer: models think long before their first word.
pub(super) const ANSWER_DEADLINE: Duration = Duration::from_secs(900);

/// An accepted CONNECT.
pub(super) struct Tunnel {
    /// The guest's end.
    pub(super) guest: OnUpgrade,
    /// The world's end.
    pub(super) world: TcpStream,
    /// What may be spoken; None: anything.
    pub(super) spoken: Option<Spoken>,
}

/// Why a tunnel ended before its time.
pub(super) enum Ended {
    /// It broke, at either end.
    Broken,
    /// The program speaks something else.
    NotSpoken(Spoken),
}

/// Copies both ways until both have ended. What breaks, or is dropped before, is reset in the world.
///
/// # Errors
/// As of [`both_ways`]; the guest's end is not there, or speaks what it may not.
pub(super) async fn tunnel(Tunnel { guest, world, spoken }: Tunnel) -> Result<(), Ended> {
    let (reader, writer) = world.into_split();
    let world = tokio::io::join(reader, Half::new(writer));
    let (mut reader, writer) = tokio::io::split(TokioIo::new(guest.await.map_err(|_| Ended::Broken)?));
    let said = match spoken {
        None => Vec::new(),
        Some(spoken) => match first_words(&mut reader, &spoken).await {
            First::Fits(said) => said,
            First::Other => return Err(Ended::NotSpoken(spoken)),
            First::Nothing => return Err(Ended::Broken),
        },
    };
    let guest = tokio::io::join(Cursor::new(said).chain(reader), writer);
    both_ways(guest, world).await.map_err(|_| Ended::Broken)
}

/// What a program says first.
#[derive(Debug, PartialEq, Eq)]
enum First {
    /// What may be spoken; the bytes were read.
    Fits(Vec<u8>),
    /// A protocol, or a host, that may not be spoken with there.
    Other,
    /// Too little to tell before it ended, broke, or said nothing more for too long: nothing was refused.
    Nothing,
}

/// Reads what a program says first, until it is seen to be what may be spoken, or not.
async fn first_words(reader: &mut (impl AsyncRead + Unpin), spoken: &Spoken) -> First {
    let mut said = Vec::new();
    let read = async {
        loop {
            match spoken.told(&said) {
                Told::Fits => return Some(true),
                Told::Other => return Some(false),
                Told::More => {}
            }
            if !matches!(reader.read_buf(&mut said).await, Ok(1..)) {
                return None;
            }
        }
    };
    match timeout(FIRST_WORDS, read).await {
        Ok(Some(true)) => First::Fits(said),
        Ok(Some(false)) => First::Other,
        Ok(None) | Err(_) => First::Nothing,
    }
}

/// Copies both ways between two connections until both directions have ended, each by itself.
///
/// # Errors
/// One of them broke, or nothing moves any more.
pub(super) async fn both_ways(
    guest: impl AsyncRead + AsyncWrite,
    world: impl AsyncRead + AsyncWrite,
) -> io::Result<()> {
    let (mut guest_in, mut guest_out) = tokio::io::split(guest);
    let (mut world_in, mut world_out) = tokio::io::split(world);
    let moved = Moved::new();
    let mut unheard = None;
    let out = async {
        match copy(&mut guest_in, &mut world_out, &moved).await {
            // Whoever listens no more may have said why not.
            Err(Broken::Writing(error)) => unheard = Some(error),
            other => other?,
        }
        Ok(())
    };
    let back = async {
        copy(&mut world_in, &mut guest_out, &moved).await?;
        moved.world_ended();
        Ok(())
    };
    let both = async { tokio::try_join!(out, back) };
    let ended = tokio::select! {
        ended = both => ended.map(drop).map_err(Broken::error),
        () = moved.no_more() => Err(io::ErrorKind::TimedOut.into()),
    };
    ended.and(unheard.map_or(Ok(()), Err)).inspect_err(|error| tracing::debug!(%error, "a tunnel ended"))
}

/// Which end of a direction broke.
enum Broken {
    Reading(io::Error),
    Writing(io::Error),
}

impl Broken {
    fn error(self) -> io::Error {
        match self {
            Self::Reading(error) | Self::Writing(error) => error,
        }
    }
}

/// Copies one direction to its end.
async fn copy(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    moved: &Moved,
) -> Result<(), Broken> {
    let mut buffer = vec![0; 32 * 1024];
    loop {
        let length = from.read(&mut buffer).await.map_err(Broken::Reading)?;
        moved.now();
        if length == 0 {
            return to.shutdown().await.map_err(Broken::Writing);
        }
        to.write_all(&buffer[..length]).await.map_err(Broken::Writing)?;
        to.flush().await.map_err(Broken::Writing)?;
        moved.now();
    }
}

/// When something moved last in a tunnel: each direction is patient while the other moves.
struct Moved(Mutex<State>);

struct State {
    last: Instant,
    /// Longest time without anything that moves.
    patience: Duration,
}

impl Moved {
    fn new() -> Self {
        Self(Mutex::new(State { last: Instant::now(), patience: IDLE }))
    }

    fn now(&self) {
        self.lock().last = Instant::now();
    }

    fn world_ended(&self) {
        *self.lock() = State { last: Instant::now(), patience: IDLE_HALF };
    }

    /// Returns when nothing has moved for too long.
    async fn no_more(&self) {
        let still = |state: &State| state.last.elapsed() >= state.patience;
        while !still(&self.lock()) {
            sleep(LOOK).await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
