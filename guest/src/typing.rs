//! Messages that the host types for people: one after the other, each piece by itself, followed until the agent has read them.
//!
//! A program that reads text and Enter at once takes the Enter for a part of the text. So each piece is written only after the
//! one before was read: nobody knows how long that takes, since the program may be busy, stopped or on disk. Some programs take an
//! Enter that comes soon after they have dealt with a text for a part of it, too (gemini 0.61 within 40 ms of a paste, codex 0.171
//! within 120 ms of fast keys). So an Enter after a text is written once the program has drawn something since, and draws no more.
//! What is not read when the agent asks for a message by `session wait message` is taken from the terminal and answers that.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

use crate::{agent::Agent, waits::Waits};

mod begin;

/// Most messages that may wait for their turn; a host has one under way at a time.
const MESSAGES_MAX: usize = 64;
/// Most messages that are known to have been taken, so that none is typed twice; far more than a host has under way.
const TAKEN: usize = 1024;
/// Pause between two looks at whether a piece was read: the first, and the longest.
const LOOKS: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(250));
/// Pause after a piece was read and before the next: programs that watch for pastes take what comes at once for one.
const APART: Duration = Duration::from_millis(50);
/// Time without output after which a program that has read a text and drawn something is taken to be done with it.
const STILL: Duration = Duration::from_millis(200);
/// Begin of a paste in brackets.
const PASTE: &[u8] = b"\x1b[200~";
/// Most bytes of output that are looked at for what a program has asked of its terminal.
const WRITTEN: u64 = 64 << 10;
/// Longest wait for that: a program may draw nothing, or draw all the time.
const DRAWS: Duration = Duration::from_millis(1500);

/// A message that the host has typed.
#[derive(Clone, Debug, Default)]
pub struct Message {
    /// Id of the message, given by the host: a message is typed once. Not in order of arrival, since keys overtake messages.
    pub id: u64,
    /// Pieces of the message, each written once the one before was read.
    pub pieces: Vec<Bytes>,
    /// Text that may answer a wait for a message; empty: the message is for the terminal alone.
    pub text: String,
    /// Whether the message is typed at once, and not behind those that are not read yet.
    pub at_once: bool,
}

/// Fate of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The agent has not read the message yet.
    Pending,
    /// The agent has read the message.
    Read,
    /// The agent ended before it read the message.
    Lost,
}

/// Messages that are typed. Clones share them.
#[derive(Clone, Debug)]
pub struct Typing(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    agent: Agent,
    waits: Waits,
    state: Mutex<State>,
    /// Held by the message that is being typed.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    /// Ids of the messages that were taken, the newest last; at most [`TAKEN`].
    taken: VecDeque<u64>,
    open: VecDeque<(u64, watch::Sender<Fate>)>,
}

impl Typing {
    /// Creates a record in which no message was typed yet.
    #[must_use]
    pub fn new(agent: Agent, waits: Waits) -> Self {
        Self(Arc::new(Shared { agent, waits, state: Mutex::default(), turn: tokio::sync::Mutex::default() }))
    }

    /// Types a message in its turn; returns what becomes of it. Of one that was taken before, the same fate.
    ///
    /// # Errors
    /// A text for people, where too many wait.
    pub fn take(&self, message: Message) -> Result<watch::Receiver<Fate>, String> {
        let mut state = self.lock();
        if let Some((_, fate)) = state.open.iter().find(|(id, _)| *id == message.id) {
            return Ok(fate.subscribe());
        }
        if state.taken.contains(&message.id) {
            return Ok(watch::channel(Fate::Read).1);
        }
        if state.open.len() >= MESSAGES_MAX {
            return Err(format!("{MESSAGES_MAX} messages wait to be read already"));
        }
        let (fate, told) = watch::channel(Fate::Pending);
        if state.taken.len() == TAKEN {
            state.taken.pop_front();
        }
        state.taken.push_back(message.id);
        state.open.push_back((message.id, fate));
        tokio::spawn(self.clone().follow(message));
        Ok(told)
    }

    async fn follow(self, message: Message) {
        let turn = if message.at_once { None } else { Some(self.0.turn.lock().await) };
        let fate = self.hand_over(&message).await;
        drop(turn);
        let mut state = self.lock();
        let at = state.open.iter().position(|(id, _)| *id == message.id);
        if let Some((_, told)) = at.and_then(|at| state.open.remove(at)) {
            told.send_replace(fate);
        }
    }

