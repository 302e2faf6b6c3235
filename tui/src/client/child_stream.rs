//! The stdin and stdout of a program as one stream; the program ends with the stream.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::{AsyncRead, AsyncWrite, BufReader, Join, ReadBuf, join},
    process::{Child, ChildStdin, ChildStdout},
};

/// A program that leads a process group of its own: what it has started, such as a command that connects, is killed with it.
pub(super) struct Leader(pub(super) Child);

impl Drop for Leader {
    fn drop(&mut self) {
        // None: it was waited for, and its number may be another's.
        if let Some(group) = self.0.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw) {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// What a program reads and writes.
pub(super) struct ChildStream {
    stream: Join<BufReader<ChildStdout>, ChildStdin>,
    _leader: Leader,
}

impl ChildStream {
    /// The streams of this program.
    pub(super) fn new(leader: Leader, from: BufReader<ChildStdout>, to: ChildStdin) -> Self {
        Self { stream: join(from, to), _leader: leader }
    }
}

impl AsyncRead for ChildStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for ChildStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
