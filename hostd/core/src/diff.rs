//! Differences: of two contents as hunks of lines with the changed words marked, and of two trees as git lists them.
//!
//! ```text
//!  two contents ── diff ──▶ Same | Binary | TooLarge | Text ── hunks ──▶ Hunk, Line, Line, ..., Hunk, Line, ...
//!  git diff-tree --raw -z ── RawChanges ──▶ Change, Change, ...
//! ```
//!
//! Contents are bytes; nothing here asks that they be UTF-8. A hunk reads as one of `git diff` does.

mod hunks;
mod raw;
#[cfg(test)]
mod tests;
mod window;
mod words;

use imara_diff::{Algorithm, Diff, InternedInput};

pub use hunks::{Event, Hunk, Hunks, Kind, Line};
pub use raw::{Change, Malformed, Mode, RawChanges, Status};
use window::Window;

/// Contents are binary where one of their first so many bytes is NUL: git's rule (`buffer_is_binary` of its xdiff-interface.c).
const BINARY_PREFIX: usize = 8000;
/// Most lines of context around a change that a caller gets.
pub const CONTEXT_MAX: u32 = 100;

/// Largest contents that are compared line by line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most bytes of each side.
    pub bytes: usize,
    /// Most lines of each side, without what both begin and end with.
    pub lines: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes: 64 << 20, lines: 2 << 20 }
    }
}

/// Difference of two contents.
#[derive(Debug)]
pub enum Contents<B> {
    /// The contents are the same.
    Same,
    /// The contents differ, and one of them is binary.
    Binary,
    /// The contents differ, and one of them is larger than the limits.
    TooLarge,
    /// The contents are texts that differ.
    Text(Text<B>),
}

/// Two texts that differ, and their differences.
#[derive(Debug)]
pub struct Text<B> {
    old: B,
    new: B,
    window: Window,
    changes: Vec<imara_diff::Hunk>,
    /// Number of lines that only the new text has.
    pub added: u64,
    /// Number of lines that only the old text has.
    pub removed: u64,
}

/// Whether git takes these contents for binary.
#[must_use]
pub fn is_binary(contents: &[u8]) -> bool {
    contents[..contents.len().min(BINARY_PREFIX)].contains(&0)
}

/// Compares two contents, line by line where both are texts within the limits.
pub fn diff<B: AsRef<[u8]>>(old: B, new: B, limits: Limits) -> Contents<B> {
    let (a, b) = (old.as_ref(), new.as_ref());
    if a == b {
        return Contents::Same;
    }
    if is_binary(a) || is_binary(b) {
        return Contents::Binary;
    }
    if a.len().max(b.len()) > limits.bytes.min(u32::MAX as usize) {
        return Contents::TooLarge;
    }
    let Some(window) = Window::of(a, b, limits.lines) else { return Contents::TooLarge };
    let mut input = InternedInput::default();
    input.update_before(window.old.lines(a));
    input.update_after(window.new.lines(b));
    let mut diff = Diff::compute(Algorithm::Histogram, &input);
    diff.postprocess_lines(&input);
    let changes = diff.hunks().collect();
    let (added, removed) = (diff.count_additions().into(), diff.count_removals().into());
    Contents::Text(Text { window, changes, added, removed, old, new })
}

impl<B: AsRef<[u8]>> Text<B> {
    /// Groups the differences into hunks, with `context` lines around each change, at most [`CONTEXT_MAX`].
    #[must_use]
    pub fn hunks(self, context: u32) -> Hunks<B> {
        Hunks::new(self, context.min(CONTEXT_MAX))
    }
}
