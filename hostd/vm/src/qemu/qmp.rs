//! QEMU's control protocol: one JSON object a line.
//!
//! A client of our own: `qapi` reads lines of any length and ends the stream at an event that its schema does not know,
//! while a QEMU that a guest has taken over may write what it likes, and a newer one has newer events.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd},
    time::Duration,
};

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, Interest},
    net::UnixStream,
    time::timeout,
};

/// Longest line of QEMU's, in bytes: the longest answer that is asked for is 64 KiB of serial output as base64.
const LINE: usize = 256 * 1024;
/// Most events that are kept while an answer is awaited; more are dropped.
const EVENTS: usize = 64;

/// A control connection after its greeting.
#[derive(Debug)]
pub(super) struct Qmp<S> {
    stream: S,
    unread: Vec<u8>,
    /// Bytes of commands that were cut off while they were sent.
    unsent: Vec<u8>,
    events: VecDeque<Event>,
    next_id: u64,
}

/// What happened in QEMU, as far as hostd cares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// The guest ended; QEMU waits. `reset`: its kernel asked for a reset, or brought the processor to a triple fault.
    Shutdown { guest: bool, reset: bool },
    /// QEMU stopped the VM because of an error of its disk.
    DiskStopped { reason: String },
    /// The VM stands, whoever brought it to that.
    Stopped,
    /// Any other event.
    Other,
}

/// Why a command has no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum QmpError {
    /// QEMU refused the command, with these words.
    #[error("{0}")]
    Refused(String),
    /// The answer is late; after any other error the connection is of no more use.
    #[error(transparent)]
    Io(#[from] io::Error),
}

#[derive(Deserialize)]
struct Line {
    #[serde(rename = "QMP")]
    greeting: Option<Value>,
    event: Option<String>,
    data: Option<Value>,
    #[serde(default, rename = "return", deserialize_with = "present")]
    answer: Option<Value>,
    error: Option<Refusal>,
    id: Option<u64>,
}

#[derive(Deserialize)]
struct Refusal {
    #[serde(default)]
    desc: String,
}

/// Reads an answer that may be null: `"return": null` is an answer too.
fn present<'de, D: serde::Deserializer<'de>>(value: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(value).map(Some)
}

impl<S: AsyncRead + AsyncWrite + Unpin> Qmp<S> {
    /// Waits for the greeting and enters command mode, all `within` this time.
    pub(super) async fn open(stream: S, within: Duration) -> Result<Self, QmpError> {
        let mut qmp = Self { stream, unread: Vec::new(), unsent: Vec::new(), events: VecDeque::new(), next_id: 0 };
        let greeting = timeout(within, qmp.line()).await.map_err(|_| late("greet"))??;
        if greeting.greeting.is_none() {
            return Err(invalid("the first line is no greeting").into());
        }
        qmp.execute("qmp_capabilities", json!({}), within).await?;
        Ok(qmp)
    }

    /// Sends one command and waits for its answer. One that is late, or cancelled, may still be carried out; its answer is
    /// passed over when it comes, and the connection stays of use. After any other [`QmpError::Io`] it is of none.
    pub(super) async fn execute(
        &mut self,
        command: &str,
        arguments: Value,
        within: Duration,
    ) -> Result<Value, QmpError> {
        timeout(within, self.exchange(command, arguments)).await.map_err(|_| late(command))?
    }

    /// Has an event told that was not heard, as the next one.
    pub(super) fn missed(&mut self, event: Event) {
        self.events.push_front(event);
    }

