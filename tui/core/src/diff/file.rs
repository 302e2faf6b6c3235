//! A changed file: its rows, made safe to draw.

use std::mem;

use super::{FileEnd, NewFile, NewRow, Side};
use crate::text;

/// Bytes after which a line is cut.
const LINE_MAX: usize = 4096;
/// Longest path that is kept, in bytes.
const PATH_MAX: usize = 1024;
/// Columns between two tab stops.
const TAB: usize = 4;

/// A row of a changed file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Row {
    /// The heading of a hunk.
    Hunk(String),
    /// A line: its side, its number there (of both: the new one), its parts and whether they changed.
    Line(Side, u32, Vec<(bool, String)>),
    /// A remark of the console's.
    Remark(String),
}

impl Row {
    /// Text of the row.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::Line(_, _, parts) => parts.iter().map(|(_, text)| text.as_str()).collect(),
            Self::Hunk(text) | Self::Remark(text) => text.clone(),
        }
    }
}

/// A changed file.
#[derive(Clone, Debug, Default)]
pub struct File {
    /// Path of the file, and its old path where it was another.
    pub path: String,
    /// Letter for what became of the file.
    pub letter: char,
    /// Numbers of lines added and removed; None: not known yet.
    pub counts: Option<(u64, u64)>,
    pub(super) rows: Vec<Row>,
    /// Path in the new commit; None: the file is not there, or its name is no text.
    pub(super) place: Option<String>,
    /// Numbers of the next line on both sides.
    next: (u32, u32),
    mode: String,
    pub(super) ended: bool,
}

impl File {
    pub(super) fn new(file: NewFile) -> Self {
        let path = |bytes: &[u8]| text::one_line(&String::from_utf8_lossy(bytes), PATH_MAX);
        let (old, new) = (path(&file.old_path), path(&file.new_path));
        let letter = file.status.chars().next().map_or('?', |letter| letter.to_ascii_uppercase());
        let path = if old == new { new } else { format!("{old} → {new}") };
        let place = String::from_utf8(file.new_path).ok().filter(|_| file.status != "deleted");
        Self { path, place, letter, mode: text::one_line(&file.mode, 60), ..Self::default() }
    }

    /// Takes a row; returns how many bytes it takes.
    pub(super) fn take(&mut self, row: NewRow) -> usize {
        match row {
            NewRow::Hunk(old, new, heading) => {
                self.next = (old, new);
                self.rows.push(Row::Hunk(text::one_line(&heading, 120)));
                64
            }
            // What is longer than a message is longer than a line is shown.
            NewRow::Line { more: true, .. } => {
                self.cut_line();
                0
            }
            NewRow::Line { side, text, marks, open, .. } => {
                let number = if side == Side::Old { self.next.0 } else { self.next.1 };
                self.next.0 = self.next.0.saturating_add(u32::from(side != Side::New));
                self.next.1 = self.next.1.saturating_add(u32::from(side != Side::Old));
                let parts = parts(&text, &marks);
                let bytes = 64 + parts.iter().map(|(_, text)| text.len() + 32).sum::<usize>();
                self.rows.push(Row::Line(side, number, parts));
                if text.len() > LINE_MAX {
                    self.cut_line();
                }
                if open {
                    self.rows.push(Row::Remark("no line feed at the end".into()));
                }
                bytes
            }
        }
    }

    /// Cuts the line under way: nobody approves the rest of a line unseen and untold.
    fn cut_line(&mut self) {
        let remark = Row::Remark("this line goes on; `pilothouse diff` shows all of it".into());
        if self.rows.last() != Some(&remark) {
            self.rows.push(remark);
        }
    }

    pub(super) fn end(&mut self, end: &FileEnd) {
        self.ended = true;
        let remark = match end.contents.as_str() {
            "binary" => "binary: no lines to show",
            "too-large" => "too large to compare",
            "missing" => "its contents were left out: too much has changed",
            "text" if end.cut => "more than the console shows of a file; `pilothouse diff` shows all of it",
            "text" if self.rows.is_empty() => "empty",
            "same" if self.mode.is_empty() => "moved; nothing in it changed",
            _ => "",
        };
        if !self.mode.is_empty() {
            self.rows.insert(0, Row::Remark(mem::take(&mut self.mode)));
        }
        if !remark.is_empty() {
            self.rows.push(Row::Remark(remark.into()));
        }
        if matches!(end.contents.as_str(), "text" | "same") {
            self.counts = Some((end.added, end.removed));
        }
    }
}

/// A line made safe to draw, in parts that changed or did not.
fn parts(bytes: &[u8], marks: &[(u32, u32)]) -> Vec<(bool, String)> {
    let mut parts: Vec<(bool, String)> = vec![];
    let (mut at, mut column) = (0, 0);
    let bytes = &bytes[..bytes.len().min(LINE_MAX)];
    let mut put = |at: usize, c: char| {
        let changed = marks.iter().any(|(begin, end)| (*begin as usize..*end as usize).contains(&at));
        if parts.last().is_none_or(|(last, _)| *last != changed) {
            parts.push((changed, String::new()));
        }
        let Some((_, text)) = parts.last_mut() else { return };
        match c {
            '\t' => {
                let blanks = TAB - column % TAB;
                text.push_str(&" ".repeat(blanks));
                column += blanks;
            }
            c if text::harmless(c) => {
                text.push(c);
                column += 1;
            }
            _ => text.push('\u{fffd}'),
        }
    };
    for chunk in bytes.utf8_chunks() {
        for (offset, c) in chunk.valid().char_indices() {
            put(at + offset, c);
        }
        at += chunk.valid().len();
        if !chunk.invalid().is_empty() {
            put(at, '\u{fffd}');
            at += chunk.invalid().len();
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_harmless_and_keep_their_marks() {
        let shown = parts("a\tb\x1b[2J\u{fc} x".as_bytes(), &[(2, 3), (8, 9)]);
        let expected = [(false, "a   "), (true, "b"), (false, "\u{fffd}[2J\u{fc} x")];
        assert_eq!(shown.iter().map(|(m, t)| (*m, t.as_str())).collect::<Vec<_>>()[..2], expected[..2]);
        assert!(shown.iter().all(|(_, text)| text.chars().all(text::harmless)));
        assert_eq!(
            parts(b"caf\xe9!", &[(3, 4)]),
            [(false, "caf".into()), (true, "\u{fffd}".into()), (false, "!".into())]
        );
        assert_eq!(parts(b"x", &[(9, 3), (0, 99)]), [(true, "x".to_owned())]);
    }
}
