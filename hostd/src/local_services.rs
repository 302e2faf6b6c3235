//! `egress.toml` in the data folder: which services of this host and of its private networks guests may reach, where their recipe names
//! them. Read again when it changes. Without the file recipes alone decide, see [`crate::gateway`]; a file that is bad changes nothing, and from
//! the start on names nothing. One that goes while hostd runs changes nothing either: editors write a file anew so.

use std::{
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use hostd_core::local_services::{LocalServices, TEXT_MAX};

/// Name of the file in the data folder.
pub const FILE: &str = "egress.toml";

/// The file of this host.
#[derive(Debug)]
pub struct LocalFile {
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Size of the file, and when it was written, as it was when it was last looked at.
    seen: Option<(u64, Option<SystemTime>)>,
    named: Arc<LocalServices>,
}

impl LocalFile {
    /// The file of this data folder.
    #[must_use]
    pub fn of(data: &Path) -> Self {
        Self { path: data.join(FILE), state: Mutex::default() }
    }

    /// What the host names; None: it has no such file, and had none since hostd began. Reads the file where it has changed.
    #[must_use]
    pub fn named(&self) -> Option<Arc<LocalServices>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = match std::fs::metadata(&self.path) {
            Ok(is) => Some((is.len(), is.modified().ok())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && state.seen.is_none() => return None,
            // What it says is what was read of it.
            Err(_) => state.seen,
        };
        if seen != state.seen || seen.is_none() {
            state.seen = seen;
            match read(&self.path) {
                Ok(named) => {
                    tracing::info!(path = %self.path.display(), number = named.len(), "the host's own services are named");
                    state.named = Arc::new(named);
                }
                Err(why) => tracing::error!("the host's own services stay as they were: {why}"),
            }
        }
        Some(state.named.clone())
    }
}

/// Reads and checks the file; an error is a text for people.
fn read(path: &Path) -> Result<LocalServices, String> {
    let name = path.display().to_string();
    let mut text = String::new();
    let file = File::open(path).and_then(|file| file.take(TEXT_MAX as u64 + 1).read_to_string(&mut text));
    file.map_err(|error| format!("{name}: {error}"))?;
    LocalServices::parse(&name, &text).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_read_where_it_has_changed_and_a_bad_one_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = LocalFile::of(folder.path());
        let write = |text: &str| std::fs::write(folder.path().join(FILE), text).unwrap();
        let number = || file.named().map(|named| named.len());
        assert_eq!(number(), None);
        write("local = [");
        assert_eq!(number(), Some(0), "a bad one from the start names nothing");
        write("local = [\"a.lan:1\"]");
        assert_eq!(number(), Some(1));
        write("local = [\"a.lan:1\", 2]");
        assert_eq!(number(), Some(1), "it stays as it was");
        write("local = [\"a.lan:1\", \"b.lan:1\"]");
        assert_eq!(number(), Some(2));
        std::fs::remove_file(folder.path().join(FILE)).unwrap();
        assert_eq!(number(), Some(2), "it may be about to be written anew");
        write("local = []");
        assert_eq!(number(), Some(0));
    }
}
