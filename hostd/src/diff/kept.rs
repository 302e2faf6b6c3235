//! Working trees as sources: live from a guest, or as they were kept when their session was suspended.
//!
//! A kept one is a file: a line of JSON ([`Label`]) and the pack. It is written beside and renamed.

use std::{io, path::Path, process::Stdio, time::Duration};

use hostd_core::UnixMillis;
use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use tokio::{
    fs::File,
    io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    process::ChildStdin,
};

use super::{
    Answers, DiffError, Diffs, Start, Trees, Wish, WorkingTree,
    git::{self, DEADLINE, Git, soon},
    objects::Objects,
    run, trees,
    working_tree::{Head, take},
};

/// Largest pack of a live working tree, in bytes.
const LIVE_MAX: u64 = 256 << 20;
/// Largest pack that is kept of a suspended one.
const KEPT_MAX: u64 = 4 << 20;
/// Longest label.
const LABEL_MAX: u64 = 1024;

/// What a kept pack is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Label {
    base: String,
    tree: String,
    missing: String,
    taken_at: UnixMillis,
}

impl Diffs {
    /// A working tree as it is now. `now`: the time.
    ///
    /// # Errors
    /// Where it cannot be read, or git fails.
    pub async fn working_tree(&self, from: WorkingTree, wish: Wish, now: UnixMillis) -> Result<Answers, DiffError> {
        run::check(&wish)?;
        let repository = self.repository(&from.repository)?;
        let (mut git, stdin, more) = self.unpack(&repository, LIVE_MAX)?;
        let Head { base, tree, missing } = match take(&from, LIVE_MAX, DEADLINE, stdin).await {
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

    /// Keeps a working tree in a file, in place of what was kept there before. Takes no longer than `within`.
    ///
    /// # Errors
    /// Where it cannot be read or written; the file is as it was then.
    pub async fn keep(
        &self,
        from: &WorkingTree,
        file: &Path,
        within: Duration,
        now: UnixMillis,
    ) -> Result<(), DiffError> {
        let folder = TempDir::new_in(&self.scratch)?;
        let (pack, whole) = (folder.path().join("pack"), folder.path().join("whole"));
        let Head { base, tree, missing } = take(from, KEPT_MAX, within, File::create(&pack).await?).await?;
        let mut label = serde_json::to_vec(&Label { base, tree, missing, taken_at: now }).map_err(io::Error::other)?;
        label.push(b'\n');
        let mut out = File::create(&whole).await?;
        out.write_all(&label).await?;
        tokio::io::copy(&mut File::open(&pack).await?, &mut out).await?;
        out.sync_all().await?;
        tokio::fs::rename(&whole, file).await?;
        Ok(())
    }

    /// A working tree that was kept.
    ///
    /// # Errors
    /// [`DiffError::NotKept`], or where it cannot be read any more.
    pub async fn kept(&self, repository: &str, file: &Path, wish: Wish) -> Result<Answers, DiffError> {
        run::check(&wish)?;
        let path = self.repository(repository)?;
        let help = "resume the session to see its changes";
        let mut kept = match File::open(file).await {
            Ok(file) => BufReader::new(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(DiffError::NotKept(format!("nothing was kept of its working tree; {help}")));
            }
            Err(error) => return Err(DiffError::NotKept(format!("{}: {error}; {help}", file.display()))),
        };
        let broken = || DiffError::NotKept(format!("{} is damaged; {help}", file.display()));
        let mut line = vec![];
        (&mut kept).take(LABEL_MAX).read_until(b'\n', &mut line).await?;
        let label: Label = serde_json::from_slice(&line).map_err(|_| broken())?;
        if !trees::is_id(&label.base) || !trees::is_id(&label.tree) {
            return Err(broken());
        }
        let (mut git, stdin, more) = self.unpack(&path, KEPT_MAX)?;
        pour(kept, stdin).await.map_err(|_| broken())?;
        drain(&mut git).await?;
        git.finish().await?;
        let Label { base: old, tree: new, missing, taken_at } = label;
        self.over(&path, more, Start { old, new, taken_at, suspended: true, missing }, wish, repository).await
    }

    /// A git that takes a pack into a folder of objects on top of a repository.
    fn unpack(&self, repository: &Path, max: u64) -> Result<(Git, ChildStdin, TempDir), DiffError> {
        let more = TempDir::new_in(&self.scratch)?;
        std::fs::create_dir(more.path().join("info"))?;
        let below = repository.join("objects");
        let below = below.to_str().filter(|path| !path.contains(['\n', '"']));
        let below =
            below.ok_or_else(|| io::Error::other("the data folder's path has characters that git cannot take"))?;
        std::fs::write(more.path().join("info/alternates"), format!("{below}\n"))?;
        let mut command = git::command(repository);
        command.env("GIT_OBJECT_DIRECTORY", more.path());
        command.args(["index-pack", "--stdin", "--fix-thin", "--threads=1"]).arg(format!("--max-input-size={max}"));
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

/// git says what it made; nobody needs it.
async fn drain(git: &mut Git) -> Result<(), DiffError> {
    if let Some(stdout) = &mut git.stdout {
        soon(tokio::io::copy(stdout, &mut tokio::io::sink())).await?;
    }
    Ok(())
}

async fn pour(mut from: impl AsyncRead + Unpin, mut to: ChildStdin) -> io::Result<()> {
    tokio::io::copy(&mut from, &mut to).await?;
    to.shutdown().await
}
