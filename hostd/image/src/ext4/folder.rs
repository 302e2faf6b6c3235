//! The names in a folder, as they lie in its blocks.

use std::collections::BTreeMap;

use super::numbers::{LOST_AND_FOUND, ROOT_INODE};
use crate::{
    BLOCK,
    tree::{Body, Child, Tree},
};

/// Where in its first block a folder says who its parent is.
pub(super) const PARENT: u64 = 12;
/// Bytes of an entry before its name.
const HEADER: usize = 8;

/// Bytes of a folder's blocks. `parent` is 0 where it is not known yet.
pub(super) fn bytes(
    tree: &Tree,
    children: &BTreeMap<Box<[u8]>, Child>,
    number: u32,
    parent: u32,
    numbers: &[u32],
) -> Vec<u8> {
    let mut names = Names { bytes: vec![], last: 0 };
    names.add(b".", number, 2);
    names.add(b"..", parent, 2);
    if number == ROOT_INODE {
        names.add(LOST_AND_FOUND.0, LOST_AND_FOUND.1, 2);
    }
    for (name, child) in children {
        let kind = match tree.nodes[child.id].body {
            Body::File { .. } => 1,
            Body::Folder(_) => 2,
            Body::CharDevice(..) => 3,
            Body::BlockDevice(..) => 4,
            Body::Fifo => 5,
            Body::Symlink(_) => 7,
        };
        names.add(name, numbers[child.id], kind);
    }
    names.finish()
}

struct Names {
    bytes: Vec<u8>,
    /// Where the last entry begins: it reaches to the end of its block.
    last: usize,
}

impl Names {
    fn add(&mut self, name: &[u8], number: u32, kind: u8) {
        let block = BLOCK as usize;
        let length = (HEADER + name.len()).next_multiple_of(4);
        let used = self.bytes.len() % block;
        // Full blocks have no rest: the next entry begins another.
        if used != 0 && used + length > block {
            self.close();
        }
        self.last = self.bytes.len();
        self.bytes.extend(number.to_le_bytes());
        self.bytes.extend(u16::try_from(length).unwrap_or(0).to_le_bytes());
        self.bytes.extend([u8::try_from(name.len()).unwrap_or(0), kind]);
        self.bytes.extend(name);
        self.bytes.resize(self.last + length, 0);
    }

    /// Fills the block: its last entry reaches to the end.
    fn close(&mut self) {
        let end = self.bytes.len().next_multiple_of(BLOCK as usize);
        self.bytes.resize(end, 0);
        let length = u16::try_from(end - self.last).unwrap_or(0);
        self.bytes[self.last + 4..self.last + 6].copy_from_slice(&length.to_le_bytes());
    }

    fn finish(mut self) -> Vec<u8> {
        self.close();
        self.bytes
    }
}
