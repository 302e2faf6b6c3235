//! Which blocks are free: taken from the front on, group by group.

use std::{fs::File, os::unix::fs::FileExt as _};

use super::{layout::Layout, runs::Run};
use crate::{BLOCK, error::ImageError};

/// Hands out free blocks of a file system, from its first group on.
pub(super) struct Blocks<'a> {
    image: &'a File,
    group: u32,
    /// Blocks of the group: a bit is set where one is taken. Empty: it was not read yet.
    bitmap: Vec<u8>,
    /// The first block of the group that may be free.
    next: u32,
    taken: u32,
}

impl<'a> Blocks<'a> {
    pub(super) fn new(image: &'a File) -> Self {
        Self { image, group: 0, bitmap: vec![], next: 0, taken: 0 }
    }

    pub(super) fn image(&self) -> &'a File {
        self.image
    }

    /// Takes this many blocks, in as few runs as are free in a row.
    pub(super) fn take(&mut self, layout: &mut Layout, mut count: u64) -> Result<Vec<Run>, ImageError> {
        let mut runs = vec![];
        while count > 0 {
            if self.bitmap.is_empty() {
                self.load(layout)?;
            }
            match self.run(layout.blocks_per_group, count) {
                Some(run) => {
                    count -= run.count;
                    runs.push(run);
                }
                None => {
                    self.finish(layout)?;
                    self.group += 1;
                    if self.group >= layout.groups {
                        return Err(ImageError::Full("its files have more bytes than the disk".into()));
                    }
                }
            }
        }
        Ok(runs)
    }

    fn load(&mut self, layout: &Layout) -> Result<(), ImageError> {
        self.bitmap = vec![0; BLOCK as usize];
        let at = layout.block_bitmap(self.group) * BLOCK;
        self.image.read_exact_at(&mut self.bitmap, at).map_err(ImageError::io("the image"))?;
        (self.next, self.taken) = (0, 0);
        Ok(())
    }

    /// The next run of free blocks in the group, at most so many; None: there is none.
    fn run(&mut self, per_group: u32, most: u64) -> Option<Run> {
        let is_free = |bitmap: &[u8], bit: u32| bitmap[bit as usize / 8] & (1 << (bit % 8)) == 0;
        let first = (self.next..per_group).find(|bit| is_free(&self.bitmap, *bit));
        let Some(first) = first else {
            self.next = per_group;
            return None;
        };
        let most = u32::try_from(most).unwrap_or(u32::MAX);
        let end = first.saturating_add(most).min(per_group);
        let end = (first..end).find(|bit| !is_free(&self.bitmap, *bit)).unwrap_or(end);
        for bit in first..end {
            self.bitmap[bit as usize / 8] |= 1 << (bit % 8);
        }
        self.next = end;
        self.taken += end - first;
        let start = u64::from(self.group) * u64::from(per_group) + u64::from(first);
        Some(Run { start, count: u64::from(end - first) })
    }

    /// Writes what was taken of the group.
    pub(super) fn finish(&mut self, layout: &mut Layout) -> Result<(), ImageError> {
        if self.taken > 0 {
            let at = layout.block_bitmap(self.group) * BLOCK;
            self.image.write_all_at(&self.bitmap, at).map_err(ImageError::io("the image"))?;
            layout.take_blocks(self.group, self.taken);
        }
        self.bitmap.clear();
        self.taken = 0;
        Ok(())
    }
}
