//! Text fields, of one line or several.

use std::ops::Range;

use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

use crate::{
    key::{Code, Key},
    text,
};

/// A text that is being edited. The cursor stands at a boundary between graphemes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Field {
    text: String,
    cursor: usize,
    lines: bool,
}

/// Most bytes that a field holds.
const MAX: usize = 64 * 1024;

impl Field {
    /// An empty field of one line.
    #[must_use]
    pub fn line() -> Self {
        Self::default()
    }

    /// An empty field of several lines.
    #[must_use]
    pub fn lines() -> Self {
        Self { lines: true, ..Self::default() }
    }

    /// Text of the field.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether the field is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// Empties the field.
    pub fn clear(&mut self) {
        self.text.clear();
        self.cursor = 0;
    }

    /// Inserts text at the cursor, without what does no good on a screen.
    pub fn insert(&mut self, foreign: &str) {
        let foreign = foreign.replace("\r\n", "\n").replace('\r', "\n");
        let mut clean = text::many_lines(&foreign, MAX.saturating_sub(self.text.len()));
        if !self.lines {
            clean = clean.replace('\n', " ");
        }
        self.text.insert_str(self.cursor, &clean);
        self.cursor += clean.len();
        // What was inserted may have joined with what follows: stand on a boundary again.
        while !self.at_boundary() {
            self.cursor += self.text[self.cursor..].chars().next().map_or(1, char::len_utf8);
        }
    }

    fn at_boundary(&self) -> bool {
        self.cursor >= self.text.len() || self.text.grapheme_indices(true).any(|(at, _)| at == self.cursor)
    }

    /// Does what an editing key means; returns whether the key means something.
    pub fn key(&mut self, key: Key) -> bool {
        match (key.code, key.ctrl, key.alt) {
            (Code::Char(c), false, false) => self.insert(c.encode_utf8(&mut [0; 4])),
            (Code::Enter, ..) | (Code::Char('j'), true, _) if self.lines => self.insert("\n"),
            (Code::Backspace, true, _) | (Code::Backspace, _, true) | (Code::Char('w'), true, _) => {
                self.cut(self.word_left(), self.cursor)
            }
            (Code::Backspace, ..) | (Code::Char('h'), true, _) => self.cut(self.left(), self.cursor),
            (Code::Delete, true, _) | (Code::Char('d'), _, true) => self.cut(self.cursor, self.word_right()),
            (Code::Delete, ..) | (Code::Char('d'), true, _) => self.cut(self.cursor, self.right()),
            (Code::Char('u'), true, _) => self.cut(self.line_start(), self.cursor),
            (Code::Char('k'), true, _) => self.cut(self.cursor, self.line_end()),
            (Code::Left, true, _) | (Code::Left, _, true) | (Code::Char('b'), _, true) => {
                self.cursor = self.word_left()
            }
            (Code::Left, ..) | (Code::Char('b'), true, _) => self.cursor = self.left(),
            (Code::Right, true, _) | (Code::Right, _, true) | (Code::Char('f'), _, true) => {
                self.cursor = self.word_right()
            }
            (Code::Right, ..) | (Code::Char('f'), true, _) => self.cursor = self.right(),
            (Code::Home, true, _) => self.cursor = 0,
            (Code::End, true, _) => self.cursor = self.text.len(),
            (Code::Home, ..) | (Code::Char('a'), true, _) => self.cursor = self.line_start(),
            (Code::End, ..) | (Code::Char('e'), true, _) => self.cursor = self.line_end(),
            (Code::Up, ..) if self.lines => self.cursor = self.vertical(-1),
            (Code::Down, ..) if self.lines => self.cursor = self.vertical(1),
            _ => return false,
        }
        true
    }

    fn cut(&mut self, from: usize, to: usize) {
        self.text.replace_range(from..to, "");
        self.cursor = from;
        while !self.at_boundary() {
            self.cursor -= self.text[..self.cursor].chars().next_back().map_or(1, char::len_utf8);
        }
    }

    fn left(&self) -> usize {
        self.text[..self.cursor].grapheme_indices(true).next_back().map_or(0, |(at, _)| at)
    }

    fn right(&self) -> usize {
        self.cursor + self.text[self.cursor..].graphemes(true).next().map_or(0, str::len)
    }

    fn word_left(&self) -> usize {
        let before = self.text[..self.cursor].trim_end();
        before.rfind(char::is_whitespace).map_or(0, |at| at + before[at..].chars().next().map_or(1, char::len_utf8))
    }

    fn word_right(&self) -> usize {
        let after = &self.text[self.cursor..];
        let blanks = after.len() - after.trim_start().len();
        self.cursor + blanks + after[blanks..].find(char::is_whitespace).unwrap_or(after.len() - blanks)
    }

    fn line_start(&self) -> usize {
        self.text[..self.cursor].rfind('\n').map_or(0, |at| at + 1)
    }

    fn line_end(&self) -> usize {
        self.text[self.cursor..].find('\n').map_or(self.text.len(), |at| self.cursor + at)
    }

