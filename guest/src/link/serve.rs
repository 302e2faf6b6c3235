//! `guest.v1` on one connection after another.

use std::{convert::Infallible, future::poll_fn, io, pin::Pin, task::Poll, time::Duration};

use hyper::server::conn::http2;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use pilothouse_proto::{
    greet::{Greeted, greet, receive, reply, send},
    guest::v1::{HandshakeAnswer, HandshakeClock, guest_server::GuestServer},
    link::{
        CHUNK, CONNECTION_WINDOW, FRAME, KEEPALIVE_INTERVAL, KEEPALIVE_TIMEOUT, MESSAGE_MAX, STREAM_WINDOW, STREAMS_MAX,
    },
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, sleep, timeout},
};

use crate::{
    boot_log::report,
    service::{Guest, Vigil},
    wire::{Next, Wire},
};

/// Longest time for a handshake that has begun. A host gives it up sooner, and begins anew: what it sends then is not for this
/// one.
const HANDSHAKE: Duration = Duration::from_secs(15);
/// Pause after a connection that ended sooner than this: a host that sends nonsense must not keep the processor busy.
const PAUSE: Duration = Duration::from_millis(5);
/// Pause between two times that the runtime looks around while the guest stands by.
const STAND_BY: Duration = Duration::from_secs(2);

/// Serves the guest on one connection after another, for ever. In a runtime of one thread, which stands still while the guest
/// stands by.
///
/// # Errors
/// The wire itself failed.
pub async fn serve<W: Wire>(mut wire: W, guest: Guest) -> io::Result<Infallible> {
    let mut left_over = None;
    loop {
        let io = wire.connection().await?;
        let begun = Instant::now();
        // However a connection ends, the next one begins with a preamble.
        let begins = async {
            let mut io = greet(io).await?;
            timeout(HANDSHAKE, shake(&mut io, &guest)).await??;
            io::Result::Ok(io)
        };
        let begins = begins.await;
        // To take the one before down is in nobody's way any more.
        drop(left_over.take());
        if let Ok(io) = begins {
            let service = GuestServer::new(guest.clone()).max_decoding_message_size(MESSAGE_MAX);
            let connection = http2::Builder::new(TokioExecutor::new())
                .timer(TokioTimer::new())
                .initial_stream_window_size(STREAM_WINDOW)
                .initial_connection_window_size(CONNECTION_WINDOW)
                .max_concurrent_streams(STREAMS_MAX)
                .max_frame_size(FRAME)
                .max_send_buf_size(CHUNK)
                .keep_alive_interval(KEEPALIVE_INTERVAL)
                .keep_alive_timeout(KEEPALIVE_TIMEOUT)
                .serve_connection(TokioIo::new(io), TowerToHyperService::new(service));
            let mut connection = Box::pin(connection);
            let vigil = attend(connection.as_mut(), &mut wire, &guest).await?;
            wire.await_anew(false);
            wire.over();
            left_over = vigil.map(|vigil| (connection, vigil));
        }
        if begun.elapsed() < PAUSE {
            sleep(PAUSE).await;
        }
    }
}

/// Drives a connection until it is over. If the host has left it while the guest stood by, it is still to be taken down, and
/// the vigil lasts.
///
/// While the guest stands by, this waits for the wire itself, and the runtime stands still: its tasks have nothing to do but for
/// programs that are frozen, and most likely the host stops the machine now. When that goes on there is nothing between the
/// host's first words and the handshake, of which an emulated processor has to translate every instruction.
async fn attend(
    mut connection: Pin<&mut impl Future>,
    wire: &mut impl Wire,
    guest: &Guest,
) -> io::Result<Option<Vigil>> {
    guest.heard();
    let mut vigil = None;
    poll_fn(|cx| {
        loop {
            wire.await_anew(guest.is_frozen());
            // Also what it has to say goes out here, before anything stands still.
            if connection.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Ok(None));
            }
            if !guest.stands_by() {
                vigil = None;
                return Poll::Pending;
            }
            vigil.get_or_insert_with(|| guest.keep_vigil());
            match wire.stand_by(STAND_BY)? {
                Next::Word => guest.heard(),
                Next::Anew => return Poll::Ready(Ok(vigil.take())),
                Next::Nothing => {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
            }
        }
    })
    .await
}

/// The guest's half of the handshake, as [`pilothouse_proto::greet::shake`]; but the answer goes out before the programs run on,
/// which would be in its way, and they run on with the time that the host says then. Where that does not come, or the host begins
/// anew, the next handshake sees to them.
async fn shake<T: AsyncRead + AsyncWrite + Unpin>(io: &mut Greeted<T>, guest: &Guest) -> io::Result<()> {
    loop {
        let (response, left) = match guest.take_on(receive(io).await?).await {
            Ok(taken) => taken,
            Err(refused) => {
                send(io, &reply(Err(refused))).await?;
                return Err(io::ErrorKind::PermissionDenied.into());
            }
        };
        let (asks_clock, asked, first_output) = (left.asks_clock(), Instant::now(), left.first_output());
        send(io, &HandshakeAnswer { asks_clock, ..reply(Ok(response)) }).await?;
        if asks_clock {
            if io.begins_anew().await? {
                continue;
            }
            let HandshakeClock { unix_nanos } = receive(io).await?;
            guest.set_clock(unix_nanos, asked.elapsed())?;
        }
        guest.go_on(left).inspect_err(|error| report(&format!("what was frozen does not thaw: {error}")))?;
        if let Some(wanted) = first_output {
            send(io, &guest.first_output(wanted).await).await?;
        }
        if !io.begins_anew().await? {
            return Ok(());
        }
    }
}