    /// Waits for the next event. Cancel safe.
    pub(super) async fn event(&mut self) -> io::Result<Event> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Ok(event);
            }
            let line = self.line().await?;
            self.keep_event(&line);
        }
    }

    async fn exchange(&mut self, command: &str, arguments: Value) -> Result<Value, QmpError> {
        let (id, line) = self.question(command, &arguments);
        self.unsent.extend_from_slice(line.as_bytes());
        self.send().await?;
        self.answer(id).await
    }

    /// Sends what is unsent. Cancel safe: what has been sent is known.
    async fn send(&mut self) -> io::Result<()> {
        while !self.unsent.is_empty() {
            let sent = self.stream.write(&self.unsent).await?;
            if sent == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            self.unsent.drain(..sent);
        }
        Ok(())
    }

    fn question(&mut self, command: &str, arguments: &Value) -> (u64, String) {
        let id = self.next_id;
        self.next_id += 1;
        (id, json!({"execute": command, "arguments": arguments, "id": id}).to_string() + "\n")
    }

    async fn answer(&mut self, id: u64) -> Result<Value, QmpError> {
        loop {
            let line = self.line().await?;
            self.keep_event(&line);
            match line {
                Line { id: Some(other), .. } if other != id => {}
                Line { error: Some(refusal), .. } => {
                    return Err(QmpError::Refused(hostd_core::text::clean(&refusal.desc, 1024)));
                }
                Line { answer: Some(answer), .. } => return Ok(answer),
                _ => {}
            }
        }
    }

    fn keep_event(&mut self, line: &Line) {
        if let Some(name) = &line.event {
            let event = event(name, line.data.as_ref().unwrap_or(&Value::Null));
            if event != Event::Other && self.events.len() < EVENTS {
                self.events.push_back(event);
            }
        }
    }

    /// Reads the next line. Cancel safe: what has been read is kept.
    async fn line(&mut self) -> io::Result<Line> {
        loop {
            if let Some(end) = self.unread.iter().position(|&b| b == b'\n') {
                let line: Vec<u8> = self.unread.drain(..=end).collect();
                return serde_json::from_slice(&line).map_err(|error| invalid(&error.to_string()));
            }
            if self.unread.len() > LINE {
                return Err(invalid("a line is too long"));
            }
            if self.stream.read_buf(&mut self.unread).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

impl Qmp<UnixStream> {
    /// Gives QEMU an open file under this name (`getfd`). Not cancel safe: after a cancel or [`QmpError::Io`] the
    /// connection is of no more use.
    pub(super) async fn give(&mut self, name: &str, file: BorrowedFd<'_>, within: Duration) -> Result<(), QmpError> {
        timeout(within, self.send()).await.map_err(|_| late("getfd"))??;
        let (id, line) = self.question("getfd", &json!({"fdname": name}));
        let send = self.stream.async_io(Interest::WRITABLE, || send(self.stream.as_fd(), line.as_bytes(), file));
        let sent = timeout(within, send).await.map_err(|_| late("getfd"))??;
        // What did not fit goes without the file, which went with the first byte.
        let rest = line.as_bytes().get(sent..).unwrap_or_default();
        let exchange = async {
            self.stream.write_all(rest).await?;
            self.answer(id).await
        };
        timeout(within, exchange).await.map_err(|_| late("getfd"))?.map(drop)
    }
}

/// Sends bytes, and a descriptor beside them; returns how many bytes were sent.
fn send(to: BorrowedFd<'_>, bytes: &[u8], file: BorrowedFd<'_>) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut beside = SendAncillaryBuffer::new(&mut space);
    let files = [file];
    beside.push(SendAncillaryMessage::ScmRights(&files));
    Ok(sendmsg(to, &[IoSlice::new(bytes)], &mut beside, SendFlags::NOSIGNAL)?)
}

fn event(name: &str, data: &Value) -> Event {
    let text = |key: &str| data.get(key).and_then(Value::as_str).unwrap_or_default();
    match name {
        "SHUTDOWN" => Event::Shutdown {
            guest: data.get("guest").and_then(Value::as_bool).unwrap_or(false),
            reset: matches!(text("reason"), "guest-reset" | "guest-panic"),
        },
        "BLOCK_IO_ERROR" if text("action") == "stop" => {
            let reason = hostd_core::text::clean(text("reason"), 256);
            Event::DiskStopped { reason: if reason.is_empty() { "an input/output error".into() } else { reason } }
        }
        "STOP" => Event::Stopped,
        _ => Event::Other,
    }
}

fn late(command: &str) -> QmpError {
    io::Error::new(io::ErrorKind::TimedOut, format!("QEMU did not answer {command} in time")).into()
}

fn invalid(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("QEMU's control socket: {why}"))
}

#[cfg(test)]
#[path = "qmp_tests.rs"]
pub(super) mod tests;
