//! What of a file is shown: its rows and the notes below them, one after the other, as high as they are when they are wrapped.

use unicode_segmentation::UnicodeSegmentation as _;

use super::{DiffView, Row};
use crate::text;

/// Columns before a line's text: its number and its sign.
pub const GUTTER: usize = 7;

/// A thing in a diff that can be selected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// A row of the file, by its number.
    Row(usize),
    /// A note, by its place among the notes.
    Note(usize),
}

/// Place of a reader in the selected file.
#[derive(Clone, Debug)]
pub struct Window {
    /// Number of what is selected, over rows and notes.
    cursor: usize,
    /// Number of the first one that is shown, and how many of its rows are out of sight.
    top: (usize, usize),
    /// Whether long lines go on in the next row.
    pub wrapped: bool,
    /// Columns out of sight at the left, where lines are not wrapped.
    pub pan: usize,
}

impl Default for Window {
    fn default() -> Self {
        Self { cursor: 0, top: (0, 0), wrapped: true, pan: 0 }
    }
}

impl Window {
    /// Goes to the beginning.
    pub fn reset(&mut self) {
        (self.cursor, self.top, self.pan) = (0, (0, 0), 0);
    }
}

impl DiffView {
    /// Number of rows and notes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows().len() + self.notes.len()
    }

    /// Whether there are no rows and notes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The row or note of this number. Notes stand below their rows, and those without one at the end.
    #[must_use]
    pub fn item(&self, number: usize) -> At {
        let mut before = 0;
        for (n, note) in self.notes.iter().enumerate() {
            let place = note.row.map_or(self.rows().len(), |row| row + 1) + n;
            if place == number {
                return At::Note(n);
            }
            if place > number {
                break;
            }
            before = n + 1;
        }
        At::Row(number - before)
    }

    /// The selected row or note.
    #[must_use]
    pub fn at(&self) -> At {
        self.item(self.cursor())
    }

    /// Number of the selected row or note.
    #[must_use]
    pub fn cursor(&self) -> usize {
        self.window.cursor.min(self.len().saturating_sub(1))
    }

    /// Number of the first one that is shown in `area` (columns, rows), and how many rows of it are out of sight.
    #[must_use]
    pub fn top(&self, area: (usize, usize)) -> (usize, usize) {
        self.window.top.min(self.last_top(area))
    }

    /// Number of rows that a row or note takes in `columns` columns.
    #[must_use]
    pub fn height(&self, at: At, columns: usize) -> usize {
        match at {
            At::Note(n) => self.notes.get(n).map_or(1, |note| note.lines(columns).len()),
            At::Row(n) => match self.rows().get(n) {
                Some(Row::Line(_, _, parts)) if self.window.wrapped => chopped(parts, wrap_at(columns)),
                _ => 1,
            },
        }
    }

    /// The top with which the end stands at the bottom.
    fn last_top(&self, area: (usize, usize)) -> (usize, usize) {
        self.top_for(self.len().saturating_sub(1), area)
    }

    /// The top with which the one of this number stands at the bottom.
    fn top_for(&self, number: usize, (columns, rows): (usize, usize)) -> (usize, usize) {
        let mut left = rows;
        for n in (0..=number).rev().take_while(|n| *n < self.len()) {
            let height = self.height(self.item(n), columns);
            if height >= left {
                return (n, height - left);
            }
            left -= height;
        }
        (0, 0)
    }

    /// Selects the one this many further down. What is higher than the window is scrolled through first.
    pub fn step(&mut self, down: isize, area: (usize, usize)) {
        let (at, top) = (self.cursor(), self.top(area));
        let height = self.height(self.at(), area.0);
        if height > area.1 && top.0 == at {
            let skipped = top.1.saturating_add_signed(down).min(height - area.1);
            if skipped != top.1 {
                self.window.top = (at, skipped);
                return;
            }
        }
        self.window.cursor = at.saturating_add_signed(down).min(self.len().saturating_sub(1));
        self.show_cursor(area);
    }

    /// Scrolls so that what is selected is seen: all of it, or its beginning.
    pub fn show_cursor(&mut self, area: (usize, usize)) {
        let (at, top) = (self.cursor(), self.top(area));
        let high = self.height(self.at(), area.0) > area.1;
        let lowest = if high { (at, 0) } else { self.top_for(at, area) };
        self.window.top = match () {
            // Inside of it.
            () if high && top.0 == at => top,
            () if top.0 >= at => (at, 0),
            () => top.max(lowest),
        };
    }

    /// Selects the first, or the last one.
    pub fn to_end(&mut self, top: bool) {
        self.go_to(if top { 0 } else { self.len() });
    }

    fn go_to(&mut self, number: usize) {
        (self.window.cursor, self.window.top) = (number, (number, 0));
    }

    /// Selects a row of the file.
    pub(super) fn go_to_row(&mut self, row: usize) {
        let before = self.notes.iter().filter(|note| note.row.is_some_and(|of| of < row)).count();
        self.go_to(row.saturating_add(before));
    }

    /// Moves lines that are not wrapped sideways.
    pub fn pan(&mut self, right: isize, columns: usize) {
        let width = |row: &Row| match row {
            Row::Line(_, _, parts) => parts.iter().map(|(_, text)| text::width(text)).sum(),
            _ => 0,
        };
        let widest: usize = self.rows().iter().map(width).max().unwrap_or(0);
        let last = widest.saturating_sub(wrap_at(columns));
        self.window.pan = self.window.pan.saturating_add_signed(right).min(last);
    }
}

/// Number of columns of a line's text.
pub(crate) fn wrap_at(columns: usize) -> usize {
    columns.saturating_sub(GUTTER).max(8)
}

/// Number of rows that a line takes where `columns` columns are a row.
fn chopped(parts: &[(bool, String)], columns: usize) -> usize {
    if parts.iter().all(|(_, text)| text.is_ascii()) {
        let width: usize = parts.iter().map(|(_, text)| text.len()).sum();
        return width.div_ceil(columns).max(1);
    }
    let widths = parts.iter().flat_map(|(_, text)| text.graphemes(true)).map(text::width);
    let (rows, _) = widths.fold((1, 0), |(rows, used), width| match used + width > columns {
        true => (rows + 1, width),
        false => (rows, used + width),
    });
    rows
}
