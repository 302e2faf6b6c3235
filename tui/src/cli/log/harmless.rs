//! Terminal output reduced to text, colours and erasing in a line: what an agent printed days ago must not set modes, ask the
//! terminal questions that it would answer into the shell, or write to the clipboard now.

use pilothouse_text::{Joiners, Sieve};

/// A filter of bytes; it keeps its place between calls. Text is UTF-8; what is not becomes U+FFFD.
#[derive(Debug)]
pub(crate) struct Harmless {
    state: State,
    sieve: Sieve,
    /// Parameters of the control sequence being read; at most [`PARAMETERS_MAX`] bytes.
    parameters: String,
    /// The beginning of a character whose end has not come yet.
    begun: Vec<u8>,
}

impl Default for Harmless {
    fn default() -> Self {
        let sieve = Sieve::new(Joiners::OfEmojiToo);
        Self { state: State::default(), sieve, parameters: String::new(), begun: Vec::new() }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Text,
    /// An ESC was read.
    Escape,
    /// A control sequence (CSI) is being read.
    Control,
    /// A string (OSC, DCS, APC, PM, SOS) is being read, which ends with ST or BEL.
    String,
    /// An ESC was read in a string.
    StringEscape,
}

/// Longest parameters of a sequence that is passed on, in bytes.
const PARAMETERS_MAX: usize = 64;

impl Harmless {
    /// Returns what of `bytes` may be shown.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut input = std::mem::take(&mut self.begun);
        input.extend_from_slice(bytes);
        let mut out = String::with_capacity(input.len());
        let mut at = 0;
        for chunk in input.utf8_chunks() {
            for c in chunk.valid().chars() {
                self.state = self.step(c, &mut out);
            }
            at += chunk.valid().len() + chunk.invalid().len();
            let unfinished = std::str::from_utf8(chunk.invalid()).is_err_and(|error| error.error_len().is_none());
            if unfinished && at == input.len() {
                self.begun = chunk.invalid().to_vec();
            } else if !chunk.invalid().is_empty() {
                self.state = self.step(char::REPLACEMENT_CHARACTER, &mut out);
            }
        }
        out.into_bytes()
    }

    fn step(&mut self, c: char, out: &mut String) -> State {
        match (self.state, c) {
            // CAN and SUB end whatever was begun.
            (_, '\x18' | '\x1a') | (State::String, '\x07' | '\u{9c}') | (State::StringEscape, '\\') => State::Text,
            (State::String, '\x1b') => State::StringEscape,
            (State::String, _) => State::String,
            (_, '\x1b') => State::Escape,
            // A C1 control is ESC and a letter in one, also where it is coded as UTF-8.
            (_, '\u{80}'..='\u{9f}') => self.escape(char::from_u32(u32::from(c) - 0x40).unwrap_or_default()),
            (State::Text, _) => self.text(c, out),
            (State::Escape | State::StringEscape, _) => self.escape(c),
            (State::Control, ' '..='?') => {
                if self.parameters.len() < PARAMETERS_MAX {
                    self.parameters.push(c);
                }
                State::Control
            }
            (State::Control, _) => self.control(c, out),
        }
    }

    fn text(&mut self, c: char, out: &mut String) -> State {
        out.extend(self.sieve.pass(c));
        if matches!(c, '\n' | '\r' | '\t') {
            out.push(c);
        }
        State::Text
    }

    fn escape(&mut self, c: char) -> State {
        match c {
            '[' => {
                self.parameters.clear();
                State::Control
            }
            ']' | 'P' | 'X' | '^' | '_' => State::String,
            // Intermediates, as in ESC ( B, come before the byte that ends it.
            ' '..='/' => State::Escape,
            _ => State::Text,
        }
    }

    /// Writes a control sequence that may pass: colours, and erase-in-line, without which what draws its progress over itself
    /// would be glued together.
    fn control(&self, end: char, out: &mut String) -> State {
        let parameters = self.parameters.as_str();
        let plain = parameters.bytes().all(|byte| byte.is_ascii_digit() || b";:".contains(&byte));
        let colour = end == 'm' && plain && parameters.len() < PARAMETERS_MAX;
        if colour || end == 'K' && matches!(parameters, "" | "0" | "1" | "2") {
            out.push_str("\x1b[");
            out.push_str(parameters);
            out.push(end);
        }
        State::Text
    }
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
    #[case::erase_in_line(b"10%\r\x1b[K20%\r\x1b[2Kdone\x1b[3K\x1b[?K\x1b[1;1Kx", b"10%\r\x1b[K20%\r\x1b[2Kdonex")]
    #[case::c1_as_utf8("a\u{9b}2Jb\u{9d}52;c;ZXZpbA==\u{9c}c\u{90}+q\u{9c}d\u{85}e\u{9b}31mf".as_bytes(), b"abcde\x1b[31mf")]
    #[case::c1_as_bytes(b"a\x9b2Jb\x84", "a\u{fffd}2Jb\u{fffd}".as_bytes())]
    #[case::unseen("a\u{202e}b\u{2066}c\u{200b}d\u{e0041}e\u{61c}".as_bytes(), b"abcde")]
    #[case::joined("\u{645}\u{6cc}\u{200c}\u{62e} \u{1f469}\u{200d}\u{1f4bb} a\u{200d}b".as_bytes(), "\u{645}\u{6cc}\u{200c}\u{62e} \u{1f469}\u{200d}\u{1f4bb} ab".as_bytes())]
    #[case::broken(b"\xc3(\xe2\x82", "\u{fffd}(".as_bytes())]
    #[case::cancelled(b"a\x1b]52;c\x18b\x1b[31\x1ac", b"abc")]
    fn only_text_and_colours_pass(#[case] bytes: &[u8], #[case] want: &[u8]) {
        assert_eq!(Harmless::default().feed(bytes), want);
        let mut byte_by_byte = Harmless::default();
        let split: Vec<u8> = bytes.iter().flat_map(|byte| byte_by_byte.feed(&[*byte])).collect();
        assert_eq!(split, want);
    }
}
