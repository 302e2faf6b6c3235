//! The agent's terminal.

use bytes::BytesMut;
use pilothouse_proto::{
    guest::v1::{TerminalRequest, TerminalResponse, terminal_request::Request},
    link::CHUNK,
};
use tokio::sync::watch;
use tonic::{Status, Streaming};

use super::{check, guest::Answers};
use crate::agent::{Agent, Output};

/// Input that may wait for the agent, in bytes; then no more is read of the stream, sizes included.
const WAITING_MAX: usize = 1 << 20;

/// Opens the agent's terminal: its output from the offset of the first message on, and a task for what is typed.
pub(super) async fn open(
    agent: Agent,
    mut requests: Streaming<TerminalRequest>,
) -> Result<Answers<TerminalResponse>, Status> {
    let first = requests.message().await?.and_then(|message| message.request);
    let Some(Request::Open(open)) = first else {
        return Err(Status::invalid_argument("a terminal begins with `open`"));
    };
    if agent.context().is_none() {
        return Err(Status::failed_precondition("the agent has not been started"));
    }
    // It ends with the call: then `requests` ends or fails.
    tokio::spawn(take(agent.clone(), requests));
    let follow = Follow { news: agent.news(), agent, offset: open.offset, over: false };
    Ok(Box::pin(futures::stream::unfold(follow, Follow::next)))
}

/// Input and sizes: a size does not wait for an agent that reads nothing. What is out of bounds ends this direction; a
/// well-behaved host sends no such thing.
async fn take(agent: Agent, mut requests: Streaming<TerminalRequest>) {
    let mut waiting = BytesMut::new();
    loop {
        tokio::select! {
            biased;
            message = requests.message(), if waiting.len() < WAITING_MAX => {
                match message.ok().flatten().and_then(|message| message.request) {
                    Some(Request::Input(bytes)) if check::chunk(&bytes).is_ok() => waiting.extend_from_slice(&bytes),
                    Some(Request::Resize(size)) if let Ok(window) = check::size(&size) => agent.resize(window),
                    _ => break,
                }
            }
            () = agent.input(&mut waiting), if !waiting.is_empty() => {}
        }
    }
    while !waiting.is_empty() {
        agent.input(&mut waiting).await;
    }
}

struct Follow {
    agent: Agent,
    news: watch::Receiver<()>,
    offset: u64,
    over: bool,
}

impl Follow {
    async fn next(mut self) -> Option<(Result<TerminalResponse, Status>, Self)> {
        if self.over {
            return None;
        }
        loop {
            self.news.borrow_and_update();
            match self.agent.output(self.offset, CHUNK) {
                Output::Bytes(offset, output) => {
                    self.offset = offset + output.len() as u64;
                    return Some((Ok(TerminalResponse { offset, output, end: false }), self));
                }
                Output::End(offset) => {
                    self.over = true;
                    return Some((Ok(TerminalResponse { offset, output: Default::default(), end: true }), self));
                }
                Output::Pending => self.news.changed().await.ok()?,
            }
        }
    }
}
