//! Where the contents of a file go.

use std::{fs::File, os::unix::fs::FileExt as _};

use super::{extents::Extents, runs::Run};
use crate::{BLOCK, error::ImageError, sparse::Piece};

/// Takes a file's contents in order. Blocks of nothing but zeros are not written: the image has holes there already.
pub(crate) struct Target<'a> {
    image: &'a File,
    /// Parts of the file that have blocks: where they begin in the file, how long they are, and where they lie in the image.
    places: Vec<(u64, u64, u64)>,
    /// Pieces of the file's data that are still to come, the next one last.
    pieces: Vec<Piece>,
}

impl<'a> Target<'a> {
    pub(super) fn new(image: &'a File, runs: &[Run], pieces: Option<&[Piece]>, size: u64) -> Self {
        let mut runs = runs.iter();
        let mut places = vec![];
        for (offset, length) in Extents::pieces(size, pieces) {
            let mut at = 0;
            while at < length {
                let Some(run) = runs.next() else { break };
                places.push((offset + at, run.count * BLOCK, run.start * BLOCK));
                at += run.count * BLOCK;
            }
        }
        let mut pieces = pieces.map_or_else(|| vec![(0, size)], <[_]>::to_vec);
        pieces.reverse();
        Self { image, places, pieces }
    }

    /// Writes the next bytes of the file's data.
    pub(crate) fn put(&mut self, mut bytes: &[u8]) -> Result<(), ImageError> {
        while !bytes.is_empty() {
            let Some((offset, length)) = self.pieces.pop() else { return Ok(()) };
            let most = usize::try_from(length).unwrap_or(usize::MAX).min(bytes.len());
            if most == 0 {
                continue;
            }
            self.write(&bytes[..most], offset)?;
            bytes = &bytes[most..];
            if (most as u64) < length {
                self.pieces.push((offset + most as u64, length - most as u64));
            }
        }
        Ok(())
    }

    fn write(&self, mut bytes: &[u8], mut offset: u64) -> Result<(), ImageError> {
        while !bytes.is_empty() {
            // The last part that begins at or before it.
            let next = self.places.partition_point(|(start, ..)| *start <= offset);
            let Some((start, length, at)) = next.checked_sub(1).and_then(|place| self.places.get(place)) else {
                return Ok(());
            };
            let inner = offset - start;
            let Some(room) = length.checked_sub(inner).filter(|room| *room > 0) else { return Ok(()) };
            let most = usize::try_from(room).unwrap_or(usize::MAX).min(bytes.len());
            // Up to the end of a block, so that each is looked at for itself.
            for (index, part) in cut(&bytes[..most], inner) {
                if part.iter().any(|byte| *byte != 0) {
                    self.image.write_all_at(part, at + index).map_err(ImageError::io("the image"))?;
                }
            }
            bytes = &bytes[most..];
            offset += most as u64;
        }
        Ok(())
    }
}

/// Cuts bytes that begin so far behind a block's begin: at stretches of zeros alone, in steps of 64 KiB.
fn cut(bytes: &[u8], from: u64) -> impl Iterator<Item = (u64, &[u8])> {
    const STEP: usize = 64 << 10;
    let first = STEP - usize::try_from(from % STEP as u64).unwrap_or(0);
    let (head, tail) = bytes.split_at(first.min(bytes.len()));
    let mut at = from;
    std::iter::once(head).chain(tail.chunks(STEP)).map(move |part| {
        let here = at;
        at += part.len() as u64;
        (here, part)
    })
}
