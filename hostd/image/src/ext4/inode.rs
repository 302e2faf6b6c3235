//! An inode, as it lies in its table.

use std::{fs::File, os::unix::fs::FileExt as _};

use super::{
    blocks::Blocks,
    extents::Extents,
    layout::{INODE_BYTES, Layout},
    runs::Run,
};
use crate::{
    BLOCK,
    error::ImageError,
    sparse::Piece,
    tree::{Body, Node},
};

/// Flag of an inode whose blocks are said in extents.
const EXTENTS: u32 = 0x8_0000;
/// Bytes of an inode that are beyond the first 128 and mean something.
const EXTRA: u16 = 32;

/// What an inode says.
#[derive(Clone, Debug)]
pub(super) struct Inode {
    mode: u16,
    uid: u32,
    gid: u32,
    modified: (i64, u32),
    pub(super) size: u64,
    pub(super) links: u16,
    /// Sectors of 512 bytes.
    sectors: u64,
    flags: u32,
    body: [u8; 60],
    attributes: u64,
}

impl Inode {
    pub(super) fn of(node: &Node) -> Self {
        let mut body = [0; 60];
        let (kind, mut size) = match &node.body {
            Body::Folder(_) => (0o040_000, 0),
            Body::File { .. } => (0o100_000, 0),
            Body::Symlink(target) => (0o120_000, target.len() as u64),
            Body::CharDevice(..) => (0o020_000, 0),
            Body::BlockDevice(..) => (0o060_000, 0),
            Body::Fifo => (0o010_000, 0),
        };
        match &node.body {
            Body::Symlink(target) if target.len() < body.len() => body[..target.len()].copy_from_slice(target),
            Body::CharDevice(major, minor) | Body::BlockDevice(major, minor) => {
                body[..8].copy_from_slice(&device(*major, *minor));
                size = 0;
            }
            _ => {}
        }
        // A link's rights are everybody's, whatever its archive says.
        let mode = if matches!(node.body, Body::Symlink(_)) { 0o777 } else { node.meta.mode };
        Self {
            mode: kind | mode,
            uid: node.meta.uid,
            gid: node.meta.gid,
            modified: node.meta.modified,
            size,
            links: u16::try_from(node.names).unwrap_or(u16::MAX),
            sectors: 0,
            flags: 0,
            body,
            attributes: 0,
        }
    }

    /// Says which blocks it has; returns them in the order of the file's pieces.
    pub(super) fn extents(
        &mut self,
        blocks: &mut Blocks<'_>,
        layout: &mut Layout,
        pieces: &[Piece],
        runs: Vec<Run>,
    ) -> Result<Vec<Run>, ImageError> {
        let (extents, runs) = Extents::of(blocks, layout, pieces, runs)?;
        let count: u64 = runs.iter().map(|run| run.count).sum();
        self.sectors += (count + extents.extra) * (BLOCK / 512);
        self.flags |= EXTENTS;
        self.body = extents.root;
        Ok(runs)
    }

    /// Says in which block its attributes are.
    pub(super) fn attributes(&mut self, block: u64) {
        self.attributes = block;
        self.sectors += BLOCK / 512;
    }

    pub(super) fn bytes(&self) -> [u8; 256] {
        let mut bytes = [0; 256];
        let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
        let (uid, gid) = (self.uid.to_le_bytes(), self.gid.to_le_bytes());
        let (size, sectors, attributes) =
            (self.size.to_le_bytes(), self.sectors.to_le_bytes(), self.attributes.to_le_bytes());
        put(0, &self.mode.to_le_bytes());
        put(2, &uid[..2]);
        put(120, &uid[2..]);
        put(24, &gid[..2]);
        put(122, &gid[2..]);
        put(4, &size[..4]);
        put(108, &size[4..]);
        put(26, &self.links.to_le_bytes());
        put(28, &sectors[..4]);
        put(116, &sectors[4..6]);
        put(32, &self.flags.to_le_bytes());
        put(40, &self.body);
        put(104, &attributes[..4]);
        put(118, &attributes[4..6]);
        put(128, &EXTRA.to_le_bytes());
        let (low, extra) = time(self.modified);
        // Read, changed, written; when it was made.
        for (at, extra_at) in [(8, 140), (12, 132), (16, 136), (144, 148)] {
            put(at, &low);
            put(extra_at, &extra);
        }
        bytes
    }
}

/// Writes inodes, which are in the order of their numbers.
pub(super) fn write_all(layout: &Layout, image: &File, inodes: &[(u32, Inode)]) -> Result<(), ImageError> {
    let mut rest = inodes;
    while let Some((first, _)) = rest.first() {
        // Those that follow each other in one group's table, as one piece.
        let group = (first - 1) / layout.inodes_per_group;
        let follows = |(at, (number, _)): &(usize, &(u32, Inode))| {
            u32::try_from(*at).is_ok_and(|at| *number == first + at) && (number - 1) / layout.inodes_per_group == group
        };
        let count = rest.iter().enumerate().take_while(follows).count();
        let bytes: Vec<u8> = rest[..count].iter().flat_map(|(_, inode)| inode.bytes()).collect();
        let index = u64::from((first - 1) % layout.inodes_per_group);
        let at = layout.inode_table(group) * BLOCK + index * INODE_BYTES;
        image.write_all_at(&bytes, at).map_err(ImageError::io("the image"))?;
        rest = &rest[count..];
    }
    Ok(())
}

/// A time as the lower 32 bits of its seconds, and two more of them with the nanoseconds. From 1901 to 2446.
fn time((seconds, nanos): (i64, u32)) -> ([u8; 4], [u8; 4]) {
    let seconds = seconds.clamp(-(1 << 31), (1 << 34) - (1 << 31) - 1);
    let low = seconds.to_le_bytes();
    let low = [low[0], low[1], low[2], low[3]];
    let epoch = (seconds - i64::from(i32::from_le_bytes(low))) >> 32;
    let epoch = u32::try_from(epoch & 3).unwrap_or(0);
    (low, (nanos.min(999_999_999) << 2 | epoch).to_le_bytes())
}

/// A device's number, in the old form where it fits, else in the new one behind it.
fn device(major: u32, minor: u32) -> [u8; 8] {
    let mut bytes = [0; 8];
    if major < 256 && minor < 256 {
        bytes[..4].copy_from_slice(&(major << 8 | minor).to_le_bytes());
    } else {
        let new = (minor & 0xff) | (major & 0xfff) << 8 | (minor & 0xf_ff00) << 12;
        bytes[4..].copy_from_slice(&new.to_le_bytes());
    }
    bytes
}
