//! The root file system as it will be: what all layers say, one over the other.

use std::collections::{BTreeMap, VecDeque};

use crate::archive::{Entry, Kind, Meta, shown};
use crate::sparse::Piece;

/// Number of a file in its tree.
pub(crate) type Id = usize;
/// A name, as bytes.
type Name = Box<[u8]>;

/// The root.
pub(crate) const ROOT: Id = 0;
/// Most symbolic links on the way to a file, as in Linux.
const LINKS_MAX: usize = 40;
/// Prefix of a name that says what is not there any more.
const WHITEOUT: &[u8] = b".wh.";
/// Prefix of names that say something of their folder.
const SPECIAL: &[u8] = b".wh..wh.";
/// Name that says that nothing in its folder is from layers below.
const OPAQUE: &[u8] = b".wh..wh..opq";

/// A file system's files, without the contents of most.
#[derive(Debug)]
pub struct Tree {
    pub(crate) nodes: Vec<Node>,
    /// Layer that is being put on: all that was put there before is of a lower one.
    layer: usize,
    /// Names that may still be added.
    left: usize,
}

/// A file of any kind.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) meta: Meta,
    pub(crate) body: Body,
    /// Names that it has.
    pub(crate) names: u32,
}

#[derive(Clone, Debug)]
pub(crate) enum Body {
    Folder(BTreeMap<Name, Child>),
    File { size: u64, pieces: Option<Vec<Piece>>, contents: Contents },
    Symlink(Vec<u8>),
    CharDevice(u32, u32),
    BlockDevice(u32, u32),
    Fifo,
}

/// Where a file's contents are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Contents {
    /// In an entry of a layer, both counted from 0.
    Of {
        layer: usize,
        entry: usize,
    },
    Bytes(Vec<u8>),
}

/// A name in a folder.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Child {
    pub(crate) id: Id,
    /// Layer that has last said something of it.
    layer: usize,
}

impl Tree {
    /// A tree with a root and nothing in it, which takes this many names.
    #[must_use]
    pub fn new(names: usize) -> Self {
        Self {
            nodes: vec![Node { meta: folder(0o755), body: Body::Folder(BTreeMap::new()), names: 1 }],
            layer: 0,
            left: names,
        }
    }

    /// Begins the layer of this number, from 0.
    pub(crate) fn begin(&mut self, layer: usize) {
        self.layer = layer;
    }

    /// Puts an entry of the present layer on. `gentle`: a folder changes nothing where there is one, if by a link, already.
    ///
    /// # Errors
    /// Why it cannot be, for people.
    pub(crate) fn put(&mut self, mut entry: Entry, number: usize, gentle: bool) -> Result<(), String> {
        let Some(name) = entry.path.pop() else {
            if entry.kind == Kind::Folder && !gentle {
                self.nodes[ROOT].meta = entry.meta;
            }
            return Ok(());
        };
        if !gentle && name.starts_with(WHITEOUT) {
            self.whiteout(&entry.path, &name)?;
            return Ok(());
        }
        let parent = self.way(&entry.path)?;
        let known = self.child(parent, &name);
        if entry.kind == Kind::Folder {
            if gentle && self.find_from(parent, std::slice::from_ref(&name)).is_some_and(|id| self.is_folder(id)) {
                return Ok(());
            }
            if let Some(id) = known.filter(|id| self.is_folder(*id)) {
                self.nodes[id].meta = entry.meta;
                self.link(parent, &name, id)?;
                return Ok(());
            }
        }
        let body = match entry.kind {
            Kind::HardLink(path) => return self.hard_link(parent, &name, &path),
            Kind::Folder => Body::Folder(BTreeMap::new()),
            Kind::File => {
                let contents = Contents::Of { layer: self.layer, entry: number };
                Body::File { size: entry.size, pieces: entry.pieces, contents }
            }
            Kind::Symlink(target) => Body::Symlink(target),
            Kind::CharDevice(major, minor) => Body::CharDevice(major, minor),
            Kind::BlockDevice(major, minor) => Body::BlockDevice(major, minor),
            Kind::Fifo => Body::Fifo,
        };
        self.add(parent, &name, entry.meta, body)
    }

    /// The file at this path, links followed; None: there is none.
    pub(crate) fn find(&self, path: &str) -> Option<Id> {
        let names: Vec<Vec<u8>> = path.split('/').filter(|name| !name.is_empty()).map(Into::into).collect();
        self.find_from(ROOT, &names)
    }

    /// Whether there is a file at this path that can be executed.
    #[must_use]
    pub fn has_program(&self, path: &str) -> bool {
        self.find(path)
            .is_some_and(|id| matches!(self.nodes[id].body, Body::File { .. }) && self.nodes[id].meta.mode & 0o111 != 0)
    }

