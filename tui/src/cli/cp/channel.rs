use std::io::{self, Read, Write};

use bytes::{Buf as _, Bytes};
use pilothouse_proto::hostd::v1::{ExecRequest, exec_request::Request};
use tokio::sync::mpsc;

/// What the guest's end writes, for a thread that may block.
pub(super) struct Incoming {
    parts: mpsc::Receiver<Bytes>,
    rest: Bytes,
}

impl Incoming {
    pub(super) fn new(parts: mpsc::Receiver<Bytes>) -> Self {
        Self { parts, rest: Bytes::new() }
    }
}

impl Read for Incoming {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.rest.is_empty() {
            match self.parts.blocking_recv() {
                Some(part) => self.rest = part,
                None => return Ok(0),
            }
        }
        let count = self.rest.len().min(into.len());
        self.rest.copy_to_slice(&mut into[..count]);
        Ok(count)
    }
}

/// What the guest's end reads, from a thread that may block.
pub(super) struct Outgoing(pub(super) mpsc::Sender<ExecRequest>);

impl Write for Outgoing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let part = &bytes[..bytes.len().min(super::BUFFER)];
        let request = ExecRequest { request: Some(Request::Stdin(Bytes::copy_from_slice(part))) };
        self.0.blocking_send(request).map_err(|_| io::ErrorKind::BrokenPipe)?;
        Ok(part.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
