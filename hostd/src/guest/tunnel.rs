//! The tunnel port: HTTP/2 server of `guest.v1.Gateway`, one gateway conversation for each stream.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{
            AtomicBool,
            Ordering::{Acquire, Release},
        },
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
    link::{CHUNK, FRAME, KEEPALIVE_INTERVAL, KEEPALIVE_TIMEOUT, MESSAGE_MAX, STREAMS_MAX, TUNNEL_WINDOWS},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, ReadHalf, WriteHalf},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::sleep,
};
use tokio_util::{io::ReaderStream, task::AbortOnDropHandle};
use tonic::{Request, Response, Status, Streaming};
use tracing::{Instrument as _, debug};

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
        .initial_stream_window_size(TUNNEL_WINDOWS.0)
        .initial_connection_window_size(TUNNEL_WINDOWS.1)
        .max_concurrent_streams(STREAMS_MAX)
        .max_frame_size(FRAME)
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
        let (near, io) = tokio::io::duplex(CHUNK);
        let ends = Arc::new(Ends::default());
        let far = Far { io, ends: ends.clone() };
        let (reader, writer) = tokio::io::split(near);
        let (gateway, caller) = (self.gateway.clone(), self.caller.clone());
        let served =
            AbortOnDropHandle::new(tokio::spawn(async move { gateway.serve(&caller, far).await }.in_current_span()));
        let stream = self.streams.begin();
        let feed = feed(request.into_inner(), writer, ends.clone(), stream.clone());
        Ok(Response::new(Tunnel {
            frames: ReaderStream::with_capacity(reader, CHUNK),
            over: false,
            ends,
            served,
            stream,
            _feed: AbortOnDropHandle::new(tokio::spawn(feed)),
            _permit: permit,
        }))
    }

    async fn ask(&self, request: Request<AskRequest>) -> Result<Response<AskResponse>, Status> {
        let permit = self.free.clone().try_acquire_owned();
        let _permit = permit.map_err(|_| Status::resource_exhausted("too many questions at once"))?;
        self.gateway.ask(&self.caller, request.into_inner()).await.map(Response::new)
    }
}

/// Copies bytes from the guest to the gateway. The stream's end is that direction's end; of a stream that broke the gateway's reader
/// gets an error.
async fn feed(
    mut frames: Streaming<TunnelFrame>,
    mut writer: WriteHalf<DuplexStream>,
    ends: Arc<Ends>,
    stream: Arc<Stream>,
) {
    let whole = loop {
        match frames.message().await {
            Ok(Some(frame)) => {
                stream.spoke(Spoke::Program);
                if frame.takes_end {
                    ends.taken.store(true, Release);
                }
                // The gateway may have gone already.
                if frame.reset || writer.write_all(&frame.data).await.is_err() {
                    break false;
                }
            }
            Ok(None) => break true,
            Err(_) => break false,
        }
    };
    // Before the gateway can see it.
    ends.of_guest.store(whole, Release);
    let _ = writer.shutdown().await;
}

/// How the directions of a conversation have ended.
#[derive(Debug, Default)]
struct Ends {
    /// Whether the guest ended its direction in good order: what only breaks off was cut.
    of_guest: AtomicBool,
    /// Whether the gateway ended its direction in good order: what is only dropped was cut.
    of_gateway: AtomicBool,
    /// Whether the guest can be told that the gateway's direction has ended, and the other goes on.
    taken: AtomicBool,
}

/// The gateway's end of a conversation.
struct Far {
    io: DuplexStream,
    ends: Arc<Ends>,
}

impl AsyncRead for Far {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let (before, room) = (buffer.filled().len(), buffer.remaining());
        futures::ready!(Pin::new(&mut self.io).poll_read(cx, buffer))?;
        let over = room > 0 && buffer.filled().len() == before;
        if over && !self.ends.of_guest.load(Acquire) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Far {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Before its other end can see it.
        self.ends.of_gateway.store(true, Release);
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// What goes to the guest of a conversation, as a stream: bytes, then that there are no more, then, once the guest's direction has ended
/// too, nothing. It ends with an error where the conversation was cut. Dropping it ends the conversation.
struct Tunnel {
    frames: ReaderStream<ReadHalf<DuplexStream>>,
    /// Whether the gateway's direction has ended.
    over: bool,
    ends: Arc<Ends>,
    served: AbortOnDropHandle<io::Result<()>>,
    stream: Arc<Stream>,
    _feed: AbortOnDropHandle<()>,
    _permit: OwnedSemaphorePermit,
}

impl futures::Stream for Tunnel {
    type Item = Result<TunnelFrame, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let cut = || Some(Err(Status::aborted("what lies beyond the gateway ended it before its time")));
        if self.over {
            let served = futures::ready!(Pin::new(&mut self.served).poll(cx));
            return Poll::Ready(if matches!(served, Ok(Ok(()))) { None } else { cut() });
        }
        Poll::Ready(match futures::ready!(Pin::new(&mut self.frames).poll_next(cx)) {
            Some(Ok(data)) => {
                self.stream.spoke(Spoke::World);
                Some(Ok(TunnelFrame { data, ..TunnelFrame::default() }))
            }
            Some(Err(error)) => Some(Err(Status::internal(error.to_string()))),
            None if !self.ends.of_gateway.load(Acquire) => cut(),
            None if !self.ends.taken.load(Acquire) => None,
            None => {
                self.over = true;
                self.stream.spoke(Spoke::World);
                Some(Ok(TunnelFrame { end: true, ..TunnelFrame::default() }))
            }
        })
    }
}