    fn vertical(&self, by: isize) -> usize {
        let start = self.line_start();
        let column = self.text[start..self.cursor].width();
        let line = if by < 0 {
            let Some(end) = start.checked_sub(1) else { return 0 };
            let begin = self.text[..end].rfind('\n').map_or(0, |at| at + 1);
            begin..end
        } else {
            let end = self.line_end();
            if end == self.text.len() {
                return end;
            }
            end + 1..self.text[end + 1..].find('\n').map_or(self.text.len(), |at| end + 1 + at)
        };
        let mut used = 0;
        for (at, grapheme) in self.text[line.clone()].grapheme_indices(true) {
            if used + grapheme.width() > column {
                return line.start + at;
            }
            used += grapheme.width();
        }
        line.end
    }

    /// Rows that show the field in `columns`, and the cursor's row and column. Lines of one-line fields are never broken: they
    /// are cut so that the cursor is seen.
    #[must_use]
    pub fn rows(&self, columns: usize) -> (Vec<String>, (usize, usize)) {
        let columns = columns.max(2);
        if !self.lines {
            let mut from = 0;
            for (at, _) in self.text.grapheme_indices(true) {
                from = at;
                if at >= self.cursor || self.text[at..self.cursor].width() < columns {
                    break;
                }
            }
            let column = self.text.get(from..self.cursor).map_or(0, str::width);
            return (vec![self.text[from..].to_owned()], (0, column));
        }
        let ranges = self.broken(columns);
        let row = ranges.iter().rposition(|r| r.start <= self.cursor).unwrap_or(0);
        let column = ranges.get(row).map_or(0, |r| self.text[r.start..self.cursor].width());
        let rows = ranges.into_iter().map(|r| self.text[r].to_owned()).collect();
        (rows, (row, column.min(columns - 1)))
    }

    /// Ranges of the text that are rows: broken after blanks where there are some. Blanks at a row's end may hang over.
    fn broken(&self, columns: usize) -> Vec<Range<usize>> {
        let (mut rows, mut start, mut used, mut chance) = (Vec::new(), 0, 0, None);
        for (at, grapheme) in self.text.grapheme_indices(true) {
            if grapheme == "\n" {
                rows.push(start..at);
                (start, used, chance) = (at + 1, 0, None);
                continue;
            }
            let blank = grapheme.trim().is_empty();
            if used + grapheme.width() > columns - 1 && at > start && !blank {
                let cut = chance.take().unwrap_or(at);
                rows.push(start..cut);
                (start, used) = (cut, self.text[cut..at].width());
            }
            used += grapheme.width();
            if blank {
                chance = Some(at + grapheme.len());
            }
        }
        rows.push(start..self.text.len());
        rows
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn typed(mut field: Field, keys: &str) -> Field {
        for key in Key::parse_chord(keys).unwrap() {
            field.key(key);
        }
        field
    }

    #[test]
    fn editing_keys_do_what_shells_taught() {
        let mut field = Field::line();
        field.insert("fix the login");
        let field = typed(field, "ctrl-w alt-b X end");
        assert_eq!(field.text(), "fix Xthe ");
        let field = typed(field, "home ctrl-right ctrl-k");
        assert_eq!(field.text(), "fix");
        assert_eq!(typed(field, "backspace left delete").text(), "f");
    }

    #[test]
    fn the_cursor_moves_between_lines_by_columns() {
        let mut field = Field::lines();
        field.insert("long line\nab\nlong again");
        let field = typed(field, "up X up Y");
        assert_eq!(field.text(), "lonYg line\nabX\nlong again");
        assert_eq!(field.rows(80).1, (0, 4));
    }

    #[test]
    fn one_line_stays_one_line_and_shows_the_cursor() {
        let mut field = Field::line();
        field.insert("a\r\nb\x1b");
        assert_eq!(field.text(), "a b");
        field.insert(&"x".repeat(100));
        let (rows, (row, column)) = field.rows(10);
        assert_eq!((rows.len(), row), (1, 0));
        assert!(column < 10 && rows[0].width() == column);
    }

    #[test]
    fn long_lines_are_broken_after_blanks() {
        let mut field = Field::lines();
        field.insert("one two three\nabcdefghijkl");
        assert_eq!(field.rows(9), (["one two ", "three", "abcdefgh", "ijkl"].map(str::to_owned).to_vec(), (3, 4)));
    }

    proptest! {
        #[test]
        fn no_key_breaks_a_field(lines: bool, columns in 0usize..20, ops in prop::collection::vec((0usize..20, any::<bool>(), any::<bool>(), "\\PC{0,3}"), 0..60)) {
            let codes = [Code::Enter, Code::Backspace, Code::Delete, Code::Left, Code::Right, Code::Up, Code::Down,
                Code::Home, Code::End, Code::Char('w'), Code::Char('u'), Code::Char('k'), Code::Char('b'), Code::Char('f'),
                Code::Char('d'), Code::Char('a'), Code::Char('é')];
            let mut field = if lines { Field::lines() } else { Field::line() };
            for (n, ctrl, alt, text) in ops {
                match codes.get(n) {
                    Some(code) => { field.key(Key { code: *code, ctrl, alt, shift: false }); }
                    None => field.insert(&text),
                }
                let (rows, (row, column)) = field.rows(columns);
                prop_assert!(row < rows.len());
                prop_assert!(column <= columns.max(2) + 1);
            }
        }
    }
}
