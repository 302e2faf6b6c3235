use std::{collections::VecDeque, sync::Arc};

use bytes::{Bytes, BytesMut};
use tokio::sync::Notify;

use super::{size::Size, terminal::Inner};

/// Most bytes of output that may wait for a viewer; beyond, it gets a fresh screen.
pub(super) const QUEUE_BYTES: usize = 1 << 20;
/// Largest piece of output, in bytes.
pub(super) const PIECE: usize = 64 << 10;

/// What a viewer asks for when it attaches.
#[derive(Clone, Debug, Default)]
pub struct AttachOptions {
    /// Name of the viewer, as the others see it.
    pub name: String,
    /// Whether the viewer never becomes the writer.
    pub observe: bool,
    /// Whether the viewer only looks in passing: it observes, and is not counted.
    pub preview: bool,
    /// Size of the viewer's window; applied where the viewer becomes the writer.
    pub size: Option<Size>,
    /// Rows of history that are wanted with each screen.
    pub history: usize,
    /// Whether the viewer's terminal gets output as it comes and answers queries, while it is the writer.
    pub answers: bool,
}

/// What a viewer is shown next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shown {
    /// A screen that replaces everything: the first, and after a lag or a resize.
    Screen(Screen),
    /// Output since the last screen or output.
    Output(Bytes),
    /// Who writes, and how many look on.
    Role(Role),
    /// Why there will be no more; the last.
    Ended(String),
}

/// State of a terminal as bytes that draw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Screen {
    /// Size of the terminal.
    pub size: Size,
    /// Bytes that draw the terminal on an empty one of this size, history first.
    pub contents: Bytes,
    /// Number of rows of history that the bytes draw.
    pub history: usize,
}

/// Roles at a terminal, as one viewer is told them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    /// Whether this viewer is the writer.
    pub writer: bool,
    /// Name of the writer; empty: there is none.
    pub writer_name: String,
    /// Number of viewers, previews apart.
    pub viewers: usize,
}

/// What waits for a viewer; part of the terminal's state. Bounded by [`QUEUE_BYTES`].
pub(super) struct Waiting {
    pub(super) wish: AttachOptions,
    pub(super) wake: Arc<Notify>,
    pub(super) screen_due: bool,
    pub(super) role_due: bool,
    output: VecDeque<Bytes>,
    queued: usize,
    /// Bytes that were ever queued for the viewer.
    passed: u64,
    /// Answers that the viewer's terminal will give to output that it has not got yet: behind which byte that output ends, and
    /// hostd's answer to it.
    owed: VecDeque<(u64, Vec<u8>)>,
}

impl Waiting {
    pub(super) fn new(wish: AttachOptions, wake: Arc<Notify>) -> Self {
        let (output, owed) = (VecDeque::new(), VecDeque::new());
        Self { wish, wake, screen_due: true, role_due: true, output, queued: 0, passed: 0, owed }
    }

    /// Whether the viewer's terminal will answer what is queued now, if it is the writer's.
    pub(super) fn will_answer(&self) -> bool {
        self.wish.answers && !self.screen_due
    }

    pub(super) fn may_write(&self) -> bool {
        !self.wish.observe && !self.wish.preview
    }

    /// Queues output, with `answers` that are the viewer's terminal's to give. Returns those for somebody else to answer.
    pub(super) fn push(&mut self, bytes: &Bytes, answers: Vec<u8>) -> Vec<u8> {
        if self.screen_due {
            return answers;
        }
        if self.queued + bytes.len() > QUEUE_BYTES {
            let mut unanswered = self.renew();
            unanswered.extend_from_slice(&answers);
            return unanswered;
        }
        self.queued += bytes.len();
        self.passed += bytes.len() as u64;
        self.output.push_back(bytes.clone());
        if !answers.is_empty() {
            self.owed.push_back((self.passed, answers));
        }
        self.wake.notify_one();
        Vec::new()
    }

    /// Replaces all that waits by a fresh screen. Returns the answers that the viewer's terminal will not give, then.
    pub(super) fn renew(&mut self) -> Vec<u8> {
        self.output.clear();
        self.queued = 0;
        self.screen_due = true;
        self.wake.notify_one();
        self.unanswered()
    }

    /// The answers to output that the viewer has not got, which are forgotten here.
    pub(super) fn unanswered(&mut self) -> Vec<u8> {
        self.owed.drain(..).flat_map(|(_, answers)| answers).collect()
    }

    /// The next output, in pieces of at most [`PIECE`] that hold as much of what waits as they can.
    pub(super) fn pop(&mut self) -> Option<Bytes> {
        let mut first = self.output.pop_front()?;
        if first.len() > PIECE {
            let rest = first.split_off(PIECE);
            self.output.push_front(rest);
        } else if self.output.front().is_some_and(|next| first.len() + next.len() <= PIECE) {
            let mut piece = BytesMut::from(first);
            while self.output.front().is_some_and(|next| piece.len() + next.len() <= PIECE) {
                piece.extend_from_slice(&self.output.pop_front().unwrap_or_default());
            }
            first = piece.freeze();
        }
        self.queued -= first.len();
        let got = self.passed - self.queued as u64;
        // It is on its way to the terminal that answers.
        self.owed.retain(|(end, _)| *end > got);
        Some(first)
    }
}

/// A viewer of a terminal, who writes to it where nobody else does. Dropping it leaves.
pub struct Viewer {
    pub(super) terminal: Arc<Inner>,
    pub(super) id: u64,
    pub(super) wake: Arc<Notify>,
}

impl Viewer {
    /// Waits for what is shown next. Cancel safe.
    pub async fn next(&self) -> Shown {
        loop {
            if let Some(shown) = self.terminal.shown(self.id) {
                return shown;
            }
            self.wake.notified().await;
        }
    }

    /// Whether the viewer is the writer.
    #[must_use]
    pub fn writes(&self) -> bool {
        self.terminal.writes(self.id)
    }

    /// Writes what waits, as soon as there is room for it. Where the viewer is not the writer, or no agent reads, what waits is
    /// lost. Cancel safe.
    pub async fn write(&self, waiting: &mut BytesMut) {
        self.terminal.write(self.id, waiting).await;
    }

    /// Sets the size of the viewer's window; applied if the viewer is the writer.
    pub async fn resize(&self, size: Size) {
        self.terminal.resize(self.id, size).await;
    }

    /// Makes the viewer the writer, unless it came to observe.
    pub async fn take(&self) {
        self.terminal.take(self.id).await;
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        self.terminal.leave(self.id);
    }
}
