//! A virtio-serial port as a source of connections.

use std::{
    fs, io,
    mem::MaybeUninit,
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::OpenOptionsExt as _,
    },
    path::Path,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use pilothouse_proto::link::MAGIC;
use rustix::{
    event::{PollFd, PollFlags, Timespec, epoll, poll},
    io::Errno,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, Interest, ReadBuf, unix::AsyncFd},
    task::coop,
};

use crate::{
    descriptor,
    wire::{Next, Wire},
};

/// Most bytes that one call reads or writes; the kernel moves at most 32 KiB at a time.
const PIECE: usize = 32 << 10;
/// Most bytes that are read ahead.
const AHEAD: usize = 4096;
/// Most edges that are waited for at a time: a host that flaps does not stop everything else.
const EDGES: usize = 16;
const NOW: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

/// A virtio-serial port.
///
/// While the host is away, reads give 0, writes would block, and poll says "hung up" for as long as that lasts. Tokio keeps
/// "hung up" for ever once it has seen it, and would spin; so tokio watches epolls of our own, which tell of *edges* alone.
#[derive(Debug)]
pub struct Port(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    file: fs::File,
    readable: Edges,
    writable: Edges,
    pieces: Mutex<Pieces>,
    /// Whether a preamble ends the present connection.
    awaits_anew: AtomicBool,
}

/// Bytes that were read from the port.
#[derive(Debug, Default)]
struct Pieces {
    /// Bytes that are still to be given to who reads next.
    ahead: Bytes,
    /// The last piece that was given, if it begins as a preamble does.
    last: Bytes,
}

impl Port {
    /// Opens the device of a port. Must be called in a tokio runtime.
    ///
    /// # Errors
    /// The device cannot be opened, e.g. because it is open already: a port has one owner.
    pub fn open(device: &Path) -> io::Result<Self> {
        let file = fs::File::options().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(device)?;
        Self::of(file)
    }

    /// Makes a port of a file that is open, and does not block. Must be called in a tokio runtime.
    ///
    /// # Errors
    /// It cannot be polled.
    pub fn of(file: fs::File) -> io::Result<Self> {
        let readable = Edges::of(&file, epoll::EventFlags::IN | epoll::EventFlags::RDHUP)?;
        let writable = Edges::of(&file, epoll::EventFlags::OUT)?;
        let shared = Shared { file, readable, writable, pieces: Mutex::default(), awaits_anew: AtomicBool::default() };
        Ok(Self(Arc::new(shared)))
    }
}

impl Wire for Port {
    type Io = Connection;

    async fn connection(&mut self) -> io::Result<Connection> {
        if !self.0.pieces().ahead.is_empty() {
            return Ok(Connection { port: self.0.clone(), away: false });
        }
        loop {
            let mut state = [PollFd::new(&self.0.file, PollFlags::IN)];
            poll(&mut state, Some(&NOW))?;
            if !state[0].revents().contains(PollFlags::HUP) {
                return Ok(Connection { port: self.0.clone(), away: false });
            }
            // An edge between that look and this is kept by the epoll.
            std::future::poll_fn(|cx| self.0.readable.poll(cx)).await?;
        }
    }

    fn await_anew(&self, awaited: bool) {
        self.0.awaits_anew.store(awaited, Ordering::Relaxed);
    }

    fn over(&mut self) {
        let mut pieces = self.0.pieces();
        if pieces.ahead.is_empty() {
            pieces.ahead = std::mem::take(&mut pieces.last);
        }
    }

