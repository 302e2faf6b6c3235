//! The user's terminal: raw mode that always ends, its size, its signals, its keys, and bytes to it.

use std::{
    io::{self, IsTerminal as _, stdin},
    sync::{Mutex, PoisonError},
};

use bytes::Bytes;
use pilothouse_proto::hostd::v1::Size;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fd::BorrowedFd,
    io::Errno,
    process::getpgrp,
    termios::{OptionalActions, Termios, tcgetattr, tcgetpgrp, tcgetwinsize, tcsetattr},
};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
};

/// Most bytes that are read or passed on at once.
const CHUNK: usize = 64 << 10;
/// Longest side of a terminal that hosts take.
const SIDE_MAX: u16 = 1000;

/// Pause between two looks whether a job in the background has come to the front.
const LOOK_AGAIN: Timespec = Timespec { tv_sec: 0, tv_nsec: 250_000_000 };

/// Settings to go back to while the terminal is raw, and what to write then. Not in the guard, so that a panic finds them too.
static SAVED: Mutex<Option<(Termios, Vec<u8>)>> = Mutex::new(None);

/// Raw mode of the terminal on stdin, until dropped.
#[derive(Debug)]
pub(crate) struct RawMode(());

impl RawMode {
    /// Enters raw mode; `leave` is written to stdout when it ends.
    pub(crate) fn enter(leave: Vec<u8>) -> io::Result<Self> {
        let old = tcgetattr(rustix::stdio::stdin())?;
        let mut raw = old.clone();
        raw.make_raw();
        *SAVED.lock().unwrap_or_else(PoisonError::into_inner) = Some((old, leave));
        let guard = Self(());
        tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, &raw)?;
        Ok(guard)
    }

    /// Has these bytes written when raw mode ends, instead of those before.
    pub(crate) fn leave_with(&self, leave: Vec<u8>) {
        if let Some(saved) = SAVED.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            saved.1 = leave;
        }
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        restore();
    }
}

/// Ends raw mode, if it is on. For the panic hook: a message in raw mode would be unreadable.
pub(crate) fn restore() {
    let saved = SAVED.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some((saved, leave)) = saved {
        // Where the terminal is gone there is nothing to restore.
        let _ = write_all(Out::Stdout, &leave);
        let _ = tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, &saved);
    }
}

/// Size of the terminal on stdout, in the bounds of hosts.
pub(crate) fn size() -> Size {
    let (columns, rows) = match tcgetwinsize(rustix::stdio::stdout()) {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (size.ws_col, size.ws_row),
        _ => (80, 24),
    };
    Size { columns: columns.min(SIDE_MAX).into(), rows: rows.min(SIDE_MAX).into() }
}

/// Signals that ask this program to end.
#[derive(Debug)]
pub(crate) struct Signals {
    interrupt: Signal,
    quit: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    /// Catches the signals from now on.
    pub(crate) fn catch() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for the next signal; returns its number.
    pub(crate) async fn next(&mut self) -> i32 {
        let kind = tokio::select! {
            _ = self.interrupt.recv() => SignalKind::interrupt(),
            _ = self.quit.recv() => SignalKind::quit(),
            _ = self.terminate.recv() => SignalKind::terminate(),
            _ = self.hangup.recv() => SignalKind::hangup(),
        };
        kind.as_raw_value()
    }
}

/// The exit code of a program that a signal ended.
pub(crate) fn exit_code_of(signal: i32) -> u8 {
    u8::try_from(128 + signal).unwrap_or(1)
}

/// Reads stdin on a thread of its own, as a read cannot be called off, into `sender`, then sends `end`. The thread ends with
/// stdin, or when nobody receives, or with the process.
pub(crate) fn read_stdin<T: Send + 'static>(
    sender: mpsc::Sender<T>,
    part: impl Fn(Vec<u8>) -> T + Send + 'static,
    end: Option<T>,
) -> io::Result<()> {
    let read = move || {
        let mut buffer = vec![0; CHUNK];
        // Not `Stdin::lock`: its buffer would make us wait for more than there is to pass on.
        while let Ok(count @ 1..) = read_some(&mut buffer) {
            if sender.blocking_send(part(buffer[..count].to_vec())).is_err() {
                return;
            }
        }
        if let Some(end) = end {
            let _ = sender.blocking_send(end);
        }
    };
    std::thread::Builder::new().name("stdin".into()).spawn(read).map(drop)
}

/// Reads stdin. A terminal that is another job's just now stays unread: who reads it is stopped.
fn read_some(buffer: &mut [u8]) -> io::Result<usize> {
    let is_terminal = stdin().is_terminal();
    loop {
        if is_terminal {
            wait_for(rustix::stdio::stdin(), PollFlags::IN)?;
            if is_in_background() {
                // Nobody is told when a job comes to the front.
                poll(&mut [], Some(&LOOK_AGAIN))?;
                continue;
            }
        }
        match rustix::io::read(rustix::stdio::stdin(), &mut *buffer) {
            Err(Errno::INTR) => {}
            // Somebody who shares it set it non-blocking.
            Err(Errno::AGAIN) => wait_for(rustix::stdio::stdin(), PollFlags::IN)?,
            other => return Ok(other?),
        }
    }
}

/// Whether the terminal on stdin is this program's, but in the hands of another job.
fn is_in_background() -> bool {
    tcgetpgrp(rustix::stdio::stdin()).is_ok_and(|front| front != getpgrp())
}

/// An output of this program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Out {
    /// The standard output.
    Stdout,
    /// The standard error output.
    Stderr,
}

/// Writes all of `bytes` as they are; returns when they are written.
pub(crate) async fn write(out: Out, bytes: Bytes) -> io::Result<()> {
    match tokio::task::spawn_blocking(move || write_all(out, &bytes)).await {
        Ok(result) => result,
        Err(error) => Err(io::Error::other(error)),
    }
}

/// Writes as [`write()`], and blocks meanwhile.
pub(crate) fn write_all(out: Out, mut bytes: &[u8]) -> io::Result<()> {
    let fd = match out {
        Out::Stdout => rustix::stdio::stdout(),
        Out::Stderr => rustix::stdio::stderr(),
    };
    while !bytes.is_empty() {
        match rustix::io::write(fd, bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => wait_for(fd, PollFlags::OUT)?,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn wait_for(fd: BorrowedFd<'_>, what: PollFlags) -> io::Result<()> {
    match poll(&mut [PollFd::new(&fd, what)], None) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
