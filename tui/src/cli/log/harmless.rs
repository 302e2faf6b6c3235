//! Terminal output reduced to text and colours: what an agent printed days ago must not set modes, ask the terminal
//! questions that it would answer into the shell, or write to the clipboard now.

/// A filter of bytes; it keeps its place between calls.
#[derive(Debug, Default)]
pub(crate) struct Harmless {
    state: State,
    /// Parameters of the control sequence being read; at most [`PARAMETERS_MAX`].
    parameters: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Text,
    /// After ESC.
    Escape,
    /// In a control sequence (CSI).
    Control,
    /// In a string (OSC, DCS, APC, PM, SOS) that ends with ST or BEL.
    String,
    /// After ESC in a string.
    StringEscape,
}

/// Longest colour sequence passed on.
const PARAMETERS_MAX: usize = 64;

impl Harmless {
    /// What of `bytes` may be shown.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(bytes.len());
        for &byte in bytes {
            self.state = self.step(byte, &mut out);
        }
        out
    }

    fn step(&mut self, byte: u8, out: &mut Vec<u8>) -> State {
        match (self.state, byte) {
            (State::String, 0x1b) => State::StringEscape,
            (State::String, 0x07) => State::Text,
            (State::String, _) => State::String,
            (State::StringEscape, b'\\') => State::Text,
            (_, 0x1b) => State::Escape,
            (State::Text, _) => text(byte, out),
            (State::Escape | State::StringEscape, b'[') => {
                self.parameters.clear();
                State::Control
            }
            (State::Escape | State::StringEscape, b']' | b'P' | b'X' | b'^' | b'_') => State::String,
            // Intermediates, as in ESC ( B, come before the byte that ends it.
            (State::Escape | State::StringEscape, 0x20..=0x2f) => State::Escape,
            (State::Escape | State::StringEscape, _) => State::Text,
            (State::Control, 0x20..=0x3f) => {
                self.parameters.push(byte);
                self.parameters.truncate(PARAMETERS_MAX);
                State::Control
            }
            (State::Control, _) => self.control(byte, out),
        }
    }

    fn control(&self, end: u8, out: &mut Vec<u8>) -> State {
        let plain = self.parameters.iter().all(|byte| byte.is_ascii_digit() || b";:".contains(byte));
        if end == b'm' && plain && self.parameters.len() < PARAMETERS_MAX {
            out.extend_from_slice(b"\x1b[");
            out.extend_from_slice(&self.parameters);
            out.push(b'm');
        }
        State::Text
    }
}

fn text(byte: u8, out: &mut Vec<u8>) -> State {
    // Everything from 0x80 on is passed, as UTF-8 needs it; terminals in UTF-8 mode take no C1 controls from single bytes.
    if byte >= 0x20 && byte != 0x7f || b"\n\r\t".contains(&byte) {
        out.push(byte);
    }
    State::Text
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(b"plain \xc3\x9f\r\n\tx", b"plain \xc3\x9f\r\n\tx")]
    #[case(b"\x1b[1;31mred\x1b[0m", b"\x1b[1;31mred\x1b[0m")]
    #[case(b"a\x1b[2J\x1b[6nb\x1b[?1049hc", b"abc")]
    #[case(b"a\x1b]52;c;ZXZpbA==\x07b\x1b]0;t\x1b\\c", b"abc")]
    #[case(b"a\x1bP+q544e\x1b\\b", b"ab")]
    #[case(b"a\x1b(Bb\x1b7c\x07\x08", b"abc")]
    #[case(b"\x1b[>4;2m\x1b[?1mx", b"x")]
    fn only_text_and_colours_pass(#[case] bytes: &[u8], #[case] want: &[u8]) {
        assert_eq!(Harmless::default().feed(bytes), want);
        let mut byte_by_byte = Harmless::default();
        let split: Vec<u8> = bytes.iter().flat_map(|byte| byte_by_byte.feed(&[*byte])).collect();
        assert_eq!(split, want);
    }
}
