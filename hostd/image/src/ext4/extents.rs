//! Which blocks a file has, as its inode says it.

use super::{
    blocks::Blocks,
    layout::Layout,
    runs::{Run, write_runs},
};
use crate::{BLOCK, error::ImageError, sparse::Piece};

const MAGIC: u16 = 0xf30a;
/// Extents in an inode.
const INLINE: usize = 4;
/// Extents in a block.
const IN_BLOCK: usize = 340;
/// Most pieces of a file that are kept apart; of one with more, the holes are filled.
const PIECES_MAX: usize = 1000;

/// Extents of a file.
pub(super) struct Extents {
    /// The inode's 60 bytes for them.
    pub(super) root: [u8; 60],
    /// Blocks that were taken for more of them.
    pub(super) extra: u64,
}

impl Extents {
    /// The pieces of a file of this size that have blocks, in whole blocks.
    pub(super) fn pieces(size: u64, pieces: Option<&[Piece]>) -> Vec<Piece> {
        let whole = vec![(0, size.next_multiple_of(BLOCK))];
        let mut merged: Vec<Piece> = vec![];
        match pieces {
            None if size == 0 => return vec![],
            None => return whole,
            Some(pieces) => {
                for (offset, length) in pieces {
                    let (start, end) = (offset / BLOCK * BLOCK, (offset + length).next_multiple_of(BLOCK));
                    match merged.last_mut().filter(|last| last.0 + last.1 >= start) {
                        Some(last) => last.1 = end - last.0,
                        None => merged.push((start, end - start)),
                    }
                }
            }
        }
        if merged.len() > PIECES_MAX { whole } else { merged }
    }

    /// Says which runs hold which pieces; returns runs that are cut where pieces are, beside the extents. What is too much for
    /// the inode goes into blocks of its own.
    pub(super) fn of(
        image_blocks: &mut Blocks<'_>,
        layout: &mut Layout,
        pieces: &[Piece],
        runs: Vec<Run>,
    ) -> Result<(Self, Vec<Run>), ImageError> {
        let cut = cut(pieces, runs);
        let entries: Vec<[u8; 12]> = cut.iter().map(|(logical, run)| entry(*logical, *run)).collect();
        let runs = cut.into_iter().map(|(_, run)| run).collect();
        let mut root = [0; 60];
        if entries.len() <= INLINE {
            fill(&mut root, &entries, INLINE, 0);
            return Ok((Self { root, extra: 0 }, runs));
        }
        let mut indexes = vec![];
        for entries in entries.chunks(IN_BLOCK) {
            let taken = image_blocks.take(layout, 1)?;
            let mut block = vec![0; BLOCK as usize];
            fill(&mut block, entries, IN_BLOCK, 0);
            write_runs(image_blocks.image(), &taken, &block)?;
            let logical = u32::from_le_bytes([0, 1, 2, 3].map(|at| entries[0][at]));
            indexes.push(index(logical, taken[0].start));
        }
        if indexes.len() > INLINE {
            return Err(ImageError::Full("one of its files has too many pieces".into()));
        }
        fill(&mut root, &indexes, INLINE, 1);
        Ok((Self { root, extra: indexes.len() as u64 }, runs))
    }
}

/// Lays pieces onto runs: each part with the number of its first block in the file.
fn cut(pieces: &[Piece], runs: Vec<Run>) -> Vec<(u64, Run)> {
    let mut parts = vec![];
    let mut runs = runs.into_iter();
    let mut left: Option<Run> = None;
    for (offset, length) in pieces {
        let (mut logical, mut count) = (offset / BLOCK, length / BLOCK);
        while count > 0 {
            let Some(run) = left.take().or_else(|| runs.next()) else { return parts };
            let taken = run.count.min(count);
            parts.push((logical, Run { start: run.start, count: taken }));
            if taken < run.count {
                left = Some(Run { start: run.start + taken, count: run.count - taken });
            }
            (logical, count) = (logical + taken, count - taken);
        }
    }
    parts
}

/// Header and entries.
fn fill(bytes: &mut [u8], entries: &[[u8; 12]], most: usize, depth: u16) {
    let half = |number: usize| u16::try_from(number).unwrap_or(0).to_le_bytes();
    bytes[0..2].copy_from_slice(&MAGIC.to_le_bytes());
    bytes[2..4].copy_from_slice(&half(entries.len()));
    bytes[4..6].copy_from_slice(&half(most));
    bytes[6..8].copy_from_slice(&depth.to_le_bytes());
    for (entry, place) in entries.iter().zip(bytes[12..].chunks_exact_mut(12)) {
        place.copy_from_slice(entry);
    }
}

fn entry(logical: u64, run: Run) -> [u8; 12] {
    let mut bytes = [0; 12];
    bytes[0..4].copy_from_slice(&logical.to_le_bytes()[..4]);
    bytes[4..6].copy_from_slice(&run.count.to_le_bytes()[..2]);
    bytes[6..8].copy_from_slice(&run.start.to_le_bytes()[4..6]);
    bytes[8..12].copy_from_slice(&run.start.to_le_bytes()[..4]);
    bytes
}

fn index(logical: u32, block: u64) -> [u8; 12] {
    let mut bytes = [0; 12];
    bytes[0..4].copy_from_slice(&logical.to_le_bytes());
    bytes[4..8].copy_from_slice(&block.to_le_bytes()[..4]);
    bytes[8..10].copy_from_slice(&block.to_le_bytes()[4..6]);
    bytes
}
