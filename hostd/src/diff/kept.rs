//! Working trees as sources: live from a guest, or as one was once, in a file.
//!
//! Such a file is [`LABEL`] bytes of JSON ([`Label`]), filled up with blanks, and the pack. It is written beside and renamed.

use std::{io, path::Path, process::Stdio};

use hostd_core::UnixMillis;
use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use tokio::{
    fs::File,
    io::{AsyncRead, AsyncReadExt as _, AsyncSeekExt as _, AsyncWriteExt as _},
    process::ChildStdin,
};

use super::{
    Diffs,
    error::DiffError,
    git::{self, DEADLINE, Git, soon},
    objects::Objects,
    trees::{self, Trees},
    types::{Answers, Start, Wish},
    working_tree::{Head, WorkingTree, take},
};

/// Largest pack of a working tree, in bytes.
const PACK_MAX: u64 = 256 << 20;
/// Largest file that is kept for the next reader, in bytes.
const KEPT_MAX: u64 = 64 << 20;
/// Bytes before the pack in a file that is kept.
const LABEL: usize = 1024;

/// Description of the pack in a file that is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Label {
    base: String,
    tree: String,
    missing: String,
    taken_at: UnixMillis,
}

/// A working tree as it was once: an open file, whatever becomes of its name.
#[derive(Debug)]
pub struct Kept {
    label: Label,
    /// The file, open at its pack.
    file: File,
}

impl Kept {
    /// Ids of its merge base and of its tree, and what could not be read.
    pub(super) fn label(&self) -> (String, String, String) {
        let Label { base, tree, missing, .. } = &self.label;
        (base.clone(), tree.clone(), missing.clone())
    }

    /// Gives the pack to git.
    pub(super) async fn pour(self, to: ChildStdin) -> io::Result<()> {
        pour(self.file, to).await
    }
}

impl Diffs {
    /// Compares a working tree as it is now with its merge base; `now` is the time.
    ///
    /// # Errors
    /// Where it cannot be read, or git fails.
    pub async fn working_tree(&self, from: WorkingTree, wish: Wish, now: UnixMillis) -> Result<Answers, DiffError> {
        wish.check()?;
        let repository = self.repository(&from.repository)?;
        let (mut git, stdin, more) = self.unpack(&repository)?;
        let Head { base, tree, missing } = match take(&from, PACK_MAX, DEADLINE, stdin).await {
            // git here that ends early says why.
            Err(DiffError::Git(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
                git.finish().await?;
                return Err(error.into());
            }
            taken => taken?,
        };
        drain(&mut git).await?;
        git.finish().await?;
        let start = Start { old: base, new: tree, taken_at: now, suspended: false, missing };
        self.over(&repository, more, start, wish, &from.repository).await
    }

    /// Reads the working tree of a session as it was suspended at this time. Unless it is large, it is in `file` then, in place
    /// of what was there; that it cannot be written there is told in the log alone.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub async fn keep(&self, from: &WorkingTree, file: &Path, at: UnixMillis) -> Result<Kept, DiffError> {
        let folder = TempDir::new_in(&self.scratch)?;
        let path = folder.path().join("kept");
        let mut out = File::options().create_new(true).read(true).write(true).open(&path).await?;
        out.write_all(&[b' '; LABEL]).await?;
        let Head { base, tree, missing } = take(from, PACK_MAX, DEADLINE, &mut out).await?;
        let label = Label { base, tree, missing, taken_at: at };
        let text = serde_json::to_vec(&label).map_err(io::Error::other)?;
        let bytes = out.stream_position().await?;
        out.rewind().await?;
        // One that did not fit would not be taken for one.
        out.write_all(&text[..text.len().min(LABEL)]).await?;
        out.flush().await?;
        out.seek(io::SeekFrom::Start(LABEL as u64)).await?;
        if bytes <= KEPT_MAX
            && let Err(error) = tokio::fs::rename(&path, file).await
        {
            tracing::info!(?file, %error, "a session's changes are not kept for the next who asks");
        }
        Ok(Kept { label, file: out })
    }

    /// What [`Diffs::keep`] kept in `file` at this time. None: nothing, or nothing that can be read.
    pub async fn kept(&self, file: &Path, at: UnixMillis) -> Option<Kept> {
        let mut file = File::open(file).await.ok()?;
        let mut text = [0; LABEL];
        file.read_exact(&mut text).await.ok()?;
        let label: Label = serde_json::from_slice(&text).ok()?;
        let whole = label.taken_at == at && trees::is_id(&label.base) && trees::is_id(&label.tree);
        whole.then_some(Kept { label, file })
    }

    /// What was changed in a session of this repository when it was suspended.
    ///
    /// # Errors
    /// Where git cannot read it, or fails.
    pub async fn suspended(&self, repository: &str, kept: Kept, wish: Wish) -> Result<Answers, DiffError> {
        wish.check()?;
        let path = self.repository(repository)?;
        let (mut git, stdin, more) = self.unpack(&path)?;
        let poured = pour(kept.file, stdin).await;
        drain(&mut git).await?;
        git.finish().await?;
        poured?;
        let Label { base: old, tree: new, missing, taken_at } = kept.label;
        self.over(&path, more, Start { old, new, taken_at, suspended: true, missing }, wish, repository).await
    }

    /// A git that takes a pack into a folder of objects on top of a repository.
    fn unpack(&self, repository: &Path) -> Result<(Git, ChildStdin, TempDir), DiffError> {
        let more = TempDir::new_in(&self.scratch)?;
        std::fs::create_dir(more.path().join("info"))?;
        let below = repository.join("objects");
        let below = below.to_str().filter(|path| !path.contains(['\n', '"']));
        let below =
            below.ok_or_else(|| io::Error::other("the data folder's path has characters that git cannot take"))?;
        std::fs::write(more.path().join("info/alternates"), format!("{below}\n"))?;
        let mut command = git::command(repository);
        command.env("GIT_OBJECT_DIRECTORY", more.path());
        command
            .args(["index-pack", "--stdin", "--fix-thin", "--threads=1"])
            .arg(format!("--max-input-size={PACK_MAX}"));
        let mut git = Git::start(&command, Stdio::piped())?;
        let stdin = git.stdin.take().ok_or_else(|| io::Error::other("its pipes are missing"))?;
        Ok((git, stdin, more))
    }

    async fn over(
        &self,
        repository: &Path,
        more: TempDir,
        start: Start,
        wish: Wish,
        name: &str,
    ) -> Result<Answers, DiffError> {
        // A guest may name any commit as its base; only one of its own repository is taken.
        let mut plain = Objects::start(git::command(repository))?;
        if trees::commit(&mut plain, &start.old).await?.as_deref() != Some(start.old.as_str()) {
            return Err(DiffError::NoRevision { repository: name.into(), revision: start.old });
        }
        let trees = Trees::with(repository.into(), more, start.old.clone(), start.new.clone());
        let objects = Objects::start(trees.git())?;
        Ok(self.spawn(trees, start, objects, wish))
    }
}

/// Reads git's output to its end: git prints the pack's name, and nobody needs it.
pub(super) async fn drain(git: &mut Git) -> Result<(), DiffError> {
    if let Some(stdout) = &mut git.stdout {
        soon(tokio::io::copy(stdout, &mut tokio::io::sink())).await?;
    }
    Ok(())
}

async fn pour(mut from: impl AsyncRead + Unpin, mut to: ChildStdin) -> io::Result<()> {
    tokio::io::copy(&mut from, &mut to).await?;
    to.shutdown().await
}
