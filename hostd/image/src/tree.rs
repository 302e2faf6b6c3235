//! The root file system as it will be: what all layers say, one over the other.

mod walk;
mod whiteouts;

use std::collections::{BTreeMap, HashSet};

use crate::{
    archive::{Entry, Kind, Meta},
    field::shown,
    sparse::Piece,
};
use walk::{Step, Walk};

/// Number of a file in its tree.
pub(crate) type Id = usize;
/// A name, as bytes.
type Name = Box<[u8]>;

/// Number of the root folder in a [`Tree`].
pub(crate) const ROOT: Id = 0;
/// Prefix of a name that says what is not there any more.
const WHITEOUT: &[u8] = b".wh.";

/// A file system's files, without the contents of most.
#[derive(Debug)]
pub struct Tree {
    pub(crate) nodes: Vec<Node>,
    /// Layer that is being put on: all that was put there before is of a lower one.
    layer: usize,
    /// Folders in which nothing of a lower layer is left but folders with something of the present one: each is gone through
    /// once in a layer, however many whiteouts that has.
    stripped: HashSet<Id>,
    /// Names that may still be added.
    left: usize,
    /// Bytes that may still be held.
    memory: usize,
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
    /// A tree with a root and nothing in it, which takes this many names, and bytes of what is said of files.
    #[must_use]
    pub fn new(names: usize, memory: usize) -> Self {
        Self {
            nodes: vec![Node { meta: folder(0o755), body: Body::Folder(BTreeMap::new()), names: 1 }],
            layer: 0,
            stripped: HashSet::new(),
            left: names,
            memory,
        }
    }

    /// Begins the layer of this number, from 0.
    pub(crate) fn begin(&mut self, layer: usize) {
        self.layer = layer;
        self.stripped.clear();
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
        if gentle && entry.kind == Kind::Folder {
            let whole = [entry.path.as_slice(), std::slice::from_ref(&name)].concat();
            if self.find_from_root(&whole).is_some_and(|id| self.is_folder(id)) {
                return Ok(());
            }
        }
        let parent = self.way(&entry.path)?;
        let known = self.child(parent, &name);
        self.charge(held(&entry))?;
        if let (Kind::Folder, Some(id)) = (&entry.kind, known.filter(|id| self.is_folder(*id))) {
            self.nodes[id].meta = entry.meta;
            self.link(parent, &name, id)?;
            return Ok(());
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
        self.find_from_root(&names)
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
        if self.find_from_root(&names).is_some_and(|id| self.is_folder(id)) {
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
        if let Some(parent) = self.find_from_root(&names) {
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

    /// Takes bytes of what may be held. What is dropped later on counts too.
    fn charge(&mut self, bytes: usize) -> Result<(), String> {
        let left = self.memory.checked_sub(bytes);
        self.memory = left.ok_or("the names, links, attributes and holes of its files are longer than is taken")?;
        Ok(())
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
            self.charge(name.len())?;
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
        let folder = self.find_from_root(way).ok_or_else(missing)?;
        let id = self.child(folder, last).ok_or_else(missing)?;
        if self.is_folder(id) {
            return Err(format!("there is a hard link to the folder {}", shown(path)));
        }
        if self.nodes[id].names >= 60_000 {
            return Err(format!("{} has too many names", shown(path)));
        }
        self.link(parent, name, id)
    }

    /// The folder at this path, links followed; what is missing of it is made.
    fn way(&mut self, path: &[Vec<u8>]) -> Result<Id, String> {
        let mut walk = Walk::new(path);
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

    fn find_from_root(&self, path: &[Vec<u8>]) -> Option<Id> {
        match Walk::new(path).step(self) {
            Step::There(id) => Some(id),
            _ => None,
        }
    }
}

/// Bytes that are held of an entry beside its name.
fn held(entry: &Entry) -> usize {
    let attributes: usize = entry.meta.attributes.iter().map(|(name, value)| name.len() + value.len() + 48).sum();
    let pieces = entry.pieces.as_ref().map_or(0, |pieces| pieces.len() * size_of::<Piece>());
    let target = if let Kind::Symlink(target) = &entry.kind { target.len() } else { 0 };
    attributes + pieces + target
}

/// Root's own, from 1970: the same image gives the same file system.
fn folder(mode: u16) -> Meta {
    Meta { mode, ..Meta::default() }
}
