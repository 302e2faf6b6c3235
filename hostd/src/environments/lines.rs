//! Foreign output cut into lines that are safe to keep and to draw.

use hostd_core::text;

/// Longest line; what is longer goes on in the next.
const LINE: usize = 1000;

/// Cuts bytes into lines. A carriage return ends a line, too: programs use it to draw progress.
#[derive(Default)]
pub(super) struct Lines {
    rest: Vec<u8>,
}

impl Lines {
    /// Gives each line that `bytes` complete to `out`; empty ones are left out.
    pub(super) fn push(&mut self, bytes: &[u8], out: &mut impl FnMut(String)) {
        for &byte in bytes {
            if byte == b'\n' || byte == b'\r' {
                self.finish(out);
            } else {
                self.rest.push(byte);
                if self.rest.len() == LINE {
                    self.finish(out);
                }
            }
        }
    }

    /// Gives what is left.
    pub(super) fn finish(&mut self, out: &mut impl FnMut(String)) {
        let line = text::clean(&String::from_utf8_lossy(&without_escapes(&self.rest)), 4 * LINE);
        self.rest.clear();
        if !line.trim().is_empty() {
            out(line.trim_end().into());
        }
    }
}

/// Without terminal control sequences (`ESC [ ... letter`): of them, cleaning would leave the printable part.
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
        let mut out = |line| got.push(line);
        lines.push(b"one\ntw", &mut out);
        lines.push(b"o\r\n\x1b[1;31mred\x1b[0m\x07 \nrest", &mut out);
        lines.push(&[b'x'; LINE], &mut out);
        lines.finish(&mut out);
        assert_eq!(got[..3], ["one", "two", "red"]);
        assert_eq!((got[3].len(), got[4].len(), got.len()), (LINE, 4, 5));
    }
}
