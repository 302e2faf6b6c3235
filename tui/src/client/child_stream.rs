//! The stdin and stdout of a program as one stream; the program ends with the stream.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, BufReader, Join, ReadBuf, join},
    process::{Child, ChildStdin, ChildStdout},
};

/// What a program reads and writes.
pub(super) struct ChildStream {
    stream: Join<BufReader<ChildStdout>, ChildStdin>,
    /// Killed when it is dropped.
    _child: Child,
}

impl ChildStream {
    /// The streams of this program, which was started to be killed when it is dropped.
    pub(super) fn new(child: Child, from: BufReader<ChildStdout>, to: ChildStdin) -> Self {
        Self { stream: join(from, to), _child: child }
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
