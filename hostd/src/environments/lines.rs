//! Foreign output cut into lines that are safe to keep and to draw.

use hostd_core::text;

/// Longest line in bytes; what is longer goes on in the next line.
const LINE: usize = 1000;

/// A line of a program's output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// A line that stays.
    Whole(String),
    /// A line that the program overwrote with the next: how far it has come.
    Passing(String),
}

/// Cuts bytes of output into lines.
#[derive(Default)]
pub(super) struct Lines {
    rest: Vec<u8>,
    /// Whether the last byte was a carriage return: what follows overwrites the line, or ends it.
    returned: bool,
}

impl Lines {
    /// Gives each line that `bytes` complete to `out`; empty ones are left out.
    pub(super) fn push(&mut self, bytes: &[u8], out: &mut impl FnMut(Line)) {
        for &byte in bytes {
            if std::mem::take(&mut self.returned) && byte != b'\n' && byte != b'\r' {
                self.give(Line::Passing, out);
            }
            match byte {
                b'\n' => self.give(Line::Whole, out),
                b'\r' => self.returned = true,
                _ => self.rest.push(byte),
            }
            if self.rest.len() == LINE {
                self.give(Line::Whole, out);
            }
        }
    }

    /// Gives the line that has no end yet to `out`, unless it is empty.
    pub(super) fn finish(&mut self, out: &mut impl FnMut(Line)) {
        self.returned = false;
        self.give(Line::Whole, out);
    }

    fn give(&mut self, as_what: fn(String) -> Line, out: &mut impl FnMut(Line)) {
        let line = text::clean(&String::from_utf8_lossy(&without_escapes(&self.rest)), 4 * LINE);
        self.rest.clear();
        if !line.trim().is_empty() {
            out(as_what(line.trim_end().into()));
        }
    }
}

/// Removes terminal control sequences (`ESC [ ... letter`), of which cleaning would leave the printable part.
fn without_escapes(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut bytes = bytes.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        if byte == 0x1b && bytes.peek() == Some(&b'[') {
            bytes.next();
            while bytes.next_if(|byte| !(0x40..=0x7e).contains(byte)).is_some() {}
            bytes.next();
        } else {
            out.push(byte);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_and_cleaned() {
        let (mut lines, mut got) = (Lines::default(), vec![]);
        let mut out = |line| match line {
            Line::Whole(line) => got.push(line),
            Line::Passing(line) => panic!("{line} does not pass"),
        };
        lines.push(b"one\ntw", &mut out);
        lines.push(b"o\r\n\x1b[1;31mred\x1b[0m\x07 \nrest", &mut out);
        lines.push(&[b'x'; LINE], &mut out);
        lines.finish(&mut out);
        assert_eq!(got[..3], ["one", "two", "red"]);
        assert_eq!((got[3].len(), got[4].len(), got.len()), (LINE, 4, 5));
    }

    #[test]
    fn progress_passes_and_its_end_stays() {
        let (mut lines, mut got) = (Lines::default(), vec![]);
        let mut out = |line| got.push(line);
        for piece in ["Files: 10%\rFiles", ": 99%\r", "Files: 100%, done.\r", "\nend\r"] {
            lines.push(piece.as_bytes(), &mut out);
        }
        lines.finish(&mut out);
        let (passing, whole) = (|line: &str| Line::Passing(line.into()), |line: &str| Line::Whole(line.into()));
        assert_eq!(got, [passing("Files: 10%"), passing("Files: 99%"), whole("Files: 100%, done."), whole("end")]);
    }
}
