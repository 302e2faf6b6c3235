//! What differences are made of, as their readers get them.

use bytes::Bytes;
use hostd_core::{
    UnixMillis,
    diff::{CONTEXT_MAX, Change, Hunk, Kind},
};
use tokio::sync::mpsc;

use super::error::DiffError;

/// Most paths of a wish, and most bytes of them together.
const PATHS_MAX: (usize, usize) = (256, 64 << 10);

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
        let bytes: usize = self.paths.iter().map(|path| path.len()).sum();
        let problem = if self.context > CONTEXT_MAX {
            format!("at most {CONTEXT_MAX} lines of context are possible")
        } else if self.paths.len() > PATHS_MAX.0 || bytes > PATHS_MAX.1 {
            format!(
                "at most {} paths of {} bytes altogether are possible; name a folder above them",
                PATHS_MAX.0, PATHS_MAX.1
            )
        } else if self.paths.iter().any(|path| path.is_empty() || path.contains(&0)) {
            "a path is empty or has a NUL byte".into()
        } else {
            return Ok(());
        };
        Err(DiffError::Invalid(problem))
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
