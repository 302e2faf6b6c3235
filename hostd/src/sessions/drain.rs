//! A drained host: it takes no more VMs, and what runs is put to disk. Kept in a file of the data folder, so that the next hostd knows.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use hostd_core::UnixMillis;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::clock::now;

/// In the data folder, while the host is drained.
const FILE: &str = "drained.json";
/// Largest file that is read, in bytes.
const FILE_MAX: u64 = 4 << 10;

/// Since when, and on whose behalf, a host is drained.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Drained {
    /// User name of whoever asked for it.
    pub(super) by: String,
    /// When, in milliseconds since the Unix epoch.
    pub(super) at: UnixMillis,
}

impl Drained {
    /// What is said to who wants a VM.
    #[must_use]
    pub(super) fn words(&self) -> String {
        format!("this host is drained by {}; `pilothouse host undrain` has it take VMs again", self.by)
    }
}

/// Whether a host is drained, and every change of that.
pub(super) struct Drain {
    path: PathBuf,
    state: watch::Sender<Option<Drained>>,
    /// Held by whoever changes it: file and state say the same.
    changing: Mutex<()>,
}

impl Drain {
    /// As the data folder says. A file that cannot be read is one all the same.
    pub(super) fn of(data: &Path) -> Self {
        let path = data.join(FILE);
        let state = match read(&path) {
            Ok(drained) => Some(drained),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "the host stays drained, though nobody knows by whom");
                Some(Drained { by: "somebody".into(), at: 0 })
            }
        };
        Self { path, state: watch::Sender::new(state), changing: Mutex::default() }
    }

    /// Drains the host on this person's behalf, unless it is drained. Blocks.
    ///
    /// # Errors
    /// Where that cannot be kept; it is not drained then.
    pub(super) fn begin(&self, by: &str) -> io::Result<()> {
        let _turn = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        if self.state.borrow().is_some() {
            return Ok(());
        }
        let drained = Drained { by: by.into(), at: now() };
        let beside = self.path.with_extension("new");
        let mut file = File::create(&beside)?;
        file.write_all(&serde_json::to_vec(&drained).map_err(io::Error::other)?)?;
        file.sync_all()?;
        fs::rename(beside, &self.path)?;
        self.keep_folder()?;
        tracing::info!(by, "the host is drained");
        self.state.send_replace(Some(drained));
        Ok(())
    }

    /// The host takes VMs again. Blocks.
    ///
    /// # Errors
    /// Where that cannot be kept; it is drained still.
    pub(super) fn end(&self, by: &str) -> io::Result<()> {
        let _turn = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => self.keep_folder()?,
        }
        tracing::info!(by, "the host takes VMs again");
        self.state.send_replace(None);
        Ok(())
    }

    /// Has the name of the file, or that there is none, on the disk.
    fn keep_folder(&self) -> io::Result<()> {
        self.path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
    }

    pub(super) fn now(&self) -> Option<Drained> {
        self.state.borrow().clone()
    }

    pub(super) fn changes(&self) -> watch::Receiver<Option<Drained>> {
        self.state.subscribe()
    }
}

fn read(path: &Path) -> io::Result<Drained> {
    let mut text = Vec::new();
    io::Read::read_to_end(&mut io::Read::take(File::open(path)?, FILE_MAX), &mut text)?;
    serde_json::from_slice(&text).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_hostd_knows_of_it() {
        let data = tempfile::tempdir().unwrap();
        let of = || Drain::of(data.path()).now().map(|drained| drained.by);
        assert_eq!(of(), None);
        Drain::of(data.path()).begin("sam").unwrap();
        Drain::of(data.path()).begin("kim").unwrap();
        assert_eq!(of().as_deref(), Some("sam"));
        fs::write(data.path().join(FILE), "{").unwrap();
        assert_eq!(of().as_deref(), Some("somebody"));
        Drain::of(data.path()).end("sam").unwrap();
        Drain::of(data.path()).end("sam").unwrap();
        assert_eq!(of(), None);
    }
}