    fn stand_by(&mut self, within: Duration) -> io::Result<Next> {
        if !self.0.pieces().ahead.is_empty() {
            return Ok(Next::Word);
        }
        let mut away = false;
        for _ in 0..EDGES {
            let mut piece = [0; AHEAD];
            match rustix::io::read(&self.0.file, &mut piece) {
                // It is of use only once it is back.
                Ok(0) => away = true,
                Ok(n) => {
                    self.0.pieces().ahead = Bytes::copy_from_slice(&piece[..n]);
                    let anew = away || piece[..n].starts_with(&MAGIC);
                    return Ok(if anew { Next::Anew } else { Next::Word });
                }
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            if !self.0.readable.wait(within)? {
                break;
            }
        }
        Ok(if away { Next::Anew } else { Next::Nothing })
    }
}

impl Shared {
    fn pieces(&self) -> MutexGuard<'_, Pieces> {
        self.pieces.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Edges of one file's readiness.
#[derive(Debug)]
struct Edges(AsyncFd<OwnedFd>);

impl Edges {
    fn of(file: impl AsFd, flags: epoll::EventFlags) -> io::Result<Self> {
        let inner = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&inner, file, epoll::EventData::new_u64(0), flags | epoll::EventFlags::ET)?;
        Ok(Self(descriptor::watch(inner, Interest::READABLE)?))
    }

    /// Ready once for any number of edges since the last time.
    fn poll(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut ready = ready!(self.0.poll_read_ready(cx))?;
        // First cleared, then fetched: an edge in between is told of again, never lost.
        ready.clear_ready();
        self.fetch(&NOW)?;
        Poll::Ready(Ok(()))
    }

    /// Blocks until there was an edge since the last time. False: there was none in this time.
    fn wait(&self, within: Duration) -> io::Result<bool> {
        let tv_sec = i64::try_from(within.as_secs()).unwrap_or(i64::MAX);
        self.fetch(&Timespec { tv_sec, tv_nsec: within.subsec_nanos().into() })
    }

    fn fetch(&self, within: &Timespec) -> io::Result<bool> {
        let mut events = [MaybeUninit::uninit(); 1];
        match epoll::wait(&self.0, &mut events, Some(within)) {
            Ok((edges, _)) => Ok(!edges.is_empty()),
            Err(Errno::INTR) => Ok(true),
            Err(error) => Err(error.into()),
        }
    }
}

/// The host's presence on a [`Port`]: ends when the host goes away.
///
/// A host that goes away and comes back between two reads is not noticed here, but while programs are frozen; what follows the
/// preamble notices: the handshake by its time, HTTP/2 by bytes that make no sense, which are most likely the next preamble, or
/// by a ping without an answer.
#[derive(Debug)]
pub struct Connection {
    port: Arc<Shared>,
    /// Whether the host was seen away: this connection is over then, even if the host is back.
    away: bool,
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let budget = ready!(coop::poll_proceed(cx));
        let Self { port, away } = &mut *self;
        let mut pieces = port.pieces();
        if !pieces.ahead.is_empty() {
            let length = pieces.ahead.len().min(buffer.remaining());
            buffer.put_slice(&pieces.ahead.split_to(length));
            budget.made_progress();
            return Poll::Ready(Ok(()));
        }
        while !*away {
            let length = buffer.remaining().min(PIECE);
            let free = buffer.initialize_unfilled_to(length);
            match rustix::io::read(&port.file, &mut *free) {
                Ok(0) => {
                    *away = true;
                    pieces.last = Bytes::new();
                }
                Ok(n) if free[..n].starts_with(&MAGIC) && port.awaits_anew.load(Ordering::Relaxed) => {
                    *away = true;
                    pieces.ahead = Bytes::copy_from_slice(&free[..n]);
                }
                Ok(n) => {
                    let begins = free[..n].starts_with(&MAGIC);
                    pieces.last = if begins { Bytes::copy_from_slice(&free[..n]) } else { Bytes::new() };
                    buffer.advance(n);
                    budget.made_progress();
                    break;
                }
                Err(Errno::AGAIN) => ready!(port.readable.poll(cx))?,
                Err(Errno::INTR) => {}
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.away {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let budget = ready!(coop::poll_proceed(cx));
        loop {
            match rustix::io::write(&self.port.file, &bytes[..bytes.len().min(PIECE)]) {
                Ok(n) => {
                    budget.made_progress();
                    return Poll::Ready(Ok(n));
                }
                // Also while the host is away: whoever writes must read too, to learn of that.
                Err(Errno::AGAIN) => ready!(self.port.writable.poll(cx))?,
                Err(Errno::INTR) => {}
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
