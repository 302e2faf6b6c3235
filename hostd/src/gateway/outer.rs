//! Connections to one host of credentials, for one connection of a guest: kept open between requests, HTTP/1.1 or HTTP/2.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use futures::future::BoxFuture;
use hyper::Uri;
use hyper_util::{
    client::legacy::{
        Client,
        connect::{Connected, Connection},
    },
    rt::{TokioIo, TokioTimer},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{ClientConfig, pki_types::ServerName},
};
use tokio_util::task::AbortOnDropHandle;

use super::{
    caller::Caller,
    egress::{self, Destination},
    outer_tls::Settings,
    tied::Tied,
};
use crate::local_services::LocalFile;

/// Most connections to the host at a time, for one of the guest's.
const CONNECTIONS: usize = 8;
/// Most of them that wait for the next request.
const IDLE: usize = 2;
/// Longest wait for the host to shake hands.
const HANDSHAKE: std::time::Duration = std::time::Duration::from_secs(30);
/// Time between two questions whether an HTTP/2 connection with requests under way is alive.
const ALIVE: std::time::Duration = std::time::Duration::from_secs(30);

/// A client of one host, whatever a request's URI says.
pub(super) type Outer<B> = Client<Connector, B>;

/// Whose connections they are, and what bounds them.
pub(super) struct Way {
    /// Has what a credential leads to.
    pub(super) caller: Caller,
    /// What the host names of its own services; None: it bounds nothing.
    pub(super) local: Option<Arc<LocalFile>>,
}

/// Makes connections to one host.
#[derive(Clone)]
pub(super) struct Connector(Arc<Inner>);

struct Inner {
    way: Way,
    destination: Destination,
    /// None: they are not encrypted.
    tls: Option<Settings>,
    /// The first connection, which was made before the guest was answered.
    first: Mutex<Option<AbortOnDropHandle<io::Result<Socket>>>>,
    free: Arc<Semaphore>,
}

impl Connector {
    /// A connector whose first connection is this one; it shakes hands at once.
    pub(super) fn new(way: Way, destination: Destination, tls: Option<Settings>, first: TcpStream) -> Self {
        let settings = tls.as_ref().map(|tls| tls.any.clone());
        let host = destination.host.clone();
        let first = tokio::spawn(async move { secured(first, settings, &host).await });
        let first = Mutex::new(Some(AbortOnDropHandle::new(first)));
        Self(Arc::new(Inner { way, destination, tls, first, free: Arc::new(Semaphore::new(CONNECTIONS)) }))
    }

    /// A client whose tasks are run by `tasks`.
    pub(super) fn client<B>(&self, tasks: Tied) -> Outer<B>
    where
        B: hyper::body::Body + Send,
        B::Data: Send,
    {
        Client::builder(tasks)
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            .pool_max_idle_per_host(IDLE)
            .http2_keep_alive_interval(ALIVE)
            .http2_keep_alive_while_idle(false)
            .http2_initial_stream_window_size(1 << 20)
            .http2_initial_connection_window_size(4 << 20)
            .build(self.clone())
    }

    /// A new connection on which HTTP/1.1 is spoken: the first one may speak HTTP/2, and is not for this.
    ///
    /// # Errors
    /// The host is not reached, or is not who it should be.
    pub(super) async fn http1(&self) -> io::Result<TokioIo<Socket>> {
        let inner = &self.0;
        let permit = inner.free.clone().acquire_owned().await.map_err(io::Error::other)?;
        let settings = inner.tls.as_ref().map(|tls| tls.http1.clone());
        let mut socket = inner.connect(settings).await?;
        socket.permit = Some(permit);
        Ok(TokioIo::new(socket))
    }
}

impl Inner {
    async fn connect(&self, settings: Option<Arc<ClientConfig>>) -> io::Result<Socket> {
        let Way { caller, local } = &self.way;
        let stream = egress::connect(caller, &self.destination, local.as_deref()).await.map_err(io::Error::other)?;
        secured(stream, settings, &self.destination.host).await
    }

    async fn next(&self) -> io::Result<Socket> {
        let permit = self.free.clone().acquire_owned().await.map_err(io::Error::other)?;
        let first = self.first.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut socket = match first {
            Some(first) => first.await.map_err(io::Error::other)??,
            None => self.connect(self.tls.as_ref().map(|tls| tls.any.clone())).await?,
        };
        socket.permit = Some(permit);
        Ok(socket)
    }
}

impl tower::Service<Uri> for Connector {
    type Response = Wire;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Wire>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let inner = self.0.clone();
        Box::pin(async move { inner.next().await.map(|socket| Wire(TokioIo::new(socket))) })
    }
}

async fn secured(stream: TcpStream, settings: Option<Arc<ClientConfig>>, host: &str) -> io::Result<Socket> {
    let stream = match settings {
        None => Stream::Plain(stream),
        Some(settings) => {
            let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
            let shaken = timeout(HANDSHAKE, TlsConnector::from(settings).connect(name, stream)).await;
            Stream::Tls(Box::new(shaken.map_err(|_| io::ErrorKind::TimedOut)??))
        }
    };
    Ok(Socket { stream, permit: None })
}

/// A connection to the host.
pub(super) struct Socket {
    stream: Stream,
    /// Its place among the connections.
    permit: Option<OwnedSemaphorePermit>,
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Stream::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Stream::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

/// The same as hyper's clients have it.
pub(super) struct Wire(TokioIo<Socket>);

impl Connection for Wire {
    fn connected(&self) -> Connected {
        match &self.0.inner().stream {
            Stream::Tls(stream) if stream.get_ref().1.alpn_protocol() == Some(b"h2") => {
                Connected::new().negotiated_h2()
            }
            _ => Connected::new(),
        }
    }
}

impl hyper::rt::Read for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl hyper::rt::Write for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
