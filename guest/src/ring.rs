//! The agent's output: the last bytes of an endless stream, by offset.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

/// Keeps the last `capacity` bytes of what is pushed.
#[derive(Debug)]
pub struct Ring {
    capacity: usize,
    bytes: VecDeque<u8>,
    start: u64,
}

impl Ring {
    /// Creates an empty ring at offset 0.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self { capacity, bytes: VecDeque::new(), start: 0 }
    }

    /// Offset of the oldest byte that is kept.
    #[must_use]
    pub fn start(&self) -> u64 {
        self.start
    }

    /// Offset of the next byte to be written.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }

    /// Adds bytes at the end; the oldest make room.
    pub fn push(&mut self, bytes: &[u8]) {
        let end = self.end() + bytes.len() as u64;
        let kept = &bytes[bytes.len().saturating_sub(self.capacity)..];
        let excess = (self.bytes.len() + kept.len()).saturating_sub(self.capacity);
        self.bytes.drain(..excess);
        self.bytes.extend(kept);
        self.start = end - self.bytes.len() as u64;
    }

    /// At most `max` bytes from `offset` on, or from the oldest offset kept if that is higher. None: there are none yet.
    #[must_use]
    pub fn read(&self, offset: u64, max: usize) -> Option<(u64, Bytes)> {
        let offset = offset.max(self.start);
        if offset >= self.end() {
            return None;
        }
        let from = usize::try_from(offset - self.start).ok()?;
        let to = self.bytes.len().min(from.saturating_add(max));
        let (first, second) = self.bytes.as_slices();
        let middle = first.len();
        let mut read = BytesMut::with_capacity(to - from);
        read.extend_from_slice(&first[from.min(middle)..to.min(middle)]);
        read.extend_from_slice(&second[from.saturating_sub(middle)..to.saturating_sub(middle)]);
        Some((offset, read.freeze()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn holds_the_end_of_the_stream(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..30)) {
            let mut ring = Ring::new(50);
            let mut all = Vec::new();
            for piece in pieces {
                ring.push(&piece);
                all.extend(piece);
                let start = all.len().saturating_sub(50);
                prop_assert_eq!(ring.start(), start as u64);
                prop_assert_eq!(ring.end(), all.len() as u64);
                match ring.read(0, usize::MAX) {
                    Some((offset, bytes)) => {
                        prop_assert_eq!(offset, start as u64);
                        prop_assert_eq!(&bytes[..], &all[start..]);
                    }
                    None => prop_assert!(all.is_empty()),
                }
            }
        }
    }

    #[test]
    fn reads_in_pieces_and_not_beyond_the_end() {
        let mut ring = Ring::new(8);
        ring.push(b"abcdef");
        assert_eq!(ring.read(2, 3), Some((2, Bytes::from_static(b"cde"))));
        assert_eq!(ring.read(6, 3), None);
        assert_eq!(ring.read(u64::MAX, 3), None);
        ring.push(&[b'x'; 100]);
        assert_eq!((ring.start(), ring.end()), (98, 106));
    }
}
