//! Superblock and group descriptors of a file system.

use std::{fs::File, os::unix::fs::FileExt as _};

use super::numbers::{FIRST_INODE, ROOT_INODE};
use crate::{BLOCK, error::ImageError};

/// Where the superblock is.
const SUPERBLOCK: u64 = 1024;
const MAGIC: u16 = 0xef53;
/// Features that must be there: extents, and file types in folders.
const NEEDED: u32 = 0x40 | 0x2;
/// Features that may be there beside: 64 bit numbers of blocks.
const ALLOWED: u32 = NEEDED | 0x80;
/// Features whose sums nobody here writes: of groups, and of all metadata.
const SUMS: u32 = 0x10 | 0x400;
/// Bytes of an inode.
pub(super) const INODE_BYTES: u64 = 256;

/// The groups of a file system, with what is free in them.
pub(super) struct Layout {
    superblock: Vec<u8>,
    descriptors: Vec<u8>,
    descriptor_size: usize,
    pub(super) groups: u32,
    pub(super) inodes: u32,
    pub(super) inodes_per_group: u32,
    pub(super) blocks_per_group: u32,
    /// Inodes taken, by group: all of them, and those of folders.
    taken: Vec<(u32, u32)>,
}

impl Layout {
    pub(super) fn read(image: &File) -> Result<Self, ImageError> {
        let mut superblock = vec![0; 1024];
        image.read_exact_at(&mut superblock, SUPERBLOCK).map_err(ImageError::io("the image"))?;
        let word = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|more| superblock[at + more]));
        let half = |at: usize| u16::from_le_bytes([superblock[at], superblock[at + 1]]);
        let other = |why: &str| ImageError::FileSystem(why.into());
        if half(56) != MAGIC || word(24) != 2 || u64::from(half(88)) != INODE_BYTES {
            return Err(other("it has other blocks or inodes"));
        }
        let (incompatible, compatible_to_read) = (word(96), word(100));
        if incompatible & NEEDED != NEEDED || incompatible & !ALLOWED != 0 || compatible_to_read & SUMS != 0 {
            return Err(other("it has other features"));
        }
        let descriptor_size = if incompatible & 0x80 == 0 { 32 } else { usize::from(half(254)) };
        let (blocks, per_group) = (u64::from(word(4)) | u64::from(word(336)) << 32, word(32));
        let first = u64::from(word(20));
        if per_group != 32_768 || first != 0 || ![32, 64].contains(&descriptor_size) || word(84) > FIRST_INODE {
            return Err(other("its groups are of another size"));
        }
        let groups = u32::try_from(blocks.div_ceil(u64::from(per_group))).map_err(|_| other("it is too large"))?;
        let mut descriptors = vec![0; groups as usize * descriptor_size];
        image.read_exact_at(&mut descriptors, BLOCK).map_err(ImageError::io("the image"))?;
        Ok(Self {
            descriptor_size,
            groups,
            inodes: word(0),
            inodes_per_group: word(40),
            blocks_per_group: per_group,
            taken: vec![(0, 0); groups as usize],
            superblock,
            descriptors,
        })
    }

    fn half(&self, group: u32, at: usize) -> u16 {
        let at = group as usize * self.descriptor_size + at;
        u16::from_le_bytes([self.descriptors[at], self.descriptors[at + 1]])
    }

    fn set_half(&mut self, group: u32, at: usize, value: u16) {
        let at = group as usize * self.descriptor_size + at;
        self.descriptors[at..at + 2].copy_from_slice(&value.to_le_bytes());
    }

    /// A number whose upper half is in the longer part of a descriptor.
    fn wide(&self, group: u32, low: usize, high: usize) -> u64 {
        let word = |at: usize| u64::from(self.half(group, at)) | u64::from(self.half(group, at + 2)) << 16;
        word(low) | if self.descriptor_size > 32 { word(high) << 32 } else { 0 }
    }

    pub(super) fn block_bitmap(&self, group: u32) -> u64 {
        self.wide(group, 0, 32)
    }

    fn inode_bitmap(&self, group: u32) -> u64 {
        self.wide(group, 4, 36)
    }

    /// Number of the first block of the table of inodes of this group.
    pub(super) fn inode_table(&self, group: u32) -> u64 {
        self.wide(group, 8, 40)
    }

    /// Counts blocks of a group as taken.
    pub(super) fn take_blocks(&mut self, group: u32, count: u32) {
        self.count_down(group, 12, 44, count);
        let free = self.free_blocks().saturating_sub(u64::from(count));
        let [a, b, c, d, e, f, g, h] = free.to_le_bytes();
        self.superblock[12..16].copy_from_slice(&[a, b, c, d]);
        self.superblock[344..348].copy_from_slice(&[e, f, g, h]);
    }

    pub(super) fn free_blocks(&self) -> u64 {
        let word = |at: usize| u64::from(u32::from_le_bytes([0, 1, 2, 3].map(|more| self.superblock[at + more])));
        word(12) | word(344) << 32
    }

    fn count_down(&mut self, group: u32, low: usize, high: usize, count: u32) {
        let wide = self.descriptor_size > 32;
        let old = u32::from(self.half(group, low)) | if wide { u32::from(self.half(group, high)) << 16 } else { 0 };
        let new = old.saturating_sub(count).to_le_bytes();
        self.set_half(group, low, u16::from_le_bytes([new[0], new[1]]));
        if wide {
            self.set_half(group, high, u16::from_le_bytes([new[2], new[3]]));
        }
    }

    /// Counts an inode as taken; the root's always was.
    pub(super) fn uses(&mut self, number: u32, folder: bool) {
        if number < FIRST_INODE {
            return;
        }
        let taken = &mut self.taken[((number - 1) / self.inodes_per_group) as usize];
        taken.0 += 1;
        taken.1 += u32::from(folder);
    }

    /// The block that mke2fs has given to the root: it stays the root's.
    pub(super) fn root_block(&self, image: &File) -> Result<u64, ImageError> {
        let mut inode = [0; INODE_BYTES as usize];
        let at = self.inode_table(0) * BLOCK + u64::from(ROOT_INODE - 1) * INODE_BYTES;
        image.read_exact_at(&mut inode, at).map_err(ImageError::io("the image"))?;
        let word = |at: usize| u64::from(u32::from_le_bytes([0, 1, 2, 3].map(|more| inode[at + more])));
        // In its first extent, or as its first block.
        let block = if inode[34] & 0x8 == 0 { word(40) } else { word(60) | (word(56) >> 16) << 32 };
        if block == 0 { Err(ImageError::FileSystem("its root has no block".into())) } else { Ok(block) }
    }

    /// Writes what is free: bitmaps of inodes, descriptors and superblock.
    pub(super) fn write(&mut self, image: &File) -> Result<(), ImageError> {
        let failed = || ImageError::io("the image");
        let mut total = 0;
        for group in 0..self.groups {
            let (count, folders) = self.taken[group as usize];
            if count == 0 {
                continue;
            }
            let mut bitmap = vec![0; BLOCK as usize];
            let at = self.inode_bitmap(group) * BLOCK;
            image.read_exact_at(&mut bitmap, at).map_err(failed())?;
            // Taken from the front on, behind those that mke2fs took.
            let first = if group == 0 { FIRST_INODE - 1 } else { 0 };
            for bit in first..first + count {
                bitmap[bit as usize / 8] |= 1 << (bit % 8);
            }
            image.write_all_at(&bitmap, at).map_err(failed())?;
            self.count_down(group, 14, 46, count);
            let used = self.half(group, 16).saturating_add(u16::try_from(folders).unwrap_or(u16::MAX));
            self.set_half(group, 16, used);
            total += count;
        }
        let free = u32::from_le_bytes([16, 17, 18, 19].map(|at| self.superblock[at])).saturating_sub(total);
        self.superblock[16..20].copy_from_slice(&free.to_le_bytes());
        image.write_all_at(&self.descriptors, BLOCK).map_err(failed())?;
        image.write_all_at(&self.superblock, SUPERBLOCK).map_err(failed())
    }
}
