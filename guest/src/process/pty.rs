use std::{
    io,
    os::fd::OwnedFd,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{OFlags, fcntl_getfl, fcntl_setfl},
    io::{Errno, ioctl_fionread},
    pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt},
    termios::{LocalModes, Winsize, tcgetattr, tcgetpgrp, tcsetwinsize},
};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf, unix::AsyncFd};

use crate::descriptor;

/// Flags with which PTYs are opened.
const OPEN: OpenptFlags = OpenptFlags::RDWR.union(OpenptFlags::NOCTTY).union(OpenptFlags::CLOEXEC);
/// Most bytes that a terminal keeps for its program: 4 KiB, and 8 KiB on their way there.
const KEPT_MAX: usize = 16 << 10;

/// Size of a terminal, within its bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    columns: u16,
    rows: u16,
}

impl Window {
    /// Most columns, and most rows.
    pub const MAX: u32 = 1000;

    /// The size; None unless both sides are 1 to [`Window::MAX`].
    #[must_use]
    pub fn new(columns: u32, rows: u32) -> Option<Self> {
        let side = |n: u32| u16::try_from(n).ok().filter(|_| (1..=Self::MAX).contains(&n));
        Some(Self { columns: side(columns)?, rows: side(rows)? })
    }

    fn winsize(self) -> Winsize {
        Winsize { ws_col: self.columns, ws_row: self.rows, ws_xpixel: 0, ws_ypixel: 0 }
    }
}

/// The master side of a pseudo terminal. Clones share it; its end of file is "nobody has the terminal open any more".
#[derive(Clone, Debug)]
pub struct Pty(Arc<AsyncFd<OwnedFd>>);

impl Pty {
    /// Opens a terminal of this size; returns also its slave side, for the program.
    ///
    /// # Errors
    /// No PTY to be had, e.g. because /dev/pts is not mounted or full.
    pub fn open(window: Window) -> io::Result<(Self, OwnedFd)> {
        let master = openpt(OPEN)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let slave = ioctl_tiocgptpeer(&master, OPEN)?;
        tcsetwinsize(&master, window.winsize())?;
        fcntl_setfl(&master, fcntl_getfl(&master)? | OFlags::NONBLOCK)?;
        let master = descriptor::watch(master, Interest::READABLE | Interest::WRITABLE)?;
        Ok((Self(Arc::new(master)), slave))
    }

    /// Sets the size; the terminal's foreground programs get SIGWINCH if it differs.
    ///
    /// # Errors
    /// The terminal is gone.
    pub fn resize(&self, window: Window) -> io::Result<()> {
        Ok(tcsetwinsize(&*self.0, window.winsize())?)
    }

    /// Number of bytes that were typed and are not read. Where the program reads lines, whole lines alone count.
    ///
    /// # Errors
    /// The terminal is gone.
    pub fn unread(&self) -> io::Result<u64> {
        Ok(ioctl_fionread(self.settled()?)?)
    }

    /// Whether the program reads whole lines (the terminal's canonical mode).
    ///
    /// # Errors
    /// The terminal is gone.
    pub fn reads_lines(&self) -> io::Result<bool> {
        Ok(tcgetattr(&*self.0)?.local_modes.contains(LocalModes::ICANON))
    }

    /// The process group in the foreground of the terminal.
    ///
    /// # Errors
    /// The terminal is gone, or has no such group.
    pub fn foreground(&self) -> io::Result<i32> {
        Ok(tcgetpgrp(&*self.0)?.as_raw_nonzero().get())
    }

    /// Reads what was typed and not read. True: it is exactly `typed`, and now nobody will read it there. Anything else goes
    /// back to where it was. What a program reads at this moment is the program's.
    ///
    /// # Errors
    /// The terminal is gone.
    pub fn take_back(&self, typed: &[u8]) -> io::Result<bool> {
        let slave = self.settled()?;
        fcntl_setfl(&slave, fcntl_getfl(&slave)? | OFlags::NONBLOCK)?;
        let mut unread = vec![0; KEPT_MAX];
        let mut count = 0;
        while count < unread.len() {
            match rustix::io::read(&slave, &mut unread[count..]) {
                Ok(0) | Err(_) => break,
                Ok(more) => count += more,
            }
        }
        unread.truncate(count);
        // A terminal may make the one of the other.
        let plain = |bytes: &[u8]| bytes.iter().map(|&b| if b == b'\r' { b'\n' } else { b }).collect::<Vec<_>>();
        if plain(&unread) == plain(typed) {
            return Ok(true);
        }
        let mut left = &unread[..];
        while let Ok(written @ 1..) = rustix::io::write(&*self.0, left) {
            left = &left[written..];
        }
        Ok(false)
    }

    /// The program's side, when all that was written is there: a worker of the kernel brings it, and who polls waits for that.
    fn settled(&self) -> io::Result<OwnedFd> {
        let slave = ioctl_tiocgptpeer(&*self.0, OPEN)?;
        let mut look = [PollFd::new(&slave, PollFlags::IN)];
        poll(&mut look, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))?;
        Ok(slave)
    }
}

impl AsyncRead for Pty {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            let mut ready = ready!(self.0.poll_read_ready(cx))?;
            match ready.try_io(|fd| Ok(rustix::io::read(fd, buffer.initialize_unfilled())?)) {
                Ok(Ok(n)) => {
                    buffer.advance(n);
                    return Poll::Ready(Ok(()));
                }
                // Nobody has it open: the end.
                Ok(Err(error)) if Errno::from_io_error(&error) == Some(Errno::IO) => return Poll::Ready(Ok(())),
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(Err(error)) => return Poll::Ready(Err(error)),
                Err(_would_block) => {}
            }
        }
    }
}

impl AsyncWrite for Pty {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            let mut ready = ready!(self.0.poll_write_ready(cx))?;
            match ready.try_io(|fd| Ok(rustix::io::write(fd, bytes)?)) {
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(written) => return Poll::Ready(written),
                Err(_would_block) => {}
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