    /// Makes a folder where there is none, with those that it lies in.
    ///
    /// # Errors
    /// There is something else.
    pub fn make_folder(&mut self, path: &str, mode: u16) -> Result<(), String> {
        let mut names: Vec<Vec<u8>> = path.split('/').filter(|name| !name.is_empty()).map(Into::into).collect();
        if self.find_from(ROOT, &names).is_some_and(|id| self.is_folder(id)) {
            return Ok(());
        }
        let Some(name) = names.pop() else { return Ok(()) };
        let parent = self.way(&names)?;
        self.add(parent, &name, folder(mode), Body::Folder(BTreeMap::new()))
    }

    /// Puts a file of these bytes there, in the place of whatever there was; a file that it replaces keeps its owner and mode.
    ///
    /// # Errors
    /// Something on the way is no folder.
    pub fn put_file(&mut self, path: &str, bytes: Vec<u8>, mode: u16) -> Result<(), String> {
        let mut names: Vec<Vec<u8>> = path.split('/').filter(|name| !name.is_empty()).map(Into::into).collect();
        let Some(name) = names.pop() else { return Ok(()) };
        let parent = self.way(&names)?;
        let old = self.child(parent, &name).map(|id| &self.nodes[id]);
        let old = old.filter(|old| matches!(old.body, Body::File { .. })).map(|old| old.meta.clone());
        let meta = old.unwrap_or_else(|| folder(mode));
        let body = Body::File { size: bytes.len() as u64, pieces: None, contents: Contents::Bytes(bytes) };
        self.add(parent, &name, meta, body)
    }

    /// Removes what is at this path, links on the way followed.
    pub fn remove(&mut self, path: &str) {
        let mut names: Vec<Vec<u8>> = path.split('/').filter(|name| !name.is_empty()).map(Into::into).collect();
        let Some(name) = names.pop() else { return };
        if let Some(parent) = self.find_from(ROOT, &names) {
            self.unlink(parent, &name);
        }
    }

    /// Whether each file has as many names as it is said to have, and each folder one at most.
    #[cfg(fuzzing)]
    #[must_use]
    pub fn is_sound(&self) -> bool {
        let mut names = vec![0; self.nodes.len()];
        names[ROOT] = 1;
        for node in self.nodes.iter().filter(|node| node.names > 0) {
            if let Body::Folder(children) = &node.body {
                children.values().for_each(|child| names[child.id] += 1);
            }
        }
        let fits = |(node, names): (&Node, &u32)| {
            node.names == *names && (*names <= 1 || !matches!(node.body, Body::Folder(_)))
        };
        self.nodes.iter().zip(&names).all(fits)
    }

    fn is_folder(&self, id: Id) -> bool {
        matches!(self.nodes[id].body, Body::Folder(_))
    }

    fn child(&self, folder: Id, name: &[u8]) -> Option<Id> {
        match &self.nodes[folder].body {
            Body::Folder(children) => children.get(name).map(|child| child.id),
            _ => None,
        }
    }

    fn add(&mut self, parent: Id, name: &[u8], meta: Meta, body: Body) -> Result<(), String> {
        let id = self.nodes.len();
        self.nodes.push(Node { meta, body, names: 0 });
        self.link(parent, name, id)
    }

    /// Gives a file this name, in the place of whatever has it.
    fn link(&mut self, parent: Id, name: &[u8], id: Id) -> Result<(), String> {
        if self.child(parent, name) != Some(id) {
            self.unlink(parent, name);
            self.left = self.left.checked_sub(1).ok_or("the image has more files than are taken")?;
            self.nodes[id].names += 1;
        }
        let layer = self.layer;
        if let Body::Folder(children) = &mut self.nodes[parent].body {
            children.insert(name.into(), Child { id, layer });
        }
        Ok(())
    }

    /// Takes a name away, and all below it.
    fn unlink(&mut self, parent: Id, name: &[u8]) {
        let Body::Folder(children) = &mut self.nodes[parent].body else { return };
        let mut gone: Vec<Id> = children.remove(name).map(|child| child.id).into_iter().collect();
        while let Some(id) = gone.pop() {
            let node = &mut self.nodes[id];
            node.names = node.names.saturating_sub(1);
            if let (0, Body::Folder(children)) = (node.names, &mut node.body) {
                gone.extend(std::mem::take(children).into_values().map(|child| child.id));
            }
        }
    }