    async fn hand_over(&self, message: &Message) -> Fate {
        loop {
            match self.type_pieces(message).await {
                Some(fate) => return fate,
                None if self.0.waits.give(&message.text) => return Fate::Read,
                // Whoever waited is gone: it is typed, from its beginning.
                None => {}
            }
        }
    }

    /// Types the message's pieces, one after the other. None: a wait asks for the message, nothing of it was read, and it is
    /// off the terminal again.
    async fn type_pieces(&self, message: &Message) -> Option<Fate> {
        let mut typed = Vec::new();
        if self.takes_back(message, &typed) {
            return None;
        }
        let pieces = if message.at_once { message.pieces.clone() } else { self.begins(message).await? };
        let mut left = pieces.len();
        for piece in &pieces {
            let mut output = self.0.agent.news();
            if !self.0.agent.type_piece(piece.clone()).await {
                return Some(Fate::Lost);
            }
            typed.extend_from_slice(piece);
            match self.reading(message, &typed).await? {
                Fate::Lost => return Some(Fate::Lost),
                Fate::Read | Fate::Pending => {}
            }
            left -= 1;
            if left > 0 {
                self.dealt_with(piece, &mut output).await;
            }
        }
        Some(Fate::Read)
    }

    /// Waits until a program that was just started is there to read the message; returns the message's pieces as that program wants
    /// them. None: as of [`Typing::type_pieces`].
    async fn begins(&self, message: &Message) -> Option<Vec<Bytes>> {
        let (mut begun, mut waited) = (self.0.waits.begun(), false);
        while let Some((pty, age)) = self.0.agent.terminal()
            && age < begin::YOUNG
            && !begin::reads(&pty)
        {
            waited = true;
            tokio::select! {
                () = sleep(APART) => {}
                Ok(()) = begun.changed() => {
                    if self.takes_back(message, &[]) {
                        return None;
                    }
                }
            }
        }
        let mut pieces = message.pieces.clone();
        if waited && !self.0.agent.reads_lines() {
            // It is setting its terminal up at this moment.
            self.draws(&mut self.0.agent.news()).await;
            let text = pieces.first_mut().filter(|piece| !message.text.is_empty() && is_text(piece));
            if let Some(text) = text.filter(|text| !text.starts_with(PASTE))
                && begin::wants_brackets(&self.0.agent.tail(WRITTEN))
            {
                *text = begin::bracketed(&message.text).into();
            }
        }
        Some(pieces)
    }

    /// Waits until the program may have dealt with what it has read. `output` changes with what it has drawn since before that.
    async fn dealt_with(&self, piece: &[u8], output: &mut watch::Receiver<()>) {
        if !is_text(piece) || self.0.agent.reads_lines() {
            return sleep(APART).await;
        }
        self.draws(output).await;
    }

    /// Waits until the program has drawn something and draws no more, or for [`DRAWS`].
    async fn draws(&self, output: &mut watch::Receiver<()>) {
        let draws = async {
            let mut drawn = output.changed().await;
            while drawn.is_ok() {
                match timeout(STILL, output.changed()).await {
                    Ok(more) => drawn = more,
                    Err(_still) => return,
                }
            }
        };
        let _ = timeout(DRAWS, draws).await;
    }

    /// Waits until the agent has read all that was typed of the message. None: as of [`Typing::type_pieces`].
    async fn reading(&self, message: &Message, typed: &[u8]) -> Option<Fate> {
        let mut begun = self.0.waits.begun();
        if self.takes_back(message, typed) {
            return None;
        }
        // Twice: between a program's reading and the terminal's taking more of what was written, it looks empty.
        let (mut pause, mut empty) = (LOOKS.0, 0);
        while empty < 2 {
            tokio::select! {
                () = sleep(pause) => {}
                Ok(()) = begun.changed() => {
                    if self.takes_back(message, typed) {
                        return None;
                    }
                }
            }
            match self.0.agent.unread() {
                None => return Some(Fate::Lost),
                Some(0) => empty += 1,
                Some(_) => (empty, pause) = (0, (pause * 2).min(LOOKS.1)),
            }
        }
        Some(Fate::Read)
    }

    /// Whether a wait asks for the message and nothing of it was read; then it is taken off the terminal.
    fn takes_back(&self, message: &Message, typed: &[u8]) -> bool {
        let asked = !message.text.is_empty() && self.0.waits.wants_message();
        asked && (typed.is_empty() || self.0.agent.take_back(typed))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a piece is a text, pasted or not, and no key.
fn is_text(piece: &[u8]) -> bool {
    piece.starts_with(PASTE) || piece.first().is_some_and(|byte| *byte >= 0x20 && *byte != 0x7f)
}
