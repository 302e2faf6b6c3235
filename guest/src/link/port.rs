use std::{
    fs, io,
    mem::MaybeUninit,
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::OpenOptionsExt as _,
    },
    path::Path,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, epoll, poll},
    io::Errno,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, Interest, ReadBuf, unix::AsyncFd},
    task::coop,
};

use super::Wire;
use crate::descriptor;

/// Most bytes that one call reads or writes; the kernel moves at most 32 KiB at a time.
const PIECE: usize = 32 << 10;
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
}

impl Port {
    /// Opens the device of a port. Must be called in a tokio runtime.
    ///
    /// # Errors
    /// The device cannot be opened, e.g. because it is open already: a port has one owner.
    pub fn open(device: &Path) -> io::Result<Self> {
        let file = fs::File::options().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(device)?;
        Self::from_file(file)
    }

    fn from_file(file: fs::File) -> io::Result<Self> {
        let readable = Edges::of(&file, epoll::EventFlags::IN | epoll::EventFlags::RDHUP)?;
        let writable = Edges::of(&file, epoll::EventFlags::OUT)?;
        Ok(Self(Arc::new(Shared { file, readable, writable })))
    }
}

impl Wire for Port {
    type Io = Connection;

    async fn connection(&mut self) -> io::Result<Connection> {
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
        let mut events = [MaybeUninit::uninit(); 1];
        epoll::wait(&self.0, &mut events, Some(&NOW))?;
        Poll::Ready(Ok(()))
    }
}

/// The host's presence on a [`Port`]: ends when the host goes away.
///
/// A host that goes away and comes back between two reads is not noticed here; what follows the preamble notices: the handshake by
/// its time, HTTP/2 by bytes that make no sense or by a ping without an answer.
#[derive(Debug)]
pub struct Connection {
    port: Arc<Shared>,
    /// Seen away: this connection is over, even if the host is back.
    away: bool,
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let budget = ready!(coop::poll_proceed(cx));
        while !self.away {
            let length = buffer.remaining().min(PIECE);
            match rustix::io::read(&self.port.file, buffer.initialize_unfilled_to(length)) {
                Ok(0) => self.away = true,
                Ok(n) => {
                    buffer.advance(n);
                    budget.made_progress();
                    break;
                }
                Err(Errno::AGAIN) => ready!(self.port.readable.poll(cx))?,
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
