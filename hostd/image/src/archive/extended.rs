//! Headers about the header that follows.

use crate::{field::NAME_MAX, pax, sparse};

/// Most bytes of all attributes of one file: they go into one block.
const ATTRIBUTES_MAX: usize = 3800;

/// What headers before an entry's own say of it.
#[derive(Default)]
pub(super) struct Extended {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<u64>,
    pub(super) gid: Option<u64>,
    pub(super) modified: Option<(i64, u32)>,
    pub(super) attributes: Vec<(Vec<u8>, Vec<u8>)>,
    pub(super) sparse: sparse::Said,
}

impl Extended {
    /// Takes the records of an extended header.
    pub(super) fn take(&mut self, records: &[u8]) -> Result<(), String> {
        let bad = |key: &[u8]| format!("the extended header {} makes no sense", String::from_utf8_lossy(key));
        pax::records(records, |key, value| {
            let number = || pax::decimal(value).ok_or_else(|| bad(key));
            match key {
                b"path" => self.path = Some(value.into()),
                b"linkpath" => self.link = Some(value.into()),
                b"size" => self.size = Some(number()?),
                b"uid" => self.uid = Some(number()?),
                b"gid" => self.gid = Some(number()?),
                b"mtime" => self.modified = Some(pax::time(value).ok_or_else(|| bad(key))?),
                _ => match key.strip_prefix(b"SCHILY.xattr.") {
                    Some(name) => self.attribute(name, value)?,
                    None => self.sparse.take(key, value)?,
                },
            }
            Ok(())
        })
    }

    /// Takes the records of an extended header about all that follows. What is one file's own business, such as attributes and
    /// holes, is left out.
    pub(super) fn take_of_all(&mut self, records: &[u8]) -> Result<(), String> {
        self.take(records)?;
        (self.attributes, self.sparse) = (vec![], sparse::Said::default());
        Ok(())
    }

    /// These, and what they do not say as the headers about all files have it.
    pub(super) fn over(self, all: &Self) -> Self {
        Self {
            path: self.path.or_else(|| all.path.clone()),
            link: self.link.or_else(|| all.link.clone()),
            size: self.size.or(all.size),
            uid: self.uid.or(all.uid),
            gid: self.gid.or(all.gid),
            modified: self.modified.or(all.modified),
            ..self
        }
    }

    /// Keeps an attribute that means something in another machine: not labels of this one's policy, nor what a file system
    /// that stacks layers keeps for itself.
    fn attribute(&mut self, name: &[u8], value: &[u8]) -> Result<(), String> {
        let wanted = name == b"security.capability" || name.starts_with(b"user.");
        if !wanted || name.len() > NAME_MAX {
            return Ok(());
        }
        self.attributes.retain(|(known, _)| known != name);
        self.attributes.push((name.into(), value.into()));
        let total: usize = self.attributes.iter().map(|(name, value)| name.len() + value.len() + 24).sum();
        if total > ATTRIBUTES_MAX {
            return Err(format!("a file has {total} bytes of attributes; at most {ATTRIBUTES_MAX} are kept"));
        }
        Ok(())
    }
}
