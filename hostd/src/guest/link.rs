use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use hyper_util::rt::TokioIo;
use pilothouse_proto::{
    guest::v1::{ExecStart, HandshakeResponse, QuiesceRequest, Size, TerminalResponse, guest_client::GuestClient},
    link::{CONNECTION_WINDOW, FRAME, KEEPALIVE_INTERVAL, KEEPALIVE_TIMEOUT, MESSAGE_MAX, STREAM_WINDOW},
};
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::transport::{Channel, Endpoint, Uri};
use tower::service_fn;
use tracing::{Instrument as _, debug, info};

use super::{
    command,
    connection::{self, Connected, Held, Stop, Watched},
    handshake::{self, Greeting, Identity},
    streams::Streams,
    tunnel,
};
use crate::{
    gateway::{Caller, Gateway},
    vm::{Port, Vm},
};

/// Command of a rehearsal: a shell, and a program of its own, which most agents begin with.
const REHEARSAL: [&str; 3] = ["sh", "-c", "exec true"];
/// Longest time for a rehearsal to end, or for a guest to freeze.
const REHEARSE: Duration = Duration::from_secs(20);
/// Pause between two attempts. The guest sees the first connection end, or at least most times does, before the next begins.
const PAUSE: Duration = Duration::from_millis(50);
/// Longest pause, when attempts keep failing at once.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// A guest that has shaken hands on a connection.
#[derive(Clone, Debug)]
pub struct Hello {
    /// Calls the guest; clones share the one connection. Its calls fail with `Unavailable` when the connection is over.
    pub client: GuestClient<Channel>,
    /// The guest's answer to the handshake of this connection.
    pub handshake: HandshakeResponse,
    /// What the guest's agent has shown ahead of all else on this connection. None: the greeting did not ask for it, or the guest
    /// does not know how.
    pub first_output: Option<TerminalResponse>,
}

impl Hello {
    /// Starts a program that does nothing on a terminal, and waits for its end. The next start is quicker by that: what it
    /// needs of the guest is in memory then, and an emulated processor has translated it.
    ///
    /// # Errors
    /// A text for people. A guest without a shell goes without.
    pub async fn rehearse(&self) -> Result<(), String> {
        let terminal = Some(Size { columns: 80, rows: 24 });
        let command = ExecStart { command: REHEARSAL.map(Into::into).into(), terminal, ..ExecStart::default() };
        let ended = timeout(REHEARSE, command::follow(self.client.clone(), command, |_| ())).await;
        let ended = ended.map_err(|_| format!("it did not end within {} s", REHEARSE.as_secs()))?;
        let exit = ended.map_err(|status| hostd_core::text::clean(status.message(), handshake::WHY_MAX))?;
        command::bad_end(&exit).map_or(Ok(()), Err)
    }

    /// Freezes the guest until it shakes hands again. The next suspend is quicker by that, as the next start by
    /// [`Hello::rehearse`]. This is to be the last call on a link; a guest without a freezer goes without.
    pub async fn freeze(&self) {
        let mut client = self.client.clone();
        let frozen = timeout(REHEARSE, client.quiesce(QuiesceRequest { freeze: true, trim: true })).await;
        debug!(?frozen, "a guest stands by");
    }

    /// Shakes hands once more in the same life, which lets whatever was frozen run.
    ///
    /// # Errors
    /// A text for people.
    pub(crate) async fn shake_again(&self, identity: &Identity) -> Result<(), String> {
        handshake::again(&mut self.client.clone(), identity).await
    }
}

/// State of a link.
#[derive(Clone, Debug)]
pub enum LinkState {
    /// The link was never up.
    Connecting,
    /// The guest has shaken hands on the present connection.
    Up(Arc<Hello>),
    /// The link was up, and is being connected again.
    Down,
}

/// Why there is no guest to talk to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// The link did not come up in time.
    #[error("the guest did not answer within {} s: {last}", within.as_secs_f32())]
    Silent {
        /// How long it was waited for.
        within: Duration,
        /// What went wrong last, in words for a person.
        last: String,
    },
    /// The link was closed.
    #[error("the link to the guest was closed")]
    Closed,
}

/// The link to one VM's guest. Dropping it ends its tasks and its connections.
#[derive(Debug)]
pub struct Link {
    state: watch::Receiver<LinkState>,
    last: Arc<Mutex<String>>,
    stop: Stop,
    _stop: DropGuard,
    /// Other side of the connection's end, until the link is closed.
    held: Mutex<Option<Held>>,
    streams: Streams,
}

impl Link {
    /// Begins to connect both ports of `vm`, and does so for ever. Calls on the tunnel port go to `gateway` as `caller`'s.
    #[must_use]
    pub fn start(vm: Arc<dyn Vm>, greeting: impl Into<Greeting>, gateway: Arc<Gateway>, caller: Arc<Caller>) -> Self {
        let greeting = greeting.into();
        let before = greeting.before_tunnel();
        let link = Self::keep(vm.clone(), greeting);
        let streams = link.streams.clone();
        let mut up = link.state();
        let tunnel = async move {
            // What the guest does for this port would be in the way of its handshake on the other.
            if up.wait_for(|state| matches!(state, LinkState::Up(_))).await.is_ok() {
                before.await;
                tunnel::run(vm, gateway, caller, streams).await;
            }
        };
        tokio::spawn(link.stop.now.clone().run_until_cancelled_owned(tunnel).in_current_span());
        link
    }

    /// The link to a copy of a VM, which is only read: what is frozen in it stays so, and its other port, the way out, is never
    /// connected.
    #[must_use]
    pub fn to_copy(vm: Arc<dyn Vm>, identity: Identity) -> Self {
        Self::keep(vm, Greeting::copy(identity))
    }

