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

/// Answers under way to one reader, of at most about [`pieces::BYTES`] each.
const QUEUE: usize = 4;
/// Large files that are compared at a time, on the whole host.
const LARGE_AT_A_TIME: usize = 2;

/// A difference as it comes.
pub type Answers = mpsc::Receiver<Result<Answer, DiffError>>;

/// How much is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Detail {
    /// Everything.
    #[default]
    Hunks,
    /// How many lines of each file were added and removed.
    Counts,
    /// The list of files alone.
    List,
}

/// What is wanted of a difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// Only what is at or below these; empty: all.
    pub paths: Vec<Bytes>,
    /// How much.
    pub detail: Detail,
    /// Lines around each change.
    pub context: u32,
    /// A file's lines are cut after so many bytes.
    pub file_bytes: Option<u64>,
}

impl Wish {
    /// Whether it may be asked for.
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
    /// Its name in the local forge.
    pub repository: String,
    /// Empty: HEAD.
    pub old: String,
    /// Empty: HEAD.
    pub new: String,
    /// Compare with where `new` left `old`.
    pub since_merge_base: bool,
}

/// A part of a difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// First.
    Start(Start),
    /// More of the list.
    Files(Vec<File>),
    /// That was all of it.
    Listed {
        /// How many.
        files: u32,
        /// There are more.
        cut: bool,
    },
    /// More of a file.
    Piece(Piece),
    /// Last; how many files' contents were compared.
    End(u32),
}

/// What is compared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Start {
    /// Id of a commit.
    pub old: String,
    /// Id of a commit, or of a working tree's tree.
    pub new: String,
    /// When the working tree looked so; 0: it is no working tree.
    pub taken_at: UnixMillis,
    /// The session is suspended, and that was when.
    pub suspended: bool,
    /// What could not be read, for people.
    pub missing: String,
}

/// A file that changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// From 0.
    pub number: u32,
    /// As git says.
    pub change: Change,
    /// Bytes before; None: its contents are not here.
    pub old_bytes: Option<u64>,
    /// Bytes now.
    pub new_bytes: Option<u64>,
}

/// More of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Piece {
    /// Its number.
    pub file: u32,
    /// In order.
    pub hunks: Vec<PieceHunk>,
    /// That was all of it.
    pub end: Option<FileEnd>,
}

/// A hunk or a part of one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PieceHunk {
    /// Where it is; None: it goes on.
    pub place: Option<Hunk>,
    /// In order.
    pub lines: Vec<PieceLine>,
}

/// A line or a part of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PieceLine {
    /// What became of it.
    pub kind: Kind,
    /// Without the line feed.
    pub text: Bytes,
    /// How it ends.
    pub ending: Ending,
    /// Begin and end of each part that changed.
    pub marks: Vec<u32>,
}

/// How a line ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// With a line feed.
    Newline,
    /// With the text.
    None,
    /// In the next line: it is too long for one piece.
    GoesOn,
}

/// What came of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileEnd {
    /// What it is.
    pub contents: Compared,
    /// Lines.
    pub added: u64,
    /// Lines.
    pub removed: u64,
    /// There is more than was asked for.
    pub cut: bool,
    /// It is text and no UTF-8.
    pub not_utf8: bool,
}

/// How far a file could be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compared {
    /// Line by line.
    Text,
    /// Its contents are the same.
    Same,
    /// It is no text.
    Binary,
    /// It is larger than is compared.
    TooLarge,
    /// Its contents are not here.
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

/// Makes differences.
#[derive(Debug)]
pub struct Diffs {
    /// The forge's bare repositories.
    repositories: Repositories,
    /// For objects of working trees; emptied when hostd starts.
    scratch: PathBuf,
    /// Places for large files.
    large: Arc<Semaphore>,
}

impl Diffs {
    /// Of the data folder. Nothing of an earlier hostd is left in its scratch folder.
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

    /// Between two revisions.
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
