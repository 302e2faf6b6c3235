//! The tunnel port: HTTP/2 server of `guest.v1.Gateway`, one gateway conversation for each stream.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use hostd_core::streams::Spoke;
use hyper::server::conn::http2;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use pilothouse_proto::{
    guest::v1::{
        AskRequest, AskResponse, TunnelFrame,
        gateway_server::{Gateway as GatewayRpc, GatewayServer},
    },
    link::{CHUNK, CONNECTION_WINDOW, KEEPALIVE_INTERVAL, KEEPALIVE_TIMEOUT, MESSAGE_MAX, STREAM_WINDOW, STREAMS_MAX},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, ReadHalf, WriteHalf},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
    time::sleep,
};
use tokio_util::io::ReaderStream;
use tonic::{Request, Response, Status, Streaming};
use tracing::debug;

use super::{
    connection::{self, Connected},
    streams::{Stream, Streams},
};
use crate::{
    gateway::{Caller, Gateway},
    vm::{Port, Vm},
};

/// Pause between two attempts to connect.
const PAUSE: Duration = Duration::from_millis(250);

/// Connects the tunnel port and serves it, for ever.
pub(super) async fn run(vm: Arc<dyn Vm>, gateway: Arc<Gateway>, caller: Arc<Caller>, streams: Streams) {
    let tunnels = Tunnels { gateway, caller, streams, free: Arc::new(Semaphore::new(STREAMS_MAX as usize)) };
    loop {
        match connection::connect(&*vm, Port::Tunnel, || Ok(Vec::new())).await {
            Ok(io) => serve(io, tunnels.clone()).await,
            Err(error) => debug!(slug = tunnels.caller.slug, %error, "no tunnel yet"),
        }
        sleep(PAUSE).await;
    }
}

/// Serves one connection until it is over. Dropping this ends the connection and its streams.
async fn serve(io: Connected, tunnels: Tunnels) {
    let slug = tunnels.caller.slug.clone();
    let service = GatewayServer::new(tunnels).max_decoding_message_size(MESSAGE_MAX);
    let served = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(STREAMS_MAX)
        .max_send_buf_size(CHUNK)
        .keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .serve_connection(TokioIo::new(io), TowerToHyperService::new(service))
        .await;
    debug!(slug, ?served, "tunnel down");
}

#[derive(Clone)]
struct Tunnels {
    gateway: Arc<Gateway>,
    caller: Arc<Caller>,
    streams: Streams,
    free: Arc<Semaphore>,
}

#[tonic::async_trait]
impl GatewayRpc for Tunnels {
    type TunnelStream = Tunnel;

    async fn tunnel(&self, request: Request<Streaming<TunnelFrame>>) -> Result<Response<Tunnel>, Status> {
        let permit = self.free.clone().try_acquire_owned();
        let permit = permit.map_err(|_| Status::resource_exhausted("too many connections at once"))?;
        let (near, far) = tokio::io::duplex(CHUNK);
        let (far, ended) = Ending::new(far);
        let (reader, writer) = tokio::io::split(near);
        let (gateway, caller) = (self.gateway.clone(), self.caller.clone());
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { gateway.serve(&caller, far).await });
        let stream = self.streams.begin();
        tasks.spawn(feed(request.into_inner(), writer, stream.clone()));
        let frames = ReaderStream::with_capacity(reader, CHUNK);
        Ok(Response::new(Tunnel { frames, ended, stream, _tasks: tasks, _permit: permit }))
    }

    async fn ask(&self, request: Request<AskRequest>) -> Result<Response<AskResponse>, Status> {
        let permit = self.free.clone().try_acquire_owned();
        let _permit = permit.map_err(|_| Status::resource_exhausted("too many questions at once"))?;
        self.gateway.ask(&self.caller, request.into_inner()).await.map(Response::new)
    }
}

/// Copies bytes from the guest to the gateway. The stream's end is that direction's end; a broken stream drops what is left to
/// the gateway's reader.
async fn feed(mut frames: Streaming<TunnelFrame>, mut writer: WriteHalf<DuplexStream>, stream: Arc<Stream>) {
    while let Ok(Some(frame)) = frames.message().await {
        stream.spoke(Spoke::Program);
        if writer.write_all(&frame.data).await.is_err() {
            return;
        }
    }
    // The gateway may have gone already.
    let _ = writer.shutdown().await;
}

/// The gateway's end of a conversation, which remembers whether it was ended in good order: what is only dropped was cut.
struct Ending {
    io: DuplexStream,
    ended: Arc<AtomicBool>,
}

impl Ending {
    fn new(io: DuplexStream) -> (Self, Arc<AtomicBool>) {
        let ended = Arc::<AtomicBool>::default();
        (Self { io, ended: ended.clone() }, ended)
    }
}

impl AsyncRead for Ending {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Ending {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        // Before its other end can see it.
        self.ended.store(true, Ordering::Release);
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// Bytes from the gateway to the guest, as a stream, which ends with an error where the gateway's own end was cut. Dropping it ends
/// the conversation.
struct Tunnel {
    frames: ReaderStream<ReadHalf<DuplexStream>>,
    /// Whether the gateway ended its direction in good order.
    ended: Arc<AtomicBool>,
    stream: Arc<Stream>,
    _tasks: JoinSet<()>,
    _permit: OwnedSemaphorePermit,
}

impl futures::Stream for Tunnel {
    type Item = Result<TunnelFrame, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(match futures::ready!(Pin::new(&mut self.frames).poll_next(cx)) {
            Some(Ok(data)) => {
                self.stream.spoke(Spoke::World);
                Some(Ok(TunnelFrame { data }))
            }
            Some(Err(error)) => Some(Err(Status::internal(error.to_string()))),
            None if self.ended.load(Ordering::Acquire) => None,
            None => Some(Err(Status::aborted("what lies beyond the gateway ended it before its time"))),
        })
    }
}
