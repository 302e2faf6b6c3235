//! What a host says of changes.

/// News of an open diff.
#[derive(Clone, Debug)]
pub enum DiffReport {
    /// Id of the commit whose lines are on the new side; of a working tree there is none.
    Commit(String),
    /// The diff begins: a remark that people should know, and when the session was suspended, where its changes are as of then.
    Start(String, Option<i64>),
    /// More files of the list came.
    Files(Vec<NewFile>),
    /// The list is over; whether more files changed than it has.
    Listed(bool),
    /// More lines of the file of this number came.
    Lines(usize, Vec<NewRow>),
    /// The file of this number is over.
    FileEnd(usize, FileEnd),
    /// The diff is over.
    End,
    /// The diff cannot be had, or broke; why.
    Failed(String),
}

/// A file as its host lists it.
#[derive(Clone, Debug, Default)]
pub struct NewFile {
    /// Word of the change: added, deleted, modified, renamed, copied.
    pub status: String,
    /// Path before, of any bytes.
    pub old_path: Vec<u8>,
    /// Path after; the same unless the file was renamed or copied.
    pub new_path: Vec<u8>,
    /// Words for what became of the file's rights and kind; empty: nothing.
    pub mode: String,
}

/// A row of a file's contents.
#[derive(Clone, Debug)]
pub enum NewRow {
    /// A hunk begins: first lines on both sides, and the text of its heading.
    Hunk(u32, u32, String),
    /// A line of the hunk.
    Line {
        /// Side that the line is on.
        side: Side,
        /// Text of the line: any bytes, without the line feed.
        text: Vec<u8>,
        /// Ranges of bytes that changed: begin and end.
        marks: Vec<(u32, u32)>,
        /// Whether it is more of the line before.
        more: bool,
        /// Whether the line does not end with a line feed.
        open: bool,
    },
}

/// Side that a line is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The line is on both sides.
    Both,
    /// The line is on the old side alone.
    Old,
    /// The line is on the new side alone.
    New,
}

/// Result of a file's comparison.
#[derive(Clone, Debug, Default)]
pub struct FileEnd {
    /// Word for how far it was compared: text, same, binary, too-large, missing.
    pub contents: String,
    /// Number of lines that were added.
    pub added: u64,
    /// Number of lines that were removed.
    pub removed: u64,
    /// Whether there is more of the file than was sent.
    pub cut: bool,
}
