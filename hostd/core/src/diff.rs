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
/// Most lines of context around a change.
pub const CONTEXT_MAX: u32 = 100;

/// How large a content may be to be compared line by line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of each side.
    pub bytes: usize,
    /// Lines of each side, without what both begin and end with.
    pub lines: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes: 64 << 20, lines: 2 << 20 }
    }
}

/// How two contents differ.
#[derive(Debug)]
pub enum Contents<B> {
    /// Not at all.
    Same,
    /// They do, and one of them is no text.
    Binary,
    /// One of them is larger than the limits.
    TooLarge,
    /// In these lines.
    Text(Text<B>),
}

/// Two texts that differ.
#[derive(Debug)]
pub struct Text<B> {
    old: B,
    new: B,
    window: Window,
    changes: Vec<imara_diff::Hunk>,
    /// Lines that are new.
    pub added: u64,
    /// Lines that are gone.
    pub removed: u64,
}

/// Whether git would take these contents for binary.
#[must_use]
pub fn is_binary(contents: &[u8]) -> bool {
    contents[..contents.len().min(BINARY_PREFIX)].contains(&0)
}

/// Compares two contents.
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
    /// The hunks, with so many lines around each change, at most [`CONTEXT_MAX`].
    #[must_use]
    pub fn hunks(self, context: u32) -> Hunks<B> {
        Hunks::new(self, context.min(CONTEXT_MAX))
    }
}
