//! The agent: one program on a terminal, its output kept in a ring, started at most once.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use pilothouse_proto::{
    guest::v1::{AgentState, Exit},
    link::CHUNK,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    process::Child,
    sync::{mpsc, oneshot, watch},
    time::{Instant, sleep_until},
};

use crate::{
    identity_file::IdentityFile,
    process::{self, LEFT_MAX, LaunchError, Pty, SILENCE, Started, Streams, Window},
    ring::Ring,
};

/// Most bytes of output that are kept: `TERMINAL_RING` of the contract.
pub const TERMINAL_RING: usize = 1 << 20;
/// Most pieces of input that may wait for the terminal.
const INPUT_QUEUE: usize = 4;
/// Most bytes read from the terminal at a time.
const PIECE: usize = 16 << 10;

/// A part of the agent's output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Bytes of output from this offset on.
    Bytes(u64, Bytes),
    /// There is no more output yet.
    Pending,
    /// The agent has ended, and there is no output from this offset on.
    End(u64),
}

/// The agent, or the place for it. Clones share it.
#[derive(Clone, Debug)]
pub struct Agent(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    ring: Mutex<Ring>,
    /// Told of all output and of the agent's end.
    news: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct State {
    running: Option<Running>,
    /// Context of the agent and, as a default, of commands that are run beside it.
    context: Option<Context>,
    pid: u32,
    exit: Option<Exit>,
}

#[derive(Clone, Debug)]
struct Running {
    input: mpsc::Sender<Piece>,
    pty: Pty,
    since: Instant,
}

/// Input for the terminal.
#[derive(Debug)]
struct Piece {
    bytes: Bytes,
    /// Told when the input is written.
    written: Option<oneshot::Sender<()>>,
}

/// Environment, directory and user that the agent was started with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Context {
    /// Variables that were asked for, without those that every program gets.
    pub environment: HashMap<String, String>,
    /// Absolute path of the directory.
    pub directory: String,
    /// Name of the user that the agent runs as; empty: root.
    pub user: String,
    /// Whether the agent began anew, since the conversation was not there that it was to go on with.
    pub anew: bool,
}

impl Default for Agent {
    fn default() -> Self {
        let ring = Mutex::new(Ring::new(TERMINAL_RING));
        Self(Arc::new(Shared { state: Mutex::default(), ring, news: watch::Sender::new(()) }))
    }
}

impl Agent {
    /// Starts the agent by `start`, unless it was started before. `ended` is called once, when the agent and its output are
    /// over.
    ///
    /// # Errors
    /// As of `start`; then it counts as not started.
    pub fn start(
        &self,
        context: Context,
        start: impl FnOnce() -> Result<Started, LaunchError>,
        ended: impl FnOnce(Exit) + Send + 'static,
    ) -> Result<AgentState, LaunchError> {
        let mut state = self.state();
        if state.context.is_none() {
            let Started { child, pid, streams } = start()?;
            let Streams::Terminal(pty) = streams else {
                return Err(LaunchError::new(126, "an agent needs a terminal"));
            };
            let (input, pieces) = mpsc::channel(INPUT_QUEUE);
            tokio::spawn(type_in(pieces, pty.clone()));
            tokio::spawn(self.clone().run(child, pty.clone(), ended));
            *state = State {
                running: Some(Running { input, pty, since: Instant::now() }),
                context: Some(context),
                pid,
                exit: None,
            };
        }
        drop(state);
        Ok(self.proto())
    }

    /// State of the agent, as the contract has it.
    #[must_use]
    pub fn proto(&self) -> AgentState {
        let state = self.state();
        AgentState { started: state.context.is_some(), pid: state.pid, exit: state.exit }
    }

    /// Gives the commands that are run beside the agent from now on the names of this session. The agent keeps its own.
    pub fn rename(&self, identity: &IdentityFile) {
        if let Some(context) = &mut self.state().context {
            identity.rename(&mut context.environment);
        }
    }

    /// Context of the agent; None before it was started.
    #[must_use]
    pub fn context(&self) -> Option<Context> {
        self.state().context.clone()
    }

    /// Offsets of the agent's output that is kept: of its oldest byte, and of the next to be written.
    #[must_use]
    pub fn offsets(&self) -> (u64, u64) {
        let ring = self.ring();
        (ring.start(), ring.end())
    }

