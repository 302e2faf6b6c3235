//! What the engine's cells have no room for: strike, blink, hidden, a line above, the underline's style and colour. A cell that is
//! written in such has a mark behind its text: a character that takes no column and that no program writes, so that it goes
//! wherever the engine moves the cell to, into the history and through other widths, too.

use std::{borrow::Cow, collections::HashMap};

use crate::pen::Pen;

/// Characters that are marks: none is assigned, and all of them take no column.
const FIRST: u32 = 0xe_01f0;
const LAST: u32 = 0xe_0fff;
/// Most marks for looks that differ in an underline's colour; then colours are left out, and there are few looks without.
const COLOURED_MAX: usize = 3000;
/// All marks begin with this byte, and little else does.
const BEGIN: u8 = 0xf3;

/// Table of the looks that marks stand for.
#[derive(Debug, Default)]
pub(crate) struct Marks {
    looks: Vec<Pen>,
    numbers: HashMap<Pen, usize>,
}

/// Whether a character is a mark.
pub(crate) fn is_mark(c: char) -> bool {
    (FIRST..=LAST).contains(&u32::from(c))
}

impl Marks {
    /// Returns the mark of what a pen has beyond the engine's cells; None where it has nothing more.
    pub(crate) fn of(&mut self, pen: &Pen) -> Option<char> {
        let mut look = pen.beyond()?;
        if self.looks.len() >= COLOURED_MAX && !self.numbers.contains_key(&look) {
            look = look.without_underline_color().beyond()?;
        }
        let next = self.looks.len();
        let number = *self.numbers.entry(look).or_insert(next);
        if number == next {
            self.looks.push(look);
        }
        char::from_u32(FIRST + u32::try_from(number).ok()?).filter(|mark| is_mark(*mark))
    }

    /// Returns the whole pen that a cell was written in.
    pub(crate) fn pen(&self, cell: &vt100::Cell) -> Pen {
        Pen::of(cell).with(self.look(cell))
    }

    /// Returns what a cell's look has beyond the engine's part.
    pub(crate) fn look(&self, cell: &vt100::Cell) -> Pen {
        let mark = if has_marks(cell.contents()) { cell.contents().chars().find(|c| is_mark(*c)) } else { None };
        mark.and_then(|mark| self.known(mark)).unwrap_or_default()
    }

    fn known(&self, mark: char) -> Option<Pen> {
        self.looks.get(usize::try_from(u32::from(mark).checked_sub(FIRST)?).ok()?).copied()
    }

    /// Writes text that stands between two sequences of what the engine has drawn, with sequences in the place of its marks.
    pub(crate) fn show(&self, text: &[u8], out: &mut Vec<u8>) {
        let Some(text) = std::str::from_utf8(text).ok().filter(|text| has_marks(text)) else {
            return out.extend_from_slice(text);
        };
        let mut now = Pen::default();
        // Where the text of a cell begins; its mark comes behind it.
        let mut begin = None;
        for c in text.chars() {
            if is_mark(c) {
                let look = self.known(c).unwrap_or_default();
                change(&mut now, look, begin.take().unwrap_or(out.len()), out);
                continue;
            }
            if unicode_width::UnicodeWidthChar::width(c) != Some(0) {
                // The cell before has no mark.
                if let Some(at) = begin {
                    change(&mut now, Pen::default(), at, out);
                }
                begin = Some(out.len());
            }
            out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        }
        change(&mut now, Pen::default(), begin.unwrap_or(out.len()), out);
    }
}

/// Changes to another look before what was written from there on.
fn change(now: &mut Pen, to: Pen, from: usize, out: &mut Vec<u8>) {
    if *now != to {
        let after = out.split_off(from);
        std::mem::replace(now, to).write_end(out);
        to.write_more(out);
        out.extend_from_slice(&after);
    }
}

fn has_marks(text: &str) -> bool {
    text.len() > 4 && text.as_bytes().contains(&BEGIN)
}

/// Returns a text without its marks.
pub(crate) fn without(text: &str) -> Cow<'_, str> {
    if has_marks(text) { text.chars().filter(|c| !is_mark(*c)).collect::<String>().into() } else { text.into() }
}

/// Returns a text with a mark behind the characters of each cell.
pub(crate) fn marked(text: &str, mark: char) -> String {
    let mut out = String::with_capacity(text.len() * 2);
    for (n, c) in text.chars().enumerate() {
        if n > 0 && unicode_width::UnicodeWidthChar::width(c) != Some(0) {
            out.push(mark);
        }
        out.push(c);
    }
    out.push(mark);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sequence::Csi;

    fn pen(sgr: &str) -> Pen {
        let mut pen = Pen::default();
        pen.apply(&Csi::parse(format!("\x1b[{sgr}m").as_bytes()).unwrap());
        pen
    }

    #[test]
    fn marks_take_no_column() {
        assert!(
            (FIRST..=LAST).filter_map(char::from_u32).all(|c| unicode_width::UnicodeWidthChar::width(c) == Some(0))
        );
    }

    #[test]
    fn there_are_never_more_than_there_is_room_for() {
        let mut marks = Marks::default();
        for n in 0..20_000_u32 {
            let style = u8::try_from(1 + n % 5).unwrap();
            let mark = marks.of(&pen(&format!("4:{style};58;2;{};{};0", n / 256, n % 256)));
            match mark.and_then(|mark| marks.known(mark)) {
                Some(look) => assert_eq!(look.underline_style(), style),
                // Without its colour the engine has it.
                None => assert!(style == 1 && n >= 3000, "{n}"),
            }
        }
        assert!(marks.looks.len() <= COLOURED_MAX + 10);
        assert_eq!(marks.of(&pen("1;4;31")), None, "the engine has these");
    }

    #[test]
    fn what_is_drawn_has_sequences_for_them() {
        let mut marks = Marks::default();
        let (struck, curly) = (marks.of(&pen("9")).unwrap(), marks.of(&pen("1;4:3;58;5;2")).unwrap());
        let text = format!("a{}b{}c", marked("xy", struck), marked("e\u{301}", curly));
        let mut out = Vec::new();
        marks.show(text.as_bytes(), &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), "a\x1b[9mxy\x1b[29mb\x1b[4:3;58;5;2me\u{301}\x1b[4;59mc");
        assert_eq!(without(&text), "axybe\u{301}c");
    }
}
