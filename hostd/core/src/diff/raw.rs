//! What `git diff-tree -r --raw -z --no-abbrev` prints: `:MODE MODE ID ID STATUS NUL PATH NUL`, and one more `PATH NUL`
//! after renames and copies (git-diff(1), "Raw output format"). It may come from a guest: nothing in it is believed.

use std::mem;

/// Longest path that is taken, in bytes: Linux's own bound.
const PATH_MAX: usize = 4096;
/// Longest first part: two modes, two ids of 64 digits, a status with its score.
const HEAD_MAX: usize = 192;

/// Mode of a path as git writes it, e.g. 0o100644: the kind of thing that the path names, and its rights; 0: there is nothing
/// at the path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Mode(pub u32);

impl Mode {
    /// Whether there is something at the path.
    #[must_use]
    pub fn exists(self) -> bool {
        self.0 != 0
    }

    /// Whether the path names a commit of another repository.
    #[must_use]
    pub fn is_submodule(self) -> bool {
        self.0 == 0o160_000
    }
}

/// Kind of change of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// The path is new.
    Added,
    /// The path was removed.
    Deleted,
    /// The contents or the mode of the path changed.
    Modified,
    /// The file was at another path before.
    Renamed,
    /// The file was copied from another path, which is still there.
    Copied,
    /// The path names another kind of thing now, such as a link.
    TypeChanged,
}

impl Status {
    /// The word of the API and of `--json`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Deleted => "deleted",
            Self::Modified => "modified",
            Self::Renamed => "renamed",
            Self::Copied => "copied",
            Self::TypeChanged => "type-changed",
        }
    }
}

/// A path that changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Kind of the change.
    pub status: Status,
    /// Mode of the path before the change.
    pub old_mode: Mode,
    /// Mode of the path after the change.
    pub new_mode: Mode,
    /// Id of the contents before the change, in lower-case hex digits; zeros where there were none.
    pub old_id: String,
    /// Id of the contents after the change, in lower-case hex digits; zeros where there are none.
    pub new_id: String,
    /// Similarity of both contents in percent, for renames and copies; else 0.
    pub similarity: u8,
    /// Path before the change, in bytes as git has them.
    pub old_path: Vec<u8>,
    /// Path after the change; the same unless the file was renamed or copied.
    pub new_path: Vec<u8>,
}

/// Output that is not what `git diff-tree` prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("its list of changed files is malformed")]
pub struct Malformed;

/// Reader of git's output, which takes it piece by piece.
#[derive(Debug, Default)]
pub struct RawChanges {
    /// Bytes of a record that has not come whole yet.
    rest: Vec<u8>,
}

impl RawChanges {
    /// Takes the next piece of the output; returns the changes that are whole now.
    ///
    /// # Errors
    /// [`Malformed`]; nothing more can be read then.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<Change>, Malformed> {
        self.rest.extend_from_slice(bytes);
        let mut changes = vec![];
        let mut at = 0;
        while let Some((change, length)) = record(&self.rest[at..])? {
            changes.push(change);
            at += length;
        }
        self.rest.drain(..at);
        Ok(changes)
    }

    /// Takes the output's end.
    ///
    /// # Errors
    /// [`Malformed`], where it ended within a record.
    pub fn end(&mut self) -> Result<(), Malformed> {
        if mem::take(&mut self.rest).is_empty() { Ok(()) } else { Err(Malformed) }
    }
}

/// The first record and its length in bytes; None: the record is not whole yet.
fn record(bytes: &[u8]) -> Result<Option<(Change, usize)>, Malformed> {
    let Some((head, after_head)) = field(bytes, HEAD_MAX)? else { return Ok(None) };
    let (status, similarity, mut change) = parse_head(head)?;
    let Some((path, after_path)) = field(after_head, PATH_MAX)? else { return Ok(None) };
    let mut after = after_path;
    change.old_path = checked(path)?;
    change.new_path = change.old_path.clone();
    if matches!(status, Status::Renamed | Status::Copied) {
        let Some((path, after_path)) = field(after, PATH_MAX)? else { return Ok(None) };
        change.new_path = checked(path)?;
        after = after_path;
    }
    (change.status, change.similarity) = (status, similarity);
    Ok(Some((change, bytes.len() - after.len())))
}

/// A field up to its NUL, and the bytes after it; None: no NUL has come yet.
type Field<'b> = Option<(&'b [u8], &'b [u8])>;

fn field(bytes: &[u8], max: usize) -> Result<Field<'_>, Malformed> {
    match bytes.iter().take(max + 1).position(|byte| *byte == 0) {
        Some(end) => Ok(Some((&bytes[..end], &bytes[end + 1..]))),
        None if bytes.len() > max => Err(Malformed),
        None => Ok(None),
    }
}

fn parse_head(head: &[u8]) -> Result<(Status, u8, Change), Malformed> {
    let head = std::str::from_utf8(head).ok().and_then(|head| head.strip_prefix(':')).ok_or(Malformed)?;
    let words: Vec<&str> = head.split(' ').collect();
    let [old_mode, new_mode, old_id, new_id, status] = words[..] else { return Err(Malformed) };
    let (letter, score) = status.split_at_checked(1).ok_or(Malformed)?;
    let status = match letter {
        "A" => Status::Added,
        "D" => Status::Deleted,
        "M" => Status::Modified,
        "R" => Status::Renamed,
        "C" => Status::Copied,
        "T" => Status::TypeChanged,
        _ => return Err(Malformed),
    };
    let similarity = if score.is_empty() { 0 } else { score.parse().map_err(|_| Malformed)? };
    let change = Change {
        status,
        similarity,
        old_mode: mode(old_mode)?,
        new_mode: mode(new_mode)?,
        old_id: id(old_id)?,
        new_id: id(new_id)?,
        old_path: vec![],
        new_path: vec![],
    };
    if similarity > 100 { Err(Malformed) } else { Ok((status, similarity, change)) }
}

fn mode(text: &str) -> Result<Mode, Malformed> {
    let is_mode = text.len() == 6 && text.bytes().all(|byte| matches!(byte, b'0'..=b'7'));
    is_mode.then(|| u32::from_str_radix(text, 8).ok()).flatten().map(Mode).ok_or(Malformed)
}

fn id(text: &str) -> Result<String, Malformed> {
    let is_id = matches!(text.len(), 40 | 64) && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    is_id.then(|| text.to_owned()).ok_or(Malformed)
}

fn checked(path: &[u8]) -> Result<Vec<u8>, Malformed> {
    if path.is_empty() { Err(Malformed) } else { Ok(path.to_vec()) }
}