    fn hard_link(&mut self, parent: Id, name: &[u8], path: &[Vec<u8>]) -> Result<(), String> {
        let missing = || format!("{} is a link to {}, which is not there", String::from_utf8_lossy(name), shown(path));
        let (last, way) = path.split_last().ok_or_else(missing)?;
        let folder = self.find_from(ROOT, way).ok_or_else(missing)?;
        let id = self.child(folder, last).ok_or_else(missing)?;
        if self.is_folder(id) {
            return Err(format!("there is a hard link to the folder {}", shown(path)));
        }
        if self.nodes[id].names >= 60_000 {
            return Err(format!("{} has too many names", shown(path)));
        }
        self.link(parent, name, id)
    }

    fn whiteout(&mut self, path: &[Vec<u8>], name: &[u8]) -> Result<(), String> {
        let Some(parent) = self.find_from(ROOT, path).filter(|id| self.is_folder(*id)) else { return Ok(()) };
        if name == OPAQUE {
            self.strip(parent);
        } else if !name.starts_with(SPECIAL) {
            let gone = &name[WHITEOUT.len()..];
            if matches!(gone, [] | [b'.'] | [b'.', b'.']) {
                return Err("a whiteout names no file".into());
            }
            self.hide(parent, gone);
        }
        Ok(())
    }

    /// Takes away what lower layers have put there; what the present one has said stays.
    fn hide(&mut self, parent: Id, name: &[u8]) {
        let Body::Folder(children) = &self.nodes[parent].body else { return };
        let Some(Child { id, layer }) = children.get(name).copied() else { return };
        if !self.is_folder(id) {
            if layer < self.layer {
                self.unlink(parent, name);
            }
            return;
        }
        self.strip(id);
        let empty = matches!(&self.nodes[id].body, Body::Folder(children) if children.is_empty());
        if layer < self.layer && empty {
            self.unlink(parent, name);
        }
    }

    /// Takes away what lower layers have put into a folder.
    fn strip(&mut self, folder: Id) {
        let mut folders = VecDeque::from([folder]);
        let mut seen = vec![];
        while let Some(id) = folders.pop_front() {
            let Body::Folder(children) = &self.nodes[id].body else { continue };
            let old: Vec<Name> = children
                .iter()
                .filter(|(_, child)| child.layer < self.layer && !self.is_folder(child.id))
                .map(|(name, _)| name.clone())
                .collect();
            let inner = children.iter().filter(|(_, child)| self.is_folder(child.id));
            let inner: Vec<(Name, Child)> = inner.map(|(name, child)| (name.clone(), *child)).collect();
            old.iter().for_each(|name| self.unlink(id, name));
            for (name, child) in inner {
                folders.push_back(child.id);
                seen.push((id, name, child));
            }
        }
        // From the leaves on: folders that nothing of the present layer is in.
        for (parent, name, child) in seen.into_iter().rev() {
            let empty = matches!(&self.nodes[child.id].body, Body::Folder(children) if children.is_empty());
            if empty && child.layer < self.layer {
                self.unlink(parent, &name);
            }
        }
    }

    /// The folder at this path, links followed; what is missing of it is made.
    fn way(&mut self, path: &[Vec<u8>]) -> Result<Id, String> {
        let mut walk = Walk::new(ROOT, path);
        loop {
            match walk.step(self) {
                Step::There(id) if self.is_folder(id) => return Ok(id),
                Step::There(_) => return Err(format!("{} is no folder, but something lies in it", shown(path))),
                Step::Missing(parent, name) => {
                    self.add(parent, &name, folder(0o755), Body::Folder(BTreeMap::new()))?;
                    walk.names.push_front(name);
                }
                Step::Nowhere => return Err(format!("{} leads nowhere, but something lies in it", shown(path))),
            }
        }
    }

    fn find_from(&self, from: Id, path: &[Vec<u8>]) -> Option<Id> {
        match Walk::new(from, path).step(self) {
            Step::There(id) => Some(id),
            _ => None,
        }
    }
}

/// A way through a tree, in which links are followed. It never leaves the tree: above the root is the root.
struct Walk {
    names: VecDeque<Vec<u8>>,
    /// Folders on the way, from the root on; only the last may be none.
    way: Vec<Id>,
    links: usize,
}

enum Step {
    There(Id),
    /// There is no such name in this folder; it is taken from the names.
    Missing(Id, Vec<u8>),
    /// Links lead around in a circle, or through something that is no folder.
    Nowhere,
}

impl Walk {
    fn new(from: Id, path: &[Vec<u8>]) -> Self {
        let way = if from == ROOT { vec![ROOT] } else { vec![ROOT, from] };
        Self { names: path.iter().cloned().collect(), way, links: 0 }
    }

    fn step(&mut self, tree: &Tree) -> Step {
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

/// Root's own, from 1970: the same image gives the same file system.
fn folder(mode: u16) -> Meta {
    Meta { mode, ..Meta::default() }
}
