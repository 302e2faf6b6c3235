//! The way out: `guest.v1.Gateway`, called on the port `pilothouse.tunnel`.

use std::{convert::Infallible, io, sync::Arc, time::Duration};

use hyper_util::rt::TokioIo;
use pilothouse_proto::{
    greet::greet,
    guest::v1::gateway_client::GatewayClient,
    link::{FRAME, KEEPALIVE_INTERVAL, KEEPALIVE_TIMEOUT, MESSAGE_MAX, TUNNEL_WINDOWS},
};
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint, Uri};
use tower::service_fn;

use crate::wire::Wire;

pub(crate) mod stream;
mod watched;

use watched::Watched;

/// Pause after a connection that ended sooner than this.
const PAUSE: Duration = Duration::from_millis(5);

/// The host's gateway, while it is there. Clones share it.
#[derive(Clone, Debug)]
pub struct Gateway(Arc<watch::Sender<Option<GatewayClient<Channel>>>>);

impl Default for Gateway {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(None)))
    }
}

impl Gateway {
    /// Waits for the gateway. None: it is not there in this time.
    pub async fn client(&self, within: Duration) -> Option<GatewayClient<Channel>> {
        let mut state = self.0.subscribe();
        timeout(within, state.wait_for(Option::is_some)).await.ok()?.ok()?.clone()
    }
}

/// Keeps `gateway` connected by one connection after another, for ever.
///
/// # Errors
/// The wire itself failed.
pub async fn keep<W: Wire>(mut wire: W, gateway: Gateway) -> io::Result<Infallible> {
    loop {
        let io = wire.connection().await?;
        let begun = Instant::now();
        let over = CancellationToken::new();
        if let Ok(io) = greet(io).await
            && let Ok(channel) = channel(Watched::new(io, over.clone())).await
        {
            gateway.0.send_replace(Some(GatewayClient::new(channel).max_decoding_message_size(MESSAGE_MAX)));
            over.cancelled().await;
            wire.over();
            gateway.0.send_replace(None);
        }
        if begun.elapsed() < PAUSE {
            sleep(PAUSE).await;
        }
    }
}

/// HTTP/2 over a connection that exists already. When it is over, calls fail; it is never made anew from in here.
async fn channel<T>(io: Watched<T>) -> Result<Channel, tonic::transport::Error>
where
    Watched<T>: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
{
    let mut io = Some(TokioIo::new(io));
    let once = service_fn(move |_: Uri| {
        let gone = || io::Error::new(io::ErrorKind::NotConnected, "the connection to the host ended");
        std::future::ready(io.take().ok_or_else(gone))
    });
    Endpoint::from_static("http://host.invalid")
        .initial_stream_window_size(TUNNEL_WINDOWS.0)
        .initial_connection_window_size(TUNNEL_WINDOWS.1)
        .max_frame_size(FRAME)
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .connect_with_connector(once)
        .await
}
