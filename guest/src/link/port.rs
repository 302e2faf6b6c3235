//! A virtio-serial port as a source of connections.

use std::{
    fs,
    io::{self, IoSlice},
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
use pilothouse_proto::link::{LENGTH, MAGIC};
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

/// Most bytes that one call reads or writes; the kernel takes at most 32 KiB at a time, and gives at most a page.
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
            return Ok(Connection::new(self.0.clone()));
        }
        loop {
            let mut state = [PollFd::new(&self.0.file, PollFlags::IN)];
            poll(&mut state, Some(&NOW))?;
            if !state[0].revents().contains(PollFlags::HUP) {
                return Ok(Connection::new(self.0.clone()));
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
    /// Reads one piece into what is free of a buffer. 0: the host is away.
    #[allow(unsafe_code)]
    fn read(&self, buffer: &mut ReadBuf<'_>) -> Result<usize, Errno> {
        let most = buffer.remaining().min(PIECE);
        // SAFETY: nothing is taken for initialised but what the kernel has written.
        let free = unsafe { &mut buffer.unfilled_mut()[..most] };
        let length = rustix::io::read(&self.file, free)?.0.len();
        // SAFETY: the kernel has written as many bytes.
        unsafe { buffer.assume_init(length) };
        buffer.advance(length);
        Ok(length)
    }

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
    /// Slices that are written as one; kept for the next.
    joined: Vec<u8>,
}

impl Connection {
    fn new(port: Arc<Shared>) -> Self {
        Self { port, away: false, joined: Vec::new() }
    }

    /// Reads as much as there is and as the buffer has room for. The kernel gives at most a page at a time, and HTTP/2 takes more
    /// at a time with less work. A piece that begins as a preamble is the last one.
    fn read_pieces(&mut self, pieces: &mut Pieces, buffer: &mut ReadBuf<'_>) -> io::Result<bool> {
        let before = buffer.filled().len();
        while !self.away && buffer.remaining() > 0 {
            // A preamble that comes next is to be seen whole, and not taken for what goes on.
            if buffer.filled().len() > before && buffer.remaining() < LENGTH {
                break;
            }
            match self.port.read(buffer) {
                Ok(0) => {
                    self.away = true;
                    pieces.last = Bytes::new();
                }
                Ok(n) => {
                    let from = buffer.filled().len() - n;
                    let piece = &buffer.filled()[from..];
                    let begins = piece.starts_with(&MAGIC);
                    let piece = if begins { Bytes::copy_from_slice(piece) } else { Bytes::new() };
                    if begins && self.port.awaits_anew.load(Ordering::Relaxed) {
                        self.away = true;
                        pieces.ahead = piece;
                        buffer.set_filled(from);
                        break;
                    }
                    pieces.last = piece;
                    if begins {
                        break;
                    }
                }
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(self.away || buffer.filled().len() > before || buffer.remaining() == 0)
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let budget = ready!(coop::poll_proceed(cx));
        let port = self.port.clone();
        let mut pieces = port.pieces();
        if !self.away && !pieces.ahead.is_empty() {
            let length = pieces.ahead.len().min(buffer.remaining());
            buffer.put_slice(&pieces.ahead.split_to(length));
            budget.made_progress();
            return Poll::Ready(Ok(()));
        }
        while !self.read_pieces(&mut pieces, buffer)? {
            ready!(port.readable.poll(cx))?;
        }
        budget.made_progress();
        Poll::Ready(Ok(()))
    }
}

impl Connection {
    fn poll_write_bytes(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
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
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_bytes(cx, bytes)
    }

    /// Writes the beginnings of all as one piece. The kernel would make a piece of each, and each costs the machine an exit.
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut filled = slices.iter().filter(|slice| !slice.is_empty());
        let first = match (filled.next(), filled.next()) {
            (first, None) => first.map_or(&[][..], |first| &first[..]),
            (Some(first), Some(_)) if first.len() >= PIECE => &first[..],
            _ => {
                let mut joined = std::mem::take(&mut self.joined);
                joined.clear();
                for slice in slices {
                    let room = PIECE - joined.len();
                    joined.extend_from_slice(&slice[..slice.len().min(room)]);
                }
                let written = self.poll_write_bytes(cx, &joined);
                self.joined = joined;
                return written;
            }
        };
        self.poll_write_bytes(cx, first)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// A port whose pieces stay pieces, and its other end.
    async fn port() -> (Connection, UnixDatagram) {
        let (near, far) = UnixDatagram::pair().unwrap();
        near.set_nonblocking(true).unwrap();
        let mut port = Port::of(fs::File::from(OwnedFd::from(near))).unwrap();
        (port.connection().await.unwrap(), far)
    }

    #[tokio::test]
    async fn what_stands_before_bulk_is_written_with_it() {
        let (mut connection, far) = port().await;
        let (head, bulk) = ([1; 9], vec![2; 2 * PIECE]);
        let written = connection.write_vectored(&[IoSlice::new(&head), IoSlice::new(&bulk)]).await.unwrap();
        assert_eq!(written, PIECE);
        let mut heard = vec![0; 2 * PIECE];
        assert_eq!(far.recv(&mut heard).unwrap(), PIECE);
        assert_eq!(heard[..PIECE], [&head[..], &bulk[..PIECE - 9]].concat());
        // Large ones are written from where they lie.
        assert_eq!(connection.write_vectored(&[IoSlice::new(&bulk), IoSlice::new(&head)]).await.unwrap(), PIECE);
        assert!(connection.joined.len() == PIECE && connection.is_write_vectored());
    }

    #[tokio::test]
    async fn all_that_is_there_is_read_at_once() {
        let (mut connection, far) = port().await;
        for number in 1..=4 {
            far.send(&[number; 4096]).unwrap();
        }
        let mut heard = vec![0; 5 * 4096];
        assert_eq!(connection.read(&mut heard).await.unwrap(), 4 * 4096);
        assert!((1..=4).all(|number| heard[(number - 1) * 4096..][..4096] == [u8::try_from(number).unwrap(); 4096]));
        // A preamble ends what is read at once: HTTP/2 may stumble over it.
        for piece in [&b"before"[..], &MAGIC, b"behind"] {
            far.send(piece).unwrap();
        }
        for piece in [&[b"before", &MAGIC[..]].concat()[..], b"behind"] {
            let length = connection.read(&mut heard).await.unwrap();
            assert_eq!(heard[..length], *piece);
        }
    }

    #[tokio::test]
    async fn a_preamble_is_not_cut_by_a_buffer_that_is_nearly_full() {
        let (mut connection, far) = port().await;
        connection.port.awaits_anew.store(true, Ordering::Relaxed);
        far.send(b"before").unwrap();
        far.send(&MAGIC).unwrap();
        let mut heard = [0; 6 + MAGIC.len() / 2];
        assert_eq!(connection.read(&mut heard).await.unwrap(), 6);
        assert_eq!(connection.read(&mut [0; 64]).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn a_preamble_that_is_awaited_ends_the_connection_behind_what_came_before() {
        let (mut connection, far) = port().await;
        connection.port.awaits_anew.store(true, Ordering::Relaxed);
        far.send(b"before").unwrap();
        far.send(&MAGIC).unwrap();
        let mut heard = [0; 64];
        assert_eq!(connection.read(&mut heard).await.unwrap(), 6);
        assert_eq!(connection.read(&mut heard).await.unwrap(), 0);
        let mut next = Port(connection.port.clone()).connection().await.unwrap();
        assert_eq!(next.read(&mut heard).await.unwrap(), MAGIC.len());
    }
}
