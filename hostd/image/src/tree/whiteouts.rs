//! Names that say what of lower layers is not there any more.

use std::collections::VecDeque;

use super::{Body, Child, Id, Name, Tree, WHITEOUT};

/// Prefix of names that say something of their folder.
const SPECIAL: &[u8] = b".wh..wh.";
/// Name that says that nothing in its folder is from layers below.
const OPAQUE: &[u8] = b".wh..wh..opq";

impl Tree {
    /// Heeds a whiteout of the present layer.
    pub(super) fn whiteout(&mut self, path: &[Vec<u8>], name: &[u8]) -> Result<(), String> {
        let Some(parent) = self.find_from_root(path).filter(|id| self.is_folder(*id)) else { return Ok(()) };
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
            if !self.stripped.insert(id) {
                continue;
            }
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
}
