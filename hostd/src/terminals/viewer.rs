use std::{collections::VecDeque, sync::Arc};

use bytes::{Bytes, BytesMut};
use tokio::sync::Notify;

use super::{Size, terminal::Inner};

/// Output that may wait for a viewer; beyond it, it gets a fresh screen.
pub(super) const QUEUE_BYTES: usize = 1 << 20;
/// Output in one piece.
pub(super) const PIECE: usize = 64 << 10;

/// What a viewer comes with.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    /// For the others.
    pub name: String,
    /// Never to become the writer.
    pub observe: bool,
    /// A look in passing: observes, and counts as nobody.
    pub preview: bool,
    /// Of its window; applied where it becomes the writer.
    pub size: Option<Size>,
    /// Rows of history wanted with each screen.
    pub history: usize,
    /// While it is the writer, its terminal gets the output as it comes, and answers queries.
    pub answers: bool,
}

/// What a viewer is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shown {
    /// First, after a lag and after a resize: replaces everything.
    Screen(Screen),
    /// More output.
    Output(Bytes),
    /// Who writes.
    Role(Role),
    /// Last: why there will be no more.
    Ended(String),
}

/// The terminal as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Screen {
    /// Of the terminal.
    pub size: Size,
    /// Draws it on an empty terminal of this size, history first.
    pub contents: Bytes,
    /// How many rows of history it draws.
    pub history: usize,
}

/// Who writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    /// This viewer does.
    pub writer: bool,
    /// Name of the one who does; empty: nobody.
    pub writer_name: String,
    /// How many look on, previews apart.
    pub viewers: usize,
}

/// What waits for a viewer; part of the terminal's state. Bounded by [`QUEUE_BYTES`].
pub(super) struct Waiting {
    pub(super) wish: Wish,
    pub(super) wake: Arc<Notify>,
    pub(super) screen_due: bool,
    pub(super) role_due: bool,
    output: VecDeque<Bytes>,
    queued: usize,
    /// Bytes ever queued.
    passed: u64,
    /// Answers that its terminal will give to output that it has not got yet: behind which byte that ends, and ours to it.
    owed: VecDeque<(u64, Vec<u8>)>,
}

impl Waiting {
    pub(super) fn new(wish: Wish, wake: Arc<Notify>) -> Self {
        let (output, owed) = (VecDeque::new(), VecDeque::new());
        Self { wish, wake, screen_due: true, role_due: true, output, queued: 0, passed: 0, owed }
    }

    /// Whether its terminal will answer what is queued now, if it is the writer's.
    pub(super) fn will_answer(&self) -> bool {
        self.wish.answers && !self.screen_due
    }

    pub(super) fn may_write(&self) -> bool {
        !self.wish.observe && !self.wish.preview
    }

    /// Queues output, with `answers` that are its terminal's to give. What comes back is for somebody else to answer.
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

    /// A fresh screen replaces all that waits. What comes back are the answers that its terminal will not give, then.
    pub(super) fn renew(&mut self) -> Vec<u8> {
        self.output.clear();
        self.queued = 0;
        self.screen_due = true;
        self.wake.notify_one();
        self.unanswered()
    }

    /// The answers to what it has not got.
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

/// Somebody who looks at a terminal, and writes to it where nobody else does. Dropping it leaves.
pub struct Viewer {
    pub(super) terminal: Arc<Inner>,
    pub(super) id: u64,
    pub(super) wake: Arc<Notify>,
}

impl Viewer {
    /// What is shown next; waits for it. Cancel safe.
    pub async fn next(&self) -> Shown {
        loop {
            if let Some(shown) = self.terminal.shown(self.id) {
                return shown;
            }
            self.wake.notified().await;
        }
    }

    /// Whether it is the writer.
    #[must_use]
    pub fn writes(&self) -> bool {
        self.terminal.writes(self.id)
    }

    /// Writes what waits, as soon as there is room for it. Where it is not the writer, or no agent reads, what waits is lost.
    /// Cancel safe.
    pub async fn write(&self, waiting: &mut BytesMut) {
        self.terminal.write(self.id, waiting).await;
    }

    /// Its window has this size now; applied if it is the writer.
    pub async fn resize(&self, size: Size) {
        self.terminal.resize(self.id, size).await;
    }

    /// Becomes the writer, unless it came to observe.
    pub async fn take(&self) {
        self.terminal.take(self.id).await;
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        self.terminal.leave(self.id);
    }
}