    /// The agent's output from `offset` on, at most `max` bytes.
    #[must_use]
    pub fn output(&self, offset: u64, max: usize) -> Output {
        // First whether it has ended: what is in the ring then is all of it.
        let ended = self.state().exit.is_some();
        let ring = self.ring();
        match ring.read(offset, max) {
            Some((offset, bytes)) => Output::Bytes(offset, bytes),
            None if ended => Output::End(ring.end()),
            None => Output::Pending,
        }
    }

    /// Changes with all output and with the agent's end.
    #[must_use]
    pub fn news(&self) -> watch::Receiver<()> {
        self.0.news.subscribe()
    }

    /// Types the next piece of what waits, as soon as the terminal takes it. Dropped if there is no agent (any more). Cancel
    /// safe.
    pub async fn input(&self, waiting: &mut BytesMut) {
        let running = self.state().running.clone();
        let Some(running) = running else { return waiting.clear() };
        match running.input.reserve().await {
            Ok(place) => {
                place.send(Piece { bytes: waiting.split_to(waiting.len().min(CHUNK)).freeze(), written: None })
            }
            Err(_) => waiting.clear(),
        }
    }

    /// Types these bytes, as soon as the terminal takes them. False: there is no agent (any more).
    pub(crate) async fn type_piece(&self, bytes: Bytes) -> bool {
        let Some(running) = self.state().running.clone() else { return false };
        let (written, done) = oneshot::channel();
        running.input.send(Piece { bytes, written: Some(written) }).await.is_ok() && done.await.is_ok()
    }

    /// Number of typed bytes that the agent has not read. None: there is no agent (any more).
    pub(crate) fn unread(&self) -> Option<u64> {
        self.state().running.as_ref()?.pty.unread().ok()
    }

    /// The agent's terminal, and how long ago the agent was started. None: there is no agent (any more).
    pub(crate) fn terminal(&self) -> Option<(Pty, Duration)> {
        self.state().running.as_ref().map(|running| (running.pty.clone(), running.since.elapsed()))
    }

    /// The last bytes of the agent's output, at most `max`.
    pub(crate) fn tail(&self, max: u64) -> Bytes {
        let ring = self.ring();
        ring.read(ring.end().saturating_sub(max), TERMINAL_RING).map(|(_, bytes)| bytes).unwrap_or_default()
    }

    /// Whether the agent's terminal gives it whole lines, so that it never sees a part of one.
    pub(crate) fn reads_lines(&self) -> bool {
        self.state().running.as_ref().is_some_and(|running| running.pty.reads_lines().unwrap_or(false))
    }

    /// Takes back what was typed, if all that is not read is exactly this.
    pub(crate) fn take_back(&self, typed: &[u8]) -> bool {
        self.state().running.as_ref().is_some_and(|running| running.pty.take_back(typed).unwrap_or(false))
    }

    /// Sets the size of the agent's terminal, if there is one.
    pub fn resize(&self, window: Window) {
        if let Some(running) = &self.state().running {
            // Fails only when the terminal is gone.
            let _ = running.pty.resize(window);
        }
    }

    /// Keeps the agent's output until it has ended and its terminal is closed or silent; then closes the terminal.
    async fn run(self, mut child: Child, mut pty: Pty, ended: impl FnOnce(Exit)) {
        let mut piece = vec![0; PIECE];
        let (mut exit, mut left, mut open) = (None, LEFT_MAX, true);
        while exit.is_none() || (open && left > 0) {
            let silence = sleep_until(Instant::now() + SILENCE);
            tokio::select! {
                biased;
                read = pty.read(&mut piece), if open => match read {
                    Ok(n @ 1..) => {
                        self.ring().push(&piece[..n]);
                        self.0.news.send_replace(());
                        left = if exit.is_some() { left.saturating_sub(n) } else { left };
                    }
                    Ok(0) | Err(_) => open = false,
                },
                status = child.wait(), if exit.is_none() => {
                    exit = Some(status.map_or(Exit { code: -1, signal: 0 }, process::exit));
                }
                () = silence, if exit.is_some() => open = false,
            }
        }
        let exit = exit.unwrap_or_default();
        {
            let mut state = self.state();
            (state.running, state.pid, state.exit) = (None, 0, Some(exit));
        }
        self.0.news.send_replace(());
        ended(exit);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.0.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes input to the terminal until nobody can type any more.
async fn type_in(mut pieces: mpsc::Receiver<Piece>, mut pty: Pty) {
    while let Some(Piece { bytes, written }) = pieces.recv().await {
        if pty.write_all(&bytes).await.is_err() {
            return;
        }
        if let Some(written) = written {
            let _ = written.send(());
        }
    }
}
