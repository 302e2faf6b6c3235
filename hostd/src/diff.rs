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
mod run;
#[cfg(test)]
mod tests;
mod trees;
mod working_tree;

use std::{path::PathBuf, sync::Arc};

use bytes::Bytes;
use hostd_core::{
    UnixMillis,
    diff::{Change, Hunk, Kind},
};
use tokio::sync::{Semaphore, mpsc};

use crate::forge::Repositories;

pub use error::DiffError;
pub use kept::Kept;
use trees::Trees;
pub use working_tree::WorkingTree;
#[cfg(fuzzing)]
pub use working_tree::head_line;

/// Answers that may wait for one reader, of at most about [`pieces::BYTES`] each.
const QUEUE: usize = 4;
/// Most large files that are compared at a time, on the whole host.
const LARGE_AT_A_TIME: usize = 2;

/// Answers of a difference as they come; the last one is [`Answer::End`] or an error.
pub type Answers = mpsc::Receiver<Result<Answer, DiffError>>;

/// How much of a difference is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Detail {
    /// The list of files, and the hunks of each.
    #[default]
    Hunks,
    /// The list of files, and how many lines of each were added and removed.
    Counts,
    /// The list of files alone.
    List,
}

/// What a reader wants of a difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// Paths at or below which files are compared; empty: everywhere.
    pub paths: Vec<Bytes>,
    /// How much of the difference is wanted.
    pub detail: Detail,
    /// Number of lines around each change.
    pub context: u32,
    /// Bytes of lines after which a file's hunks are cut; None: they are not cut.
    pub file_bytes: Option<u64>,
}

impl Wish {
    /// Checks whether the wish may be asked for.
    ///
    /// # Errors
    /// [`DiffError::Invalid`].
    pub fn check(&self) -> Result<(), DiffError> {
        run::check(self)
    }
}

impl Default for Wish {
    fn default() -> Self {
        Self { paths: vec![], detail: Detail::Hunks, context: 3, file_bytes: None }
    }
}

/// Two revisions of a repository, as somebody names them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revisions {
    /// Name of the repository in the local forge.
    pub repository: String,
    /// The old revision; empty: HEAD.
    pub old: String,
    /// The new revision; empty: HEAD.
    pub new: String,
    /// Whether `new` is compared with its merge base with `old` instead of with `old` itself.
    pub since_merge_base: bool,
}

/// A part of a difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// What is compared; the first answer.
    Start(Start),
    /// Some files of the list, in order.
    Files(Vec<File>),
    /// The end of the list.
    Listed {
        /// Number of files in the list.
        files: u32,
        /// Whether more files changed than the list has.
        cut: bool,
    },
    /// A piece of a file's hunks.
    Piece(Piece),
    /// The end; the number of files whose contents were compared.
    End(u32),
}

/// The two trees that are compared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Start {
    /// Id of the old commit.
    pub old: String,
    /// Id of the new commit, or of a working tree's tree.
    pub new: String,
    /// When the working tree was read; 0: no working tree is compared.
    pub taken_at: UnixMillis,
    /// Whether the session was suspended then, and is read as it was suspended.
    pub suspended: bool,
    /// What of the working tree could not be read, in words for a person; empty: nothing.
    pub missing: String,
}

/// A file that changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Place of the file in the list, from 0.
    pub number: u32,
    /// The change as git tells it.
    pub change: Change,
    /// Bytes of the contents before the change; None: they are not here.
    pub old_bytes: Option<u64>,
    /// Bytes of the contents after the change; None: they are not here.
    pub new_bytes: Option<u64>,
}

/// A piece of a file's hunks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Piece {
    /// Place of the file in the list, from 0.
    pub file: u32,
    /// Hunks of the piece, in order; the first may go on with the last one's before.
    pub hunks: Vec<PieceHunk>,
    /// End of the file, in its last piece.
    pub end: Option<FileEnd>,
}

/// A hunk or a part of one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PieceHunk {
    /// Place of the hunk; None: it goes on from the piece before.
    pub place: Option<Hunk>,
    /// Lines of the hunk, in order.
    pub lines: Vec<PieceLine>,
}

/// A line or a part of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PieceLine {
    /// Whether the line is in both texts, or in which.
    pub kind: Kind,
    /// Bytes of the line, without the line feed.
    pub text: Bytes,
    /// How the line ends.
    pub ending: Ending,
    /// Begin and end of each range of bytes that changed, one after the other.
    pub marks: Vec<u32>,
}

/// How a line ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The line ends with a line feed.
    Newline,
    /// The line is the text's last, without a line feed.
    None,
    /// The line goes on in the next one: it is too long for one piece.
    GoesOn,
}

/// Result of a file's comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileEnd {
    /// How the file could be compared.
    pub contents: Compared,
    /// Number of lines that were added.
    pub added: u64,
    /// Number of lines that were removed.
    pub removed: u64,
    /// Whether the hunks were cut at [`Wish::file_bytes`].
    pub cut: bool,
    /// Whether the contents are text that is not UTF-8.
    pub not_utf8: bool,
}

/// How far a file could be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compared {
    /// The contents were compared line by line.
    Text,
    /// The contents are the same.
    Same,
    /// One of the contents is binary.
    Binary,
    /// One of the contents is larger than is compared.
    TooLarge,
    /// One of the contents is not here.
    Missing,
}

impl Compared {
    /// The word of the API and of `--json`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Same => "same",
            Self::Binary => "binary",
            Self::TooLarge => "too-large",
            Self::Missing => "missing",
        }
    }
}

/// Makes differences of the forge's repositories and of working trees.
#[derive(Debug)]
pub struct Diffs {
    /// The forge's bare repositories.
    repositories: Repositories,
    /// Folder for objects of working trees; emptied when hostd starts.
    scratch: PathBuf,
    /// Places for large files; a file waits for one.
    large: Arc<Semaphore>,
}

impl Diffs {
    /// Opens the differences of this data folder, and empties the scratch folder of an earlier hostd.
    ///
    /// # Errors
    /// Where the scratch folder cannot be made.
    pub fn open(data: &std::path::Path) -> std::io::Result<Self> {
        let scratch = data.join("diffs");
        match std::fs::remove_dir_all(&scratch) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => std::fs::create_dir_all(&scratch)?,
        }
        Ok(Self {
            repositories: Repositories::new(data.join("git")),
            scratch,
            large: Arc::new(Semaphore::new(LARGE_AT_A_TIME)),
        })
    }

    /// Compares two revisions.
    ///
    /// # Errors
    /// Where there is no such repository or revision, or git fails.
    pub async fn revisions(&self, revisions: &Revisions, wish: Wish) -> Result<Answers, DiffError> {
        run::check(&wish)?;
        let (trees, start, objects) = Trees::of(self.repository(&revisions.repository)?, revisions).await?;
        Ok(self.spawn(trees, start, objects, wish))
    }

    fn spawn(&self, trees: Trees, start: Start, objects: objects::Objects, wish: Wish) -> Answers {
        let (answers, receiver) = mpsc::channel(QUEUE);
        tokio::spawn(run::run(trees, start, objects, wish, self.large.clone(), answers));
        receiver
    }

    fn repository(&self, name: &str) -> Result<PathBuf, DiffError> {
        self.repositories.repository(name).ok_or_else(|| DiffError::NoRepository(name.into()))
    }
}
