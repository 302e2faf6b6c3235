//! Differences, streamed: between two revisions of a repository, and in a session's working tree.
//!
//! ```text
//!  git diff-tree ── list of changed files, sizes ──▶ Files, Files, ..., Listed
//!  git cat-file  ── contents, read ahead ── hostd_core::diff (blocking threads) ──▶ Piece, Piece, ..., End
//! ```
//!
//! git says what changed, its modes and what was renamed; the hunks are ours. A working tree comes as a pack of what its
//! repository here lacks (`working_tree`), into a folder of objects on top of that repository, and then is a tree like any
//! other. What a guest sends or pushed is hostile: git's memory and time are bounded here, and so is the list. Everything
//! ends when its reader is gone, and nothing runs ahead of a slow one by more than a few pieces.

mod contents;
mod error;
mod git;
mod kept;
mod objects;
mod pieces;
mod pulls;
mod rescue;
mod run;
#[cfg(test)]
mod tests;
mod trees;
mod types;
mod working_tree;

use std::{path::PathBuf, sync::Arc};

use tokio::sync::{Semaphore, mpsc};

use crate::forge::Mirror;

pub use error::DiffError;
pub use kept::Kept;
pub use rescue::{Rescued, Words};
use trees::Trees;
pub use types::{
    Answer, Answers, Compared, Detail, Ending, File, FileEnd, Piece, PieceHunk, PieceLine, Revisions, Start, Wish,
};
pub use working_tree::WorkingTree;
#[cfg(fuzzing)]
pub use working_tree::head_line;

/// Answers that may wait for one reader, of at most about [`pieces::BYTES`] each.
const QUEUE: usize = 4;
/// Most large files that are compared at a time, on the whole host.
const LARGE_AT_A_TIME: usize = 2;

/// Makes differences of the forge's repositories and of working trees.
#[derive(Debug)]
pub struct Diffs {
    /// The bare repositories that are compared in.
    mirror: Arc<dyn Mirror>,
    /// Folder for objects of working trees; emptied when hostd starts.
    scratch: PathBuf,
    /// Places for large files; a file waits for one.
    large: Arc<Semaphore>,
}

impl Diffs {
    /// Opens the differences of this data folder and these repositories, and empties the scratch folder of an earlier hostd.
    ///
    /// # Errors
    /// Where the scratch folder cannot be made.
    pub fn open(data: &std::path::Path, mirror: Arc<dyn Mirror>) -> std::io::Result<Self> {
        let scratch = data.join("diffs");
        match std::fs::remove_dir_all(&scratch) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => std::fs::create_dir_all(&scratch)?,
        }
        Ok(Self { mirror, scratch, large: Arc::new(Semaphore::new(LARGE_AT_A_TIME)) })
    }

    /// Compares two revisions.
    ///
    /// # Errors
    /// Where there is no such repository or revision, or git fails.
    pub async fn revisions(&self, revisions: &Revisions, wish: Wish) -> Result<Answers, DiffError> {
        wish.check()?;
        let (trees, start, objects) = Trees::of(self.repository(&revisions.repository)?, revisions).await?;
        Ok(self.spawn(trees, start, objects, wish))
    }

    fn spawn(&self, trees: Trees, start: Start, objects: objects::Objects, wish: Wish) -> Answers {
        let (answers, receiver) = mpsc::channel(QUEUE);
        tokio::spawn(run::run(trees, start, objects, wish, self.large.clone(), answers));
        receiver
    }

    fn repository(&self, name: &str) -> Result<PathBuf, DiffError> {
        self.mirror.repository(name).ok_or_else(|| DiffError::NoRepository(name.into()))
    }
}
