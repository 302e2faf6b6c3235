//! What a run prints: its end is kept in memory while it runs, and read there by whoever follows it.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use tokio::sync::watch;

/// Most bytes of a log that are kept: what the forge keeps of one, less a line that says how much is left out.
const KEPT: usize = (4 << 20) - 128;
/// Largest piece that a reader gets, in bytes.
const PIECE: usize = 64 << 10;

/// Log of one run.
#[derive(Debug)]
pub struct Log {
    state: Mutex<State>,
    moved: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct State {
    bytes: VecDeque<u8>,
    /// Offset in the log of the oldest byte that is kept.
    first: u64,
    over: bool,
}

impl Log {
    pub(super) fn new() -> Self {
        Self { state: Mutex::default(), moved: watch::channel(()).0 }
    }

    pub(super) fn push(&self, bytes: &[u8]) {
        let mut state = self.lock();
        let fresh = &bytes[bytes.len().saturating_sub(KEPT)..];
        let over = (state.bytes.len() + fresh.len()).saturating_sub(KEPT);
        state.bytes.drain(..over);
        state.first += (over + bytes.len() - fresh.len()) as u64;
        state.bytes.extend(fresh);
        drop(state);
        self.moved.send_replace(());
    }

    /// Adds a line of hostd's own, on a line of its own.
    pub(super) fn note(&self, text: &str) {
        let begins = self.lock().bytes.back().is_none_or(|byte| *byte == b'\n');
        self.push(format!("{}pilothouse: {text}\n", if begins { "" } else { "\n" }).as_bytes());
    }

    /// Marks the log as ended: nothing more is added.
    pub(super) fn end(&self) {
        self.lock().over = true;
        self.moved.send_replace(());
    }

    /// All bytes that are kept, after a line that says how many are left out, if any are.
    pub(super) fn all(&self) -> Vec<u8> {
        let state = self.lock();
        let mut all = left_out(state.first);
        all.extend(&state.bytes);
        all
    }

    /// Last line of the log that is not blank; empty: there is none.
    pub(super) fn last_line(&self) -> String {
        let state = self.lock();
        let tail: Vec<u8> = state.bytes.range(state.bytes.len().saturating_sub(1000)..).copied().collect();
        drop(state);
        let text = String::from_utf8_lossy(&tail);
        text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default().trim().to_owned()
    }

    /// The bytes from `offset` on, at most one piece: empty where there are none yet. None: none are left, and none will come.
    fn piece(&self, offset: &mut u64) -> Option<Bytes> {
        let state = self.lock();
        let lost = state.first.saturating_sub(*offset);
        *offset += lost;
        let from = usize::try_from(*offset - state.first).unwrap_or(usize::MAX).min(state.bytes.len());
        let to = (from + PIECE).min(state.bytes.len());
        if from == to && state.over {
            return None;
        }
        *offset += (to - from) as u64;
        let mut piece = left_out(lost);
        piece.extend(state.bytes.range(from..to));
        Some(piece.into())
    }

    /// Waits for the next piece from `offset` on. None: the log has ended; without `follow`, also where there is no more yet.
    pub async fn next(&self, offset: &mut u64, follow: bool) -> Option<Bytes> {
        let mut moved = self.moved.subscribe();
        loop {
            moved.borrow_and_update();
            match self.piece(offset) {
                Some(piece) if piece.is_empty() && follow => moved.changed().await.ok()?,
                Some(piece) if piece.is_empty() => return None,
                piece => return piece,
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn left_out(bytes: u64) -> Vec<u8> {
    if bytes == 0 { vec![] } else { format!("pilothouse: {bytes} bytes are left out here\n").into_bytes() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_gigabyte_is_bounded_and_its_end_is_kept() {
        let log = Log::new();
        let piece = vec![b'x'; 1 << 20];
        for _ in 0..1024 {
            log.push(&piece);
        }
        log.push(b"\nthe end\n");
        let all = log.all();
        assert!(all.len() <= 4 << 20 && all.ends_with(b"\nthe end\n"), "{}", all.len());
        assert!(all.starts_with(b"pilothouse: 10695"), "{:?}", String::from_utf8_lossy(&all[..60]));
        assert!(log.lock().bytes.capacity() <= 16 << 20);
        assert_eq!(log.last_line(), "the end");
        log.push(&vec![b'y'; 9 << 20]);
        assert!(log.all().ends_with(b"yy") && log.all().len() <= 4 << 20);
    }

    #[tokio::test]
    async fn readers_follow_to_the_end() {
        let log = Log::new();
        let mut offset = 0;
        assert_eq!(log.next(&mut offset, false).await, None);
        log.push(b"one");
        assert_eq!(log.next(&mut offset, true).await.unwrap(), "one");
        let (mut late, read) = (offset, log.next(&mut offset, true));
        let write = async { log.push(b" two") };
        assert_eq!(tokio::join!(read, write).0.unwrap(), " two");
        log.end();
        assert_eq!(log.next(&mut late, true).await.unwrap(), " two");
        assert_eq!(log.next(&mut late, true).await, None);
        log.note("more");
        assert_eq!(String::from_utf8(log.all()).unwrap(), "one two\npilothouse: more\n");
    }
}
