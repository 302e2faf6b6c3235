//! What a host says of changes.

/// News of an open diff.
#[derive(Clone, Debug)]
pub enum DiffReport {
    /// The commit whose lines are on the new side; of a working tree there is none.
    Commit(String),
    /// It begins: something that people should know, and when it looked so, where the session is suspended.
    Start(String, Option<i64>),
    /// More of the list of files.
    Files(Vec<NewFile>),
    /// That was all of the list; whether there are more files than it has.
    Listed(bool),
    /// More lines of a file, by its number.
    Lines(usize, Vec<NewRow>),
    /// That was all of a file.
    FileEnd(usize, FileEnd),
    /// That was all.
    End,
    /// It cannot be had, or broke; why.
    Failed(String),
}

/// A file as its host lists it.
#[derive(Clone, Debug, Default)]
pub struct NewFile {
    /// added, deleted, modified, renamed, copied.
    pub status: String,
    /// Any bytes.
    pub old_path: Vec<u8>,
    /// The same unless it was renamed or copied.
    pub new_path: Vec<u8>,
    /// What became of its rights and kind; empty: nothing.
    pub mode: String,
}

/// What comes of a file's contents.
#[derive(Clone, Debug)]
pub enum NewRow {
    /// A hunk begins: first lines on both sides, and the text of its heading.
    Hunk(u32, u32, String),
    /// A line.
    Line {
        /// What became of it.
        side: Side,
        /// Any bytes, without the line feed.
        text: Vec<u8>,
        /// Begin and end, in bytes, of what changed.
        marks: Vec<(u32, u32)>,
        /// It is more of the line before.
        more: bool,
        /// It does not end with a line feed.
        open: bool,
    },
}

/// Which side a line is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Both.
    Both,
    /// The old one alone.
    Old,
    /// The new one alone.
    New,
}

/// How a file ended.
#[derive(Clone, Debug, Default)]
pub struct FileEnd {
    /// text, same, binary, too-large, missing.
    pub contents: String,
    /// Lines.
    pub added: u64,
    /// Lines.
    pub removed: u64,
    /// There is more of it than was sent.
    pub cut: bool,
}
