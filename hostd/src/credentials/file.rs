//! `credentials.toml` on the disk: nobody's but hostd's own user's, or it is not read.

use std::{
    fs::{self, File, Metadata},
    io::Read as _,
    os::unix::fs::MetadataExt as _,
    path::Path,
};

use hostd_core::credentials::{Credential, TEXT_MAX};

/// Rights of all users but the file's owner.
const OTHERS: u32 = 0o077;

/// What a file was like; another one is another file, or was written to since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp([i64; 7]);

impl Stamp {
    /// None: there is no file.
    pub(super) fn of(path: &Path) -> Option<Self> {
        fs::metadata(path).ok().map(|is| Self::from(&is))
    }
}

impl From<&Metadata> for Stamp {
    fn from(is: &Metadata) -> Self {
        let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let rights = i64::from(is.mode());
        Self([signed(is.ino()), signed(is.size()), is.mtime(), is.mtime_nsec(), is.ctime(), is.ctime_nsec(), rights])
    }
}

/// Reads and checks the file; an error is a text for people.
pub(super) fn read(path: &Path) -> Result<Vec<Credential>, String> {
    let name = path.display();
    let failed = |error| format!("{name}: {error}");
    // By its descriptor: what is judged is what is read.
    let file = File::open(path).map_err(failed)?;
    let is = file.metadata().map_err(failed)?;
    owned(&is, OTHERS).map_err(|why| format!("{name} {why}; run `chmod 600 {name}`"))?;
    let mut text = String::new();
    file.take(TEXT_MAX as u64 + 1).read_to_string(&mut text).map_err(failed)?;
    Credential::parse(&name.to_string(), &text).map_err(|error| error.to_string())
}

/// Whether a file is a plain one of hostd's own user, or of root, to which others do not have these rights; an error says what
/// is the matter.
pub(super) fn owned(is: &Metadata, others: u32) -> Result<(), String> {
    let own = rustix::process::geteuid().as_raw();
    let (owner, mode) = (is.uid(), is.mode() & 0o777);
    if !is.is_file() {
        Err("is no file".into())
    } else if owner != own && owner != 0 {
        Err(format!("belongs to the user with the id {owner}, and must be hostd's own"))
    } else if mode & others != 0 {
        Err(format!("is open to other users (rights {mode:03o})"))
    } else {
        Ok(())
    }
}
