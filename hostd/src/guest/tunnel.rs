//! The tunnel port: HTTP/2 server of `guest.v1.Gateway`, one gateway conversation for each stream.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures::Stream;
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
    io::{AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
    time::sleep,
};
use tokio_util::io::ReaderStream;
use tonic::{Request, Response, Status, Streaming};
use tracing::debug;

use super::connection::{self, Connected};
use crate::{
    gateway::{Caller, Gateway},
    vm::{Port, Vm},
};

/// Pause between two attempts to connect.
const PAUSE: Duration = Duration::from_millis(250);

/// Connects the tunnel port and serves it, for ever.
pub(super) async fn run(vm: Arc<dyn Vm>, gateway: Arc<Gateway>, caller: Arc<Caller>) {
    let tunnels = Tunnels { gateway, caller, free: Arc::new(Semaphore::new(STREAMS_MAX as usize)) };
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
    free: Arc<Semaphore>,
}

#[tonic::async_trait]
impl GatewayRpc for Tunnels {
    type TunnelStream = Tunnel;

    async fn tunnel(&self, request: Request<Streaming<TunnelFrame>>) -> Result<Response<Tunnel>, Status> {
        let permit = self.free.clone().try_acquire_owned();
        let permit = permit.map_err(|_| Status::resource_exhausted("too many connections at once"))?;
        let (near, far) = tokio::io::duplex(CHUNK);
        let (reader, writer) = tokio::io::split(near);
        let (gateway, caller) = (self.gateway.clone(), self.caller.clone());
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { gateway.serve(&caller, far).await });
        tasks.spawn(feed(request.into_inner(), writer));
        let frames = ReaderStream::with_capacity(reader, CHUNK);
        Ok(Response::new(Tunnel { frames, _tasks: tasks, _permit: permit }))
    }

    async fn ask(&self, request: Request<AskRequest>) -> Result<Response<AskResponse>, Status> {
        let permit = self.free.clone().try_acquire_owned();
        let _permit = permit.map_err(|_| Status::resource_exhausted("too many questions at once"))?;
        self.gateway.ask(&self.caller, request.into_inner()).await.map(Response::new)
    }
}

/// Copies bytes from the guest to the gateway. The stream's end is that direction's end; a broken stream drops what is left to
/// the gateway's reader.
async fn feed(mut frames: Streaming<TunnelFrame>, mut writer: WriteHalf<DuplexStream>) {
    while let Ok(Some(frame)) = frames.message().await {
        if writer.write_all(&frame.data).await.is_err() {
            return;
        }
    }
    // The gateway may have gone already.
    let _ = writer.shutdown().await;
}

/// Bytes from the gateway to the guest, as a stream. Dropping it ends the conversation.
struct Tunnel {
    frames: ReaderStream<ReadHalf<DuplexStream>>,
    _tasks: JoinSet<()>,
    _permit: OwnedSemaphorePermit,
}

impl Stream for Tunnel {
    type Item = Result<TunnelFrame, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let frame = futures::ready!(Pin::new(&mut self.frames).poll_next(cx));
        Poll::Ready(frame.map(|data| match data {
            Ok(data) => Ok(TunnelFrame { data }),
            Err(error) => Err(Status::internal(error.to_string())),
        }))
    }
}
