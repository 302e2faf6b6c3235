//! Ways through a tree.

use std::collections::VecDeque;

use super::{Body, Id, ROOT, Tree};

/// Most symbolic links on the way to a file, as in Linux.
const LINKS_MAX: usize = 40;

/// A way through a tree from its root, in which links are followed. It never leaves the tree: above the root is the root.
pub(super) struct Walk {
    pub(super) names: VecDeque<Vec<u8>>,
    /// Folders on the way, from the root on; only the last may be none.
    way: Vec<Id>,
    links: usize,
}

pub(super) enum Step {
    There(Id),
    /// There is no such name in this folder; it is taken from the names.
    Missing(Id, Vec<u8>),
    /// Links lead around in a circle, or through something that is no folder.
    Nowhere,
}

impl Walk {
    pub(super) fn new(path: &[Vec<u8>]) -> Self {
        Self { names: path.iter().cloned().collect(), way: vec![ROOT], links: 0 }
    }

    pub(super) fn step(&mut self, tree: &Tree) -> Step {
        while let Some(name) = self.names.pop_front() {
            let here = self.way.last().copied().unwrap_or(ROOT);
            match name.as_slice() {
                b"" | b"." => continue,
                b".." => {
                    if self.way.len() > 1 {
                        self.way.pop();
                    }
                    continue;
                }
                _ => {}
            }
            if !tree.is_folder(here) {
                return Step::Nowhere;
            }
            let Some(id) = tree.child(here, &name) else { return Step::Missing(here, name) };
            let Body::Symlink(target) = &tree.nodes[id].body else {
                self.way.push(id);
                continue;
            };
            self.links += 1;
            if self.links > LINKS_MAX || self.names.len() > 4096 {
                return Step::Nowhere;
            }
            if target.starts_with(b"/") {
                self.way.truncate(1);
            }
            target.split(|byte| *byte == b'/').rev().for_each(|name| self.names.push_front(name.to_vec()));
        }
        Step::There(self.way.last().copied().unwrap_or(ROOT))
    }
}
