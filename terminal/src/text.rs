//! Text, as it is written into cells.

use std::borrow::Cow;

use unicode_width::UnicodeWidthChar as _;

use crate::{machine::Machine, marks};

/// Stands in the engine's cells for U+FFFD, which the engine leaves out. No program writes it: it is no character.
pub(crate) const STAND_IN: char = '\u{fdd0}';

/// Text of a cell, as it is to be shown.
#[must_use]
pub fn shown(cell: &vt100::Cell) -> Cow<'_, str> {
    let contents = cell.contents();
    if contents.starts_with(STAND_IN) { "\u{fffd}".into() } else { marks::without(contents) }
}

/// Replaces the stand-in in bytes that draw cells, as [`shown`] does.
pub(crate) fn show(drawn: &mut [u8]) {
    let (stand_in, shown) = ("\u{fdd0}".as_bytes(), "\u{fffd}".as_bytes());
    for at in 0..drawn.len().saturating_sub(2) {
        if let Some(place) = drawn.get_mut(at..at + 3).filter(|place| *place == stand_in) {
            place.copy_from_slice(shown);
        }
    }
}

impl Machine {
    pub(crate) fn text(&mut self, bytes: &[u8]) {
        let text = match std::str::from_utf8(bytes) {
            Ok(text) if text.is_ascii() => Cow::Borrowed(text),
            _ => Cow::Owned(String::from_utf8_lossy(bytes).chars().filter(|c| is_text(*c)).map(stand_in).collect()),
        };
        let text = if self.charsets.is_plain() {
            text
        } else {
            text.chars().map(|c| self.charsets.map(c)).collect::<String>().into()
        };
        self.write(&text);
    }

    /// Writes text into cells as it is.
    fn write(&mut self, text: &str) {
        let Some(last) = text.chars().next_back() else { return };
        self.last = if last == STAND_IN { Some('\u{fffd}') } else { Some(last) };
        let fills = self.pen.fills() && self.cursor().0 == self.region.1;
        let mark = self.marks.of(&self.pen);
        if !self.modes.insert && self.modes.wraps() && !fills {
            return match mark {
                None => self.tell(text.as_bytes()),
                Some(mark) => self.tell(marks::marked(text, mark).as_bytes()),
            };
        }
        for c in text.chars() {
            self.character(c, mark, fills);
        }
    }

    fn character(&mut self, c: char, mark: Option<char>, fills: bool) {
        let (columns, _) = self.size();
        let width = u16::try_from(c.width().unwrap_or(1)).unwrap_or(1);
        let (row, column) = self.cursor();
        let mut wraps = width > 0 && column + width > columns;
        if wraps && !self.modes.wraps() {
            self.say(format_args!("\x1b[{}G", columns.saturating_sub(width) + 1));
            wraps = false;
        }
        if self.modes.insert && width > 0 {
            if wraps {
                self.tell(b"\r");
                self.line_feed(false);
            }
            self.say(format_args!("\x1b[{width}@"));
        }
        let cell = [Some(c), mark.filter(|_| width > 0)].into_iter().flatten().collect::<String>();
        self.tell(cell.as_bytes());
        if !self.modes.wraps() {
            self.stop_waiting();
        }
        // The row that scrolling brought has the colour of the pen.
        if fills && wraps && self.cursor().0 == row && self.cursor().1 < columns {
            self.erase(b"\x1b[K");
        }
    }

    /// Carries out REP, as far as the row goes.
    pub(crate) fn repeat(&mut self, count: u16) {
        let Some(last) = self.last else { return };
        let (columns, _) = self.size();
        let room = columns.saturating_sub(self.cursor().1);
        let text: String = std::iter::repeat_n(stand_in(last), count.min(room).into()).collect();
        self.write(&text);
    }
}

/// No program writes our marks.
fn is_text(c: char) -> bool {
    !c.is_control() && !marks::is_mark(c)
}

pub(crate) fn stand_in(c: char) -> char {
    if c == '\u{fffd}' { STAND_IN } else { c }
}
