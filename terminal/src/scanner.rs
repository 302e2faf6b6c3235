//! Cuts a stream of terminal output into text, control characters, sequences and strings, across the pieces in which it comes.

/// Longest sequence (`CSI` and others) that is read, in bytes; a longer one is ignored.
const SEQUENCE_MAX: usize = 256;
/// Longest string (OSC, DCS, ...) that is kept whole, in bytes, copies apart.
const STRING_MAX: usize = 4096;
/// Bytes that begin a copy to the clipboard.
const COPY: &[u8] = b"\x1b]52;";

/// A part of the stream, byte for byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token<'a> {
    /// Text without control characters; characters are whole, and what is none stands as it came.
    Text(&'a [u8]),
    /// A control character, also one inside a sequence; not those that only end a sequence.
    Control(u8),
    /// A sequence from its ESC to its last byte, without control characters inside it.
    Sequence(&'a [u8]),
    /// An OSC, DCS, APC, PM or SOS from its ESC to its terminator; without one where another sequence ended it.
    String(&'a [u8]),
    /// A piece of a string that is too long to be kept whole.
    Part(&'a [u8]),
    /// A copy to the clipboard that was longer than is kept, at its end.
    LongCopy,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Ground,
    /// This number of bytes of a character is still to come.
    Utf8(u8),
    Escape,
    /// An intermediate was read after `ESC`, e.g. of a character set.
    Intermediate,
    Csi,
    String,
    /// An ESC inside a string: its end if a backslash follows.
    StringEscape,
}

/// What happens to a string that has grown too long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Length {
    #[default]
    Kept,
    /// The string is handed on in parts.
    Parts,
    /// The string is forgotten.
    Forgotten,
}

/// Cuts a stream into tokens, and remembers what has begun and not ended.
#[derive(Debug)]
pub struct Scanner {
    state: State,
    kept: Vec<u8>,
    /// The byte after the ESC of a string.
    kind: u8,
    length: Length,
    copy_max: usize,
}

impl Scanner {
    /// A scanner that keeps copies to the clipboard of at most `copy_max` bytes, as they come: base64.
    #[must_use]
    pub fn new(copy_max: usize) -> Self {
        Self { state: State::Ground, kept: Vec::new(), kind: 0, length: Length::Kept, copy_max }
    }

    /// Takes the next bytes of the stream and hands on what is complete.
    pub fn feed(&mut self, bytes: &[u8], mut take: impl FnMut(Token<'_>)) {
        let mut rest = bytes;
        while let Some(&byte) = rest.first() {
            let used = match self.state {
                State::Ground => self.ground(rest, &mut take),
                State::String => self.string(rest, &mut take),
                _ => usize::from(self.step(byte, &mut take)),
            };
            rest = rest.get(used..).unwrap_or_default();
        }
    }

    /// The unfinished end of the stream. Behind a drawn screen it puts the reader's parser where the stream stands, so that the
    /// next bytes mean the same to both. Where more had begun than is kept, it is a string that means nothing.
    #[must_use]
    pub fn unfinished(&self) -> Vec<u8> {
        let mut bytes = match (self.length, self.kind) {
            (Length::Kept, _) => self.kept.clone(),
            (_, b']') => b"\x1b]99999;".to_vec(),
            (_, b'P') => b"\x1bPz".to_vec(),
            (_, kind) => vec![0x1b, kind],
        };
        if self.state == State::StringEscape {
            bytes.push(0x1b);
        }
        bytes
    }

    /// Forgets what has begun: the next byte stands between sequences.
    pub fn forget(&mut self) {
        self.end();
    }

    /// Takes a run of text, or one control character; returns how many bytes it took.
    fn ground(&mut self, bytes: &[u8], take: &mut impl FnMut(Token<'_>)) -> usize {
        let run = bytes.iter().position(|byte| *byte < 0x20 || *byte == 0x7f).unwrap_or(bytes.len());
        if run == 0 {
            match bytes[0] {
                0x1b => self.escape(),
                0x18 | 0x1a => {}
                control => take(Token::Control(control)),
            }
            return 1;
        }
        // A character that a control character cuts off is none.
        let (whole, missing) = if run < bytes.len() { (run, 0) } else { whole_characters(bytes) };
        if whole > 0 {
            take(Token::Text(&bytes[..whole]));
        }
        if missing > 0 {
            self.kept.clear();
            self.kept.extend_from_slice(&bytes[whole..run]);
            self.state = State::Utf8(missing);
        }
        run
    }

    fn escape(&mut self) {
        self.kept.clear();
        self.kept.push(0x1b);
        self.state = State::Escape;
    }

    fn end(&mut self) {
        self.kept.clear();
        self.length = Length::Kept;
        self.state = State::Ground;
    }

    /// Takes one byte outside of text and strings; false: it is to be read again in the new state.
    fn step(&mut self, byte: u8, take: &mut impl FnMut(Token<'_>)) -> bool {
        match (self.state, byte) {
            (State::Utf8(left), 0x80..=0xbf) => {
                self.kept.push(byte);
                self.state = State::Utf8(left - 1);
                if left == 1 {
                    take(Token::Text(&self.kept));
                    self.end();
                }
            }
            (State::Utf8(_), _) => {
                take(Token::Text(&self.kept));
                self.end();
                return false;
            }
            (State::StringEscape, b'\\') => {
                self.string_end(b"\x1b\\", take);
                self.end();
            }
            (State::StringEscape, _) => {
                self.string_end(b"", take);
                self.length = Length::Kept;
                self.escape();
                return false;
            }
            (_, 0x1b) => self.escape(),
            (_, 0x18 | 0x1a) => self.end(),
            (_, 0x00..=0x1f) => take(Token::Control(byte)),
            // DEL, and what is not ASCII, mean nothing inside a sequence.
            (_, 0x7f..) => {}
            (State::Escape, b'[') => self.go_on(byte, State::Csi),
            (State::Escape, b']' | b'P' | b'X' | b'^' | b'_') => {
                self.kind = byte;
                self.go_on(byte, State::String);
            }
            (State::Escape | State::Intermediate, 0x20..=0x2f) => self.go_on(byte, State::Intermediate),
            (State::Csi, 0x20..=0x3f) => self.go_on(byte, State::Csi),
            (_, 0x30..) | (_, 0x20..) => {
                if self.kept.len() < SEQUENCE_MAX {
                    self.kept.push(byte);
                    take(Token::Sequence(&self.kept));
                }
                self.end();
            }
        }
        true
    }

    fn go_on(&mut self, byte: u8, state: State) {
        if self.kept.len() < SEQUENCE_MAX {
            self.kept.push(byte);
        }
        self.state = state;
    }

    /// Takes a run inside a string, and what ends it; returns how many bytes that took.
    fn string(&mut self, bytes: &[u8], take: &mut impl FnMut(Token<'_>)) -> usize {
        let osc = self.kind == b']';
        let ends = |byte: &u8| matches!(byte, 0x1b | 0x18 | 0x1a) || (osc && *byte == 0x07);
        let run = bytes.iter().position(ends).unwrap_or(bytes.len());
        if run > 0 {
            self.keep(&bytes[..run], take);
        }
        match bytes.get(run) {
            None => return run,
            Some(0x1b) => self.state = State::StringEscape,
            Some(0x07) => {
                self.string_end(b"\x07", take);
                self.end();
            }
            Some(cancel) => {
                if self.length == Length::Parts {
                    take(Token::Part(&[*cancel]));
                }
                self.end();
            }
        }
        run + 1
    }

    fn keep(&mut self, bytes: &[u8], take: &mut impl FnMut(Token<'_>)) {
        match self.length {
            Length::Parts => return take(Token::Part(bytes)),
            Length::Forgotten => return,
            Length::Kept => {}
        }
        let fits = self.limit(bytes).saturating_sub(self.kept.len());
        if bytes.len() <= fits {
            return self.kept.extend_from_slice(bytes);
        }
        if self.is_copy(bytes) {
            self.length = Length::Forgotten;
        } else {
            self.length = Length::Parts;
            take(Token::Part(&self.kept));
            take(Token::Part(bytes));
        }
        self.kept = Vec::new();
    }

    fn limit(&self, next: &[u8]) -> usize {
        if self.is_copy(next) { self.copy_max.max(STRING_MAX) } else { STRING_MAX }
    }

    /// Whether what is kept and what comes next are a copy to the clipboard.
    fn is_copy(&self, next: &[u8]) -> bool {
        self.kept.iter().chain(next).take(COPY.len()).eq(COPY)
    }

    fn string_end(&mut self, terminator: &[u8], take: &mut impl FnMut(Token<'_>)) {
        match self.length {
            Length::Kept => {
                self.kept.extend_from_slice(terminator);
                take(Token::String(&self.kept));
            }
            Length::Parts if terminator.is_empty() => take(Token::Part(b"\x1b\\")),
            Length::Parts => take(Token::Part(terminator)),
            Length::Forgotten => take(Token::LongCopy),
        }
    }
}

/// Number of bytes of `text` before an unfinished character at its end, and number of bytes that this lacks.
fn whole_characters(text: &[u8]) -> (usize, u8) {
    for back in 1..=text.len().min(3) {
        let at = text.len() - back;
        let needs = match text[at] {
            0x80..=0xbf => continue,
            0xc2..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf4 => 4,
            _ => 1,
        };
        let missing = needs - back.min(needs);
        return if missing > 0 { (at, u8::try_from(missing).unwrap_or(3)) } else { (text.len(), 0) };
    }
    (text.len(), 0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::text(b"hello", b"")]
    #[case::escape(b"a\x1b", b"\x1b")]
    #[case::csi(b"a\x1b[1;3", b"\x1b[1;3")]
    #[case::csi_done(b"a\x1b[1;31m", b"")]
    #[case::osc(b"\x1b]0;tit", b"\x1b]0;tit")]
    #[case::osc_bell(b"\x1b]0;title\x07", b"")]
    #[case::osc_string_end(b"\x1b]0;title\x1b\\", b"")]
    #[case::osc_half_end(b"\x1b]0;title\x1b", b"\x1b]0;title\x1b")]
    #[case::dcs_bell(b"\x1bPq\x07", b"\x1bPq\x07")]
    #[case::charset(b"\x1b(", b"\x1b(")]
    #[case::charset_done(b"\x1b(B", b"")]
    #[case::utf8(b"a\xe2\x82", b"\xe2\x82")]
    #[case::utf8_done(b"a\xe2\x82\xac", b"")]
    #[case::utf8_broken(b"\xe2\xe2\x82", b"\xe2\x82")]
    #[case::cancelled(b"\x1b[12\x18", b"")]
    #[case::begun_anew(b"\x1b[12\x1b[3", b"\x1b[3")]
    fn what_is_unfinished(#[case] stream: &[u8], #[case] expected: &[u8]) {
        let mut scanner = Scanner::new(0);
        scanner.feed(stream, |_| {});
        assert_eq!(scanner.unfinished(), expected);
    }

    fn tokens(scanner: &mut Scanner, bytes: &[u8]) -> Vec<String> {
        let mut out = Vec::new();
        scanner.feed(bytes, |token| out.push(format!("{token:?}")));
        out
    }

    #[test]
    fn long_strings_come_in_parts_and_long_copies_not_at_all() {
        let mut scanner = Scanner::new(10_000);
        let mut parts = 0;
        scanner.feed(b"\x1bPq", |_| unreachable!());
        scanner.feed(&[b'x'; 9000], |token| parts += if let Token::Part(bytes) = token { bytes.len() } else { 0 });
        assert_eq!((parts, scanner.unfinished()), (9003, b"\x1bPz".to_vec()));
        assert_eq!(tokens(&mut scanner, b"\x1b\\a"), ["Part([27, 92])", "Text([97])"]);
        for (count, kept) in [(9000, true), (10_000, false)] {
            let mut lengths = Vec::new();
            scanner.feed(b"\x1b]52;c;", |_| unreachable!());
            scanner.feed(&vec![b'Y'; count], |_| unreachable!());
            scanner.feed(b"\x07", |token| lengths.push(if let Token::String(all) = token { all.len() } else { 0 }));
            assert_eq!(lengths, [if kept { count + 8 } else { 0 }]);
        }
        assert!(scanner.kept.is_empty());
    }

    fn piece() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            "[a-z\u{e9}\u{20ac}\u{1f600} ]{0,12}".prop_map(String::into_bytes),
            ("\x1b\\[[?<=>]?[0-9;:]{0,9}[ !$]?", "[@-~]").prop_map(|(a, b)| (a + &b).into_bytes()),
            ("\x1b[(#%]?", "[0-9A-Za-z=>]").prop_map(|(a, b)| (a + &b).into_bytes()),
            "\x1b\\][0-9]{1,3};[a-z;?]{0,9}(\x07|\x1b\\\\)".prop_map(String::into_bytes),
            "\x1bP[0-9$+]{0,3}q[a-z]{0,5}\x1b\\\\".prop_map(String::into_bytes),
            "[\r\n\t\x07\x08\x0e\x0f]{1,3}".prop_map(String::into_bytes),
            prop::sample::select(vec![&b"\xff"[..], b"\xe2\x82", b"\xf0\x9f", b"\xc3", b"\x18", b"\x1b"])
                .prop_map(<[u8]>::to_vec),
        ]
    }

    /// What vt100's own parser makes of it.
    #[derive(Default)]
    struct Peer(Vec<String>);

    impl vte::Perform for Peer {
        fn print(&mut self, c: char) {
            self.0.push(format!("print {c}"));
        }
        fn execute(&mut self, byte: u8) {
            if byte != 0x18 && byte != 0x1a {
                self.0.push(format!("control {byte}"));
            }
        }
        fn esc_dispatch(&mut self, intermediates: &[u8], _: bool, byte: u8) {
            // A string's end.
            if byte != b'\\' {
                self.0.push(format!("escape {intermediates:?} {byte}"));
            }
        }
        fn csi_dispatch(&mut self, _: &vte::Params, intermediates: &[u8], _: bool, c: char) {
            self.0.push(format!("csi {intermediates:?} {c}"));
        }
        fn osc_dispatch(&mut self, params: &[&[u8]], _: bool) {
            self.0.push(format!("osc {:?}", params.join(&b';')));
        }
    }

    /// Adds what a token says, in this test's words.
    fn ours(token: Token<'_>, out: &mut Vec<String>) {
        match token {
            Token::Text(bytes) => {
                let text = String::from_utf8_lossy(bytes);
                out.extend(text.chars().map(|c| format!("print {c}")));
            }
            Token::Control(byte) => out.push(format!("control {byte}")),
            Token::Sequence(bytes) => match crate::sequence::Csi::parse(bytes) {
                Some(csi) => {
                    let marks: Vec<u8> = [csi.prefix, csi.intermediate].into_iter().filter(|mark| *mark > 0).collect();
                    out.push(format!("csi {marks:?} {}", csi.last as char));
                }
                None if bytes.starts_with(b"\x1b[") => {}
                None => {
                    let (last, marks) = bytes[1..].split_last().unwrap();
                    // It keeps two.
                    let marks = &marks[..marks.len().min(2)];
                    if *last != b'\\' {
                        out.push(format!("escape {marks:?} {last}"));
                    }
                }
            },
            Token::String(bytes) if bytes[1] == b']' => {
                let text = bytes[2..].strip_suffix(b"\x07").or(bytes[2..].strip_suffix(b"\x1b\\"));
                out.push(format!("osc {:?}", text.unwrap_or(&bytes[2..]).to_vec()));
            }
            _ => {}
        }
    }

    proptest! {
        /// However the stream is cut, it means the same, and the same as to vt100's parser.
        #[test]
        fn all_pieces_are_read_as_vt100_reads_them(pieces in prop::collection::vec(piece(), 0..16), cut in 0_usize..200) {
            let stream = pieces.concat();
            let cut = cut.min(stream.len());
            let (mut whole, mut split) = (Vec::new(), Vec::new());
            Scanner::new(0).feed(&stream, |token| ours(token, &mut whole));
            let mut scanner = Scanner::new(0);
            scanner.feed(&stream[..cut], |token| ours(token, &mut split));
            scanner.feed(&stream[cut..], |token| ours(token, &mut split));
            prop_assert_eq!(&whole, &split);
            let mut peer = Peer::default();
            vte::Parser::new().advance(&mut peer, &stream);
            prop_assert_eq!(whole, peer.0);
        }
    }
}