    /// Begins to connect the link port alone.
    fn keep(vm: Arc<dyn Vm>, greeting: Greeting) -> Self {
        let (stop, held) = Stop::new();
        let last = Arc::new(Mutex::new("not connected yet".to_string()));
        let (sender, state) = watch::channel(LinkState::Connecting);
        let keeper = Keeper { vm, greeting, state: sender, last: last.clone(), stop: stop.clone() };
        tokio::spawn(stop.now.clone().run_until_cancelled_owned(keeper.run()).in_current_span());
        Self {
            state,
            last,
            _stop: stop.now.clone().drop_guard(),
            stop,
            held: Mutex::new(Some(held)),
            streams: Streams::default(),
        }
    }

    /// Whether an answer to the guest is under way on one of its connections to the world.
    #[must_use]
    pub fn streams(&self) -> bool {
        self.streams.are_under_way()
    }

    /// Ends the link now, whoever else still holds it: calls under way fail, and it is never up again. The guest sees that its
    /// link port is left when what this returns is dropped: one that is suspended meanwhile has nothing to do about it when it
    /// goes on. None: somebody else has closed the link.
    #[must_use = "the guest sees at once that its port is left when this is dropped"]
    pub fn close(&self) -> Option<Held> {
        self.stop.now.cancel();
        self.held.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// State of the link; changes are seen by every receiver.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<LinkState> {
        self.state.clone()
    }

    /// Waits until the link is up, for as long as that takes; None: it was closed.
    pub(crate) async fn up(&self) -> Option<GuestClient<Channel>> {
        let mut state = self.state();
        let state = state.wait_for(|state| matches!(state, LinkState::Up(_))).await.ok()?;
        match &*state {
            LinkState::Up(hello) => Some(hello.client.clone()),
            LinkState::Connecting | LinkState::Down => None,
        }
    }

    /// Waits until the link is up.
    ///
    /// # Errors
    /// [`LinkError::Silent`] if it is not up `within` this time, with what went wrong last.
    pub async fn client(&self, within: Duration) -> Result<Arc<Hello>, LinkError> {
        let mut state = self.state();
        let up = state.wait_for(|state| matches!(state, LinkState::Up(_)));
        match timeout(within, up).await {
            Ok(Ok(state)) => match &*state {
                LinkState::Up(hello) => Ok(hello.clone()),
                LinkState::Connecting | LinkState::Down => Err(LinkError::Closed),
            },
            Ok(Err(_)) => Err(LinkError::Closed),
            Err(_) => {
                let last = self.last.lock().unwrap_or_else(PoisonError::into_inner).clone();
                Err(LinkError::Silent { within, last })
            }
        }
    }
}

/// Task that owns the connection to the link port.
struct Keeper {
    vm: Arc<dyn Vm>,
    greeting: Greeting,
    state: watch::Sender<LinkState>,
    last: Arc<Mutex<String>>,
    stop: Stop,
}

impl Keeper {
    async fn run(mut self) {
        let identity = self.greeting.identity().clone();
        let mut pause = PAUSE;
        loop {
            let begun = Instant::now();
            match self.connect().await {
                Ok((hello, over)) => {
                    self.vm.came_up();
                    self.greeting.has_run_on();
                    info!(slug = identity.slug, generation = identity.generation, "link up");
                    self.state.send_replace(LinkState::Up(Arc::new(hello)));
                    over.cancelled().await;
                    self.state.send_replace(LinkState::Down);
                    info!(slug = identity.slug, "link down");
                    self.note("the connection to the guest ended".into());
                }
                Err(why) => {
                    debug!(slug = identity.slug, why, "no link yet");
                    self.note(why);
                }
            }
            // Also a guest that shakes hands and then talks nonsense is not asked all the time.
            let soon = begun.elapsed() < PAUSE_MAX;
            pause = if soon { (pause * 2).min(PAUSE_MAX) } else { PAUSE };
            sleep(pause).await;
        }
    }

    fn note(&self, why: String) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = why;
    }

    /// One attempt to connect: returns the shaken hand, and a token that is cancelled when the connection is over.
    async fn connect(&self) -> Result<(Hello, CancellationToken), String> {
        let hand = || self.greeting.bytes();
        let mut io = connection::connect(&*self.vm, Port::Link, hand).await.map_err(|e| e.to_string())?;
        let handshake = handshake::shaken(&mut io).await?;
        let first_output = handshake::first_output(&mut io, &self.greeting, &handshake).await?;
        let over = CancellationToken::new();
        let client = client(io, &self.stop, over.clone()).await?;
        Ok((Hello { client, handshake, first_output }, over))
    }
}

/// A client of the guest that has shaken hands on this connection; `over` is cancelled when the connection is over.
pub(super) async fn client(
    io: Connected,
    stop: &Stop,
    over: CancellationToken,
) -> Result<GuestClient<Channel>, String> {
    let watched = Watched::new(io, stop, over);
    let channel = channel(watched).await.map_err(|e| format!("HTTP/2 with the guest failed: {e}"))?;
    Ok(GuestClient::new(channel).max_decoding_message_size(MESSAGE_MAX))
}

/// HTTP/2 over a connection that exists already. When it is over, calls fail; it is never made anew from in here.
async fn channel(io: Watched) -> Result<Channel, tonic::transport::Error> {
    let mut io = Some(TokioIo::new(io));
    let once = service_fn(move |_: Uri| {
        let io =
            io.take().ok_or_else(|| io::Error::new(io::ErrorKind::NotConnected, "the connection to the guest ended"));
        std::future::ready(io)
    });
    Endpoint::from_static("http://guest.invalid")
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME)
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .connect_with_connector(once)
        .await
}
