//! A tree, written into an empty ext4 file system that mke2fs has made: its journal, its groups and its spare superblocks stay as
//! they are; blocks and inodes are taken from the front on, none is ever given back.

mod attributes;
mod blocks;
mod extents;
mod folder;
mod inode;
mod layout;
mod numbers;
mod runs;
mod target;

use std::{fs::File, os::unix::fs::FileExt as _};

use crate::{
    BLOCK,
    error::ImageError,
    tree::{Body, Child, ROOT, Tree},
};
use blocks::Blocks;
use extents::Extents;
use inode::Inode;
use layout::Layout;
use numbers::{FIRST_INODE, ROOT_INODE};
use runs::{Run, write_runs};

pub(crate) use target::Target;

/// Most links of a folder that are counted.
const LINKS_MAX: usize = 65_000;

/// Bytes of a disk for which mke2fs makes an inode by itself.
const BYTES_PER_INODE: u64 = 16_384;
/// Most inodes in a group: its bitmap is one block.
const INODES_PER_GROUP: u64 = BLOCK * 8;

impl Tree {
    /// Options with which mke2fs makes a file system of this many bytes that the tree can be written into, besides those that
    /// say nothing of its form.
    #[must_use]
    pub fn mke2fs(&self, bytes: u64) -> Vec<String> {
        // As mke2fs does by itself, but for sums and groups that lie together: those are only in the way here.
        let features = "none,has_journal,ext_attr,filetype,extent,64bit,sparse_super,large_file,huge_file,dir_nlink,\
                        extra_isize,dir_index,resize_inode";
        let files = node_count(self) as u64;
        let groups = bytes.div_ceil(BLOCK * BLOCK * 8);
        let inodes = (bytes / BYTES_PER_INODE).max(files + files / 4 + 16_384).min(groups * INODES_PER_GROUP);
        let options = ["-t", "ext4", "-b", "4096", "-I", "256", "-O", features, "-N"];
        options.into_iter().map(str::to_owned).chain([inodes.to_string()]).collect()
    }
}

/// Where the files of a tree are in an image: all that is left is to write their contents.
pub(crate) struct Files<'a> {
    image: &'a File,
    /// Runs of blocks of each node.
    runs: Vec<Vec<Run>>,
}

impl<'a> Files<'a> {
    /// Gives each file of the tree an inode and blocks, and writes all but the contents of files.
    pub(crate) fn plan(tree: &Tree, image: &'a File) -> Result<Self, ImageError> {
        let mut layout = Layout::read(image)?;
        let numbers = numbers(tree, &layout)?;
        let mut blocks = Blocks::new(image);
        let mut runs = vec![vec![]; tree.nodes.len()];
        let mut inodes: Vec<(u32, Inode)> = vec![];
        for (id, node) in tree.nodes.iter().enumerate() {
            let number = numbers[id];
            if number == 0 {
                continue;
            }
            let mut inode = Inode::of(node);
            match &node.body {
                Body::Folder(children) => {
                    let parent = if id == ROOT { ROOT_INODE } else { 0 };
                    let bytes = folder::bytes(tree, children, number, parent, &numbers);
                    let mut count = bytes.len() as u64 / BLOCK;
                    let mut taken = vec![];
                    if id == ROOT {
                        taken.push(Run { start: layout.root_block(image)?, count: 1 });
                        count -= 1;
                    }
                    taken.extend(blocks.take(&mut layout, count)?);
                    write_runs(image, &taken, &bytes)?;
                    inode.links = links(tree, id, children.values());
                    inode.size = bytes.len() as u64;
                    inode.extents(&mut blocks, &mut layout, &[(0, inode.size)], taken.clone())?;
                    runs[id] = taken;
                }
                Body::File { size, pieces, .. } => {
                    let pieces = Extents::pieces(*size, pieces.as_deref());
                    let count = pieces.iter().map(|(_, length)| length / BLOCK).sum();
                    let taken = blocks.take(&mut layout, count)?;
                    inode.size = *size;
                    runs[id] = inode.extents(&mut blocks, &mut layout, &pieces, taken)?;
                }
                Body::Symlink(target) if target.len() >= 60 => {
                    let taken = blocks.take(&mut layout, 1)?;
                    write_runs(image, &taken, target)?;
                    inode.extents(&mut blocks, &mut layout, &[(0, BLOCK)], taken)?;
                }
                _ => {}
            }
            if !node.meta.attributes.is_empty() {
                let taken = blocks.take(&mut layout, 1)?;
                write_runs(image, &taken, &attributes::block(&node.meta.attributes))?;
                inode.attributes(taken[0].start);
            }
            layout.uses(number, matches!(node.body, Body::Folder(_)));
            inodes.push((number, inode));
        }
        inodes.sort_by_key(|(number, _)| *number);
        parents(tree, image, &numbers, &runs)?;
        inode::write_all(&layout, image, &inodes)?;
        blocks.finish(&mut layout)?;
        layout.write(image)?;
        Ok(Self { image, runs })
    }

    /// Where the contents of a node of this size go.
    pub(crate) fn target(&self, id: usize, pieces: Option<&[(u64, u64)]>, size: u64) -> Target<'_> {
        Target::new(self.image, &self.runs[id], pieces, size)
    }
}

/// Numbers of the inodes of all nodes that have a name; 0: it has none.
fn numbers(tree: &Tree, layout: &Layout) -> Result<Vec<u32>, ImageError> {
    let mut next = FIRST_INODE;
    let mut numbers = vec![0; tree.nodes.len()];
    for (id, _) in tree.nodes.iter().enumerate().filter(|(_, node)| node.names > 0) {
        if id == ROOT {
            numbers[id] = ROOT_INODE;
            continue;
        }
        if next > layout.inodes {
            return Err(ImageError::Full(format!("it has more than {} files", node_count(tree))));
        }
        numbers[id] = next;
        next += 1;
    }
    Ok(numbers)
}

fn node_count(tree: &Tree) -> usize {
    tree.nodes.iter().filter(|node| node.names > 0).count()
}

/// Names by which a folder is called: its own, its `.`, and the `..` of each folder in it.
fn links<'a>(tree: &Tree, id: usize, children: impl Iterator<Item = &'a Child>) -> u16 {
    let folders = children.filter(|child| matches!(tree.nodes[child.id].body, Body::Folder(_))).count();
    let folders = folders + usize::from(id == ROOT);
    // More than can be counted are said to be one.
    if folders + 2 > LINKS_MAX { 1 } else { u16::try_from(folders + 2).unwrap_or(1) }
}

/// Writes into each folder who its parent is, which is known once all have their numbers.
fn parents(tree: &Tree, image: &File, numbers: &[u32], runs: &[Vec<Run>]) -> Result<(), ImageError> {
    for (id, node) in tree.nodes.iter().enumerate() {
        let Body::Folder(children) = &node.body else { continue };
        for child in children.values().filter(|child| matches!(tree.nodes[child.id].body, Body::Folder(_))) {
            let Some(first) = runs[child.id].first() else { continue };
            let at = first.start * BLOCK + folder::PARENT;
            image.write_all_at(&numbers[id].to_le_bytes(), at).map_err(ImageError::io("the image"))?;
        }
    }
    Ok(())
}
