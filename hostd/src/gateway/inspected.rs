//! A connection to a host of credentials: TLS is ended here, each request is looked at, and goes on by a connection of hostd's.
//!
//! ```text
//! guest ── CONNECT ── TLS by the session's authority ── requests ── TLS, the host verified ── the host
//!                     (or none, where that is allowed)   secret put in
//! ```
//!
//! Bodies are passed on as they come, both ways. hyper has parsed what is sent on and writes it anew, so that both ends agree
//! where a request ends.

use std::{
    convert::Infallible,
    io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use hostd_core::credentials::Credential;
use http_body_util::BodyExt as _;
use hyper::{
    Method, Request, Response, StatusCode, Uri, Version,
    body::Incoming,
    client::conn::http1 as http1_client,
    header::{CONNECTION, CONTENT_LENGTH, EXPECT, HOST, HeaderValue, TE, TRANSFER_ENCODING, UPGRADE},
    server::conn::{http1, http2},
    service::service_fn,
    upgrade::OnUpgrade,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::timeout,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::task::AbortOnDropHandle;

use super::{
    Gateway,
    accepted::Inspected,
    bounds::{HEAD_BYTES, HEAD_DEADLINE},
    caller::Caller,
    egress::Destination,
    forward::{self, ANSWER_DEADLINE, only_end_to_end},
    leave::with_leave,
    meter::Asked,
    outer::{Connector, Outer, Way},
    prefixed::Prefixed,
    response::{self, Body},
    spending::Reading,
    tied::{EndOnDrop, Tied},
};

/// First byte of a handshake of TLS.
const HANDSHAKE: u8 = 0x16;
/// Longest wait for a guest to shake hands: an emulated one may take its time.
const SHAKEN: Duration = Duration::from_secs(120);
/// Most requests of one connection at a time.
const STREAMS: u32 = 32;

/// Most bytes of a refused request that are read, and the longest time for that.
const READ_OFF: (usize, Duration) = (1 << 20, Duration::from_secs(5));

/// What is known of a connection to a host of credentials.
struct Conversation {
    gateway: Arc<Gateway>,
    caller: Arc<Caller>,
    destination: Destination,
    encrypted: bool,
    connector: Connector,
    outer: Outer<Incoming>,
    /// A connection on which no more HTTP is spoken.
    upgraded: Mutex<Option<Upgraded>>,
}

/// A request that may go on.
struct Admitted {
    /// The credential whose secret was put in; None: the request is for none.
    credential: Option<Arc<Credential>>,
    /// Has what the answer took read; None: that is not counted.
    reading: Option<Reading>,
    /// Whether the request asks to go on with WebSocket.
    upgrade: bool,
    /// Whether its sender takes trailers.
    trailers: bool,
}

/// Both ends of a connection on which no more HTTP is spoken.
struct Upgraded {
    guest: OnUpgrade,
    world: OnUpgrade,
    /// Hands the world's end over.
    driver: AbortOnDropHandle<Result<(), hyper::Error>>,
}

impl Gateway {
    /// Serves such a connection until either side ends it. Dropping it ends whatever was started for it.
    pub(super) async fn inspect(self: &Arc<Self>, caller: &Arc<Caller>, inspected: Inspected) {
        let slug = caller.slug.clone();
        let to = inspected.destination.to_string();
        if let Err(error) = self.try_inspect(caller, inspected).await {
            tracing::info!(caller = slug, to, "a connection ended: {error}");
        }
    }

    async fn try_inspect(self: &Arc<Self>, caller: &Arc<Caller>, inspected: Inspected) -> io::Result<()> {
        let Inspected { destination, guest, world } = inspected;
        let guest = guest.await.map_err(io::Error::other)?;
        let (first, io) = timeout(SHAKEN, Prefixed::peek(TokioIo::new(guest))).await??;
        let held = self.held(caller, &destination);
        let ca = held.iter().find_map(|one| one.ca.clone());
        let encrypted = first == HANDSHAKE;
        let settings = if encrypted {
            let gateway = self.clone();
            let settings = tokio::task::spawn_blocking(move || gateway.outer_tls.settings(ca.as_deref()));
            Some(settings.await?.map_err(io::Error::other)?)
        } else {
            None
        };
        let way = Way { caller: with_leave(caller, &destination, &held), local: self.local.clone() };
        let connector = Connector::new(way, destination.clone(), settings, world);
        let tasks = Tied::default();
        let _tasks = EndOnDrop(tasks.clone());
        let conversation = Arc::new(Conversation {
            gateway: self.clone(),
            caller: caller.clone(),
            encrypted,
            outer: connector.client(tasks.clone()),
            connector,
            upgraded: Mutex::default(),
            destination,
        });
        if encrypted { conversation.encrypted(io, tasks).await } else { conversation.http1(io).await }
    }
}

impl Conversation {
    /// Shakes hands with the guest, in the host's name and in no other.
    async fn encrypted(
        self: &Arc<Self>,
        io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        tasks: Tied,
    ) -> io::Result<()> {
        let host = &self.destination.host;
        let authority = self.caller.access.authority.as_ref();
        let authority = authority.ok_or_else(|| io::Error::other("the session has no authority"))?;
        let server = authority.server(host).map_err(io::Error::other)?;
        let io = timeout(SHAKEN, TlsAcceptor::from(server).accept(io)).await??;
        let connection = io.get_ref().1;
        if connection.server_name().is_some_and(|name| !name.eq_ignore_ascii_case(host)) {
            return Err(io::Error::other("it asked for one host, and shook hands with another"));
        }
        if connection.alpn_protocol() != Some(b"h2") {
            return self.http1(io).await;
        }
        let this = self.clone();
        let service = service_fn(move |request| {
            let this = this.clone();
            async move { Ok::<_, Infallible>(this.answer(request).await) }
        });
        let served = http2::Builder::new(tasks)
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS)
            .max_header_list_size(u32::try_from(HEAD_BYTES).unwrap_or(u32::MAX))
            .keep_alive_interval(HEAD_DEADLINE)
            .serve_connection(TokioIo::new(io), service);
        served.await.map_err(io::Error::other)
    }

    async fn http1(self: &Arc<Self>, io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> io::Result<()> {
        let service = service_fn(|request| async { Ok::<_, Infallible>(self.answer(request).await) });
        let served = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_DEADLINE)
            .max_buf_size(HEAD_BYTES)
            .serve_connection(TokioIo::new(io), service)
            .with_upgrades();
        served.await.map_err(io::Error::other)?;
        let upgraded = self.upgraded.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Upgraded { guest, world, driver: _driver }) = upgraded {
            let (guest, world) = (guest.await.map_err(io::Error::other)?, world.await.map_err(io::Error::other)?);
            // Each end sees that it ended.
            let _ = forward::both_ways(TokioIo::new(guest), TokioIo::new(world)).await;
        }
        Ok(())
    }

    /// Answers one request. Over HTTP/2 a refusal comes after the request, since clients such as curl 7.88 give up a request that is
    /// answered before they have sent all of it, and read no answer.
    async fn answer(&self, mut request: Request<Incoming>) -> Response<Body> {
        self.gateway.meter.asked(Asked::Inspected);
        let admitted = match self.admit(&mut request).await {
            Ok(admitted) => admitted,
            Err(refusal) => {
                if request.version() == Version::HTTP_2 {
                    read_off(request.into_body()).await;
                }
                return *refusal;
            }
        };
        let Admitted { credential, reading, upgrade, trailers } = admitted;
        let sent = if upgrade { self.upgrade(request).await } else { self.pass_on(request, trailers).await };
        match sent {
            Ok(response) => {
                if let Some(credential) = credential.filter(|_| response.status() == StatusCode::UNAUTHORIZED)
                    && let Some(all) = &self.gateway.credentials
                {
                    all.refused(&credential).await;
                }
                match reading {
                    Some(reading) => reading.of(response),
                    None => response,
                }
            }
            Err(error) => {
                let why = causes(&*error);
                response::text(
                    StatusCode::BAD_GATEWAY,
                    &format!("pilothouse: {} gave no proper answer: {why}", self.destination),
                )
            }
        }
    }

    /// Checks one request, and puts the secret in.
    ///
    /// # Errors
    /// The refusal of the request.
    async fn admit(&self, request: &mut Request<Incoming>) -> Result<Admitted, Box<Response<Body>>> {
        self.check(request).map_err(|(status, why)| Box::new(response::text(status, &format!("pilothouse: {why}"))))?;
        let mut held = self.gateway.held(&self.caller, &self.destination);
        held.retain(|one| self.encrypted || one.goes_plain_to(&self.destination.host));
        let upgrade = wants_websocket(request);
        let trailers = request.headers().get(TE).is_some_and(|te| te == "trailers");
        only_end_to_end(request.headers_mut());
        let credential = self.gateway.equip(&self.caller, &self.destination, &held, self.encrypted, request).await?;
        if upgrade {
            self.gateway.may_upgrade(&self.caller, credential.as_deref())?;
        }
        let host = &self.destination.host;
        let reading = self.gateway.reading(&self.caller, host, credential.as_deref(), request).await?;
        Ok(Admitted { credential, reading, upgrade, trailers })
    }

    /// Whether the request is one for this host, and can be read in one way only.
    fn check<B>(&self, request: &Request<B>) -> Result<(), (StatusCode, String)> {
        let bad = |why: &str| Err((StatusCode::BAD_REQUEST, why.to_owned()));
        if matches!(*request.method(), Method::CONNECT | Method::TRACE) {
            // What TRACE answers has the secret in it.
            return Err((StatusCode::METHOD_NOT_ALLOWED, format!("{} is not for this host", request.method())));
        }
        let headers = request.headers();
        let mut hosts = headers.get_all(HOST).iter();
        let (host, more) = (hosts.next(), hosts.next());
        if more.is_some() {
            return bad("the request has more than one Host");
        }
        if headers.contains_key(TRANSFER_ENCODING) && headers.contains_key(CONTENT_LENGTH) {
            return bad("the request has both Transfer-Encoding and Content-Length");
        }
        let authority = request.uri().authority().map(|authority| authority.as_str());
        let named = [authority, host.map(|host| host.to_str().unwrap_or_default())];
        if named.iter().all(Option::is_none) {
            return bad("the request names no host");
        }
        match named.into_iter().flatten().find(|name| !self.is_named(name)) {
            None => Ok(()),
            Some(_) => Err((
                StatusCode::MISDIRECTED_REQUEST,
                format!("the request is for another host than the connection, which is to {}", self.destination),
            )),
        }
    }

    /// Whether a Host or an authority is this destination.
    fn is_named(&self, name: &str) -> bool {
        let default = if self.encrypted { 443 } else { 80 };
        let Ok(authority) = name.parse::<hyper::http::uri::Authority>() else { return false };
        if name.contains('@') {
            return false;
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        let host = host.strip_suffix('.').unwrap_or(host);
        host.eq_ignore_ascii_case(&self.destination.host)
            && authority.port_u16().unwrap_or(default) == self.destination.port
    }

    /// The request's URI as the host is asked for it.
    fn uri(&self, request: &Uri) -> Result<Uri, hyper::http::Error> {
        let (scheme, default) = if self.encrypted { ("https", 443) } else { ("http", 80) };
        let all = self.destination.to_string();
        let authority =
            if self.destination.port == default { all.trim_end_matches(&format!(":{default}")) } else { &all };
        let path = request.path_and_query().map_or("/", |path| path.as_str());
        Uri::builder().scheme(scheme).authority(authority).path_and_query(path).build()
    }

    async fn pass_on(
        &self,
        mut request: Request<Incoming>,
        trailers: bool,
    ) -> Result<Response<Body>, Box<dyn std::error::Error + Send + Sync>> {
        *request.uri_mut() = self.uri(request.uri())?;
        // Each connection has its own version; the client writes the Host that was judged.
        *request.version_mut() = Version::HTTP_11;
        request.headers_mut().remove(HOST);
        request.headers_mut().remove(EXPECT);
        if trailers {
            request.headers_mut().insert(TE, HeaderValue::from_static("trailers"));
        }
        let mut response = timeout(ANSWER_DEADLINE, self.outer.request(request)).await??;
        only_end_to_end(response.headers_mut());
        *response.version_mut() = Version::HTTP_11;
        Ok(response.map(|body| body.map_err(io::Error::other).boxed_unsync()))
    }

    /// Asks the host to speak WebSocket, on a connection of its own.
    async fn upgrade(
        &self,
        mut request: Request<Incoming>,
    ) -> Result<Response<Body>, Box<dyn std::error::Error + Send + Sync>> {
        let (mut sender, connection) = http1_client::handshake(self.connector.http1().await?).await?;
        let driver = AbortOnDropHandle::new(tokio::spawn(connection.with_upgrades()));
        let uri = self.uri(request.uri())?;
        let host = uri.authority().map_or("", |authority| authority.as_str());
        let headers = request.headers_mut();
        headers.insert(HOST, HeaderValue::try_from(host)?);
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        let guest = hyper::upgrade::on(&mut request);
        *request.uri_mut() = Uri::try_from(request.uri().path_and_query().map_or("/", |path| path.as_str()))?;
        let mut response = timeout(ANSWER_DEADLINE, sender.send_request(request)).await??;
        only_end_to_end(response.headers_mut());
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            let world = hyper::upgrade::on(&mut response);
            let headers = response.headers_mut();
            headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
            headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
            let upgraded = Upgraded { guest, world, driver };
            *self.upgraded.lock().unwrap_or_else(PoisonError::into_inner) = Some(upgraded);
            return Ok(response.map(|_| response::empty().into_body()));
        }
        Ok(response.map(|body| {
            // The connection is driven for as long as the body is wanted.
            body.map_frame(move |frame| {
                let _ = &driver;
                frame
            })
            .map_err(io::Error::other)
            .boxed_unsync()
        }))
    }
}

/// Reads a refused request to its end, where that comes soon.
async fn read_off(mut body: Incoming) {
    let (mut left, within) = READ_OFF;
    let read = async {
        while let Some(Ok(frame)) = body.frame().await {
            let Some(rest) = left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) else { return };
            left = rest;
        }
    };
    let _ = timeout(within, read).await;
}

/// Whether a request asks to go on with WebSocket. To go on with anything else is not passed on.
fn wants_websocket<B>(request: &Request<B>) -> bool {
    let has = |name, word: &str| {
        let values = request.headers().get_all(name).iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).any(|one| one.trim().eq_ignore_ascii_case(word))
    };
    request.version() == Version::HTTP_11 && has(CONNECTION, "upgrade") && has(UPGRADE, "websocket")
}

/// An error with what caused it. A client's own says "error sending request" and no more.
pub(super) fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let more = cause.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        next = cause.source();
    }
    text
}
