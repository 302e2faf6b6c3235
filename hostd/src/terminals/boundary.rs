//! Where a stream of terminal output stands between its sequences.

/// Longest unfinished sequence that is remembered; a longer one (a large OSC string) is not worth it.
const MAX: usize = 4096;

/// The unfinished end of a stream: an escape sequence or a UTF-8 character that has begun. Appended to a drawn screen it puts
/// the reader's parser where the stream stands, so that the next bytes mean the same to both.
#[derive(Debug, Default)]
pub(super) struct Tail {
    state: State,
    bytes: Vec<u8>,
    lost: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Ground,
    /// So many bytes of a character are still to come.
    Utf8(u8),
    Escape,
    /// After `ESC` and an intermediate, e.g. a character set.
    Intermediate,
    Csi,
    /// OSC, DCS, APC, PM, SOS: until BEL or ST.
    Text,
    /// An ESC inside such a text: ST if a backslash follows.
    TextEscape,
}

impl Tail {
    /// The next bytes of the stream.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            let state = next(self.state, byte);
            match state {
                State::Ground => {
                    self.bytes.clear();
                    self.lost = false;
                }
                _ => self.keep(byte, fresh(self.state, state, byte)),
            }
            self.state = state;
        }
    }

    /// What has begun and not ended; empty between sequences.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn keep(&mut self, byte: u8, fresh: bool) {
        if fresh {
            self.bytes.clear();
            self.lost = false;
        }
        if self.lost || self.bytes.len() >= MAX {
            self.bytes.clear();
            self.lost = true;
        } else {
            self.bytes.push(byte);
        }
    }
}

/// Whether this byte begins something new, rather than going on with what had begun.
fn fresh(before: State, now: State, byte: u8) -> bool {
    let begins = now == State::Escape || (byte >= 0xc2 && matches!(now, State::Utf8(_)));
    before == State::Ground || (begins && before != State::Text)
}

fn next(state: State, byte: u8) -> State {
    match (state, byte) {
        (State::Text, 0x1b) => State::TextEscape,
        (State::Text, 0x07 | 0x18 | 0x1a) => State::Ground,
        (State::Text, _) => State::Text,
        (_, 0x1b) => State::Escape,
        (State::TextEscape, b'\\') | (_, 0x18 | 0x1a) => State::Ground,
        (State::Escape | State::TextEscape, b'[') => State::Csi,
        (State::Escape | State::TextEscape, b']' | b'P' | b'_' | b'^' | b'X') => State::Text,
        (State::Escape | State::TextEscape | State::Intermediate, 0x20..=0x2f) => State::Intermediate,
        (State::Csi, 0x20..=0x3f) => State::Csi,
        // Control characters are carried out in the middle of a sequence.
        (State::Escape | State::Intermediate | State::Csi, 0x00..=0x1f) => state,
        (State::Utf8(2..), 0x80..=0xbf) => match state {
            State::Utf8(left) => State::Utf8(left - 1),
            other => other,
        },
        (_, 0xc2..=0xdf) => State::Utf8(1),
        (_, 0xe0..=0xef) => State::Utf8(2),
        (_, 0xf0..=0xf4) => State::Utf8(3),
        _ => State::Ground,
    }
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
    #[case::charset(b"\x1b(", b"\x1b(")]
    #[case::charset_done(b"\x1b(B", b"")]
    #[case::utf8(b"a\xe2\x82", b"\xe2\x82")]
    #[case::utf8_done(b"a\xe2\x82\xac", b"")]
    #[case::utf8_broken(b"\xe2\xe2\x82", b"\xe2\x82")]
    #[case::cancelled(b"\x1b[12\x18", b"")]
    #[case::begun_anew(b"\x1b[12\x1b[3", b"\x1b[3")]
    fn tails(#[case] stream: &[u8], #[case] expected: &[u8]) {
        let mut tail = Tail::default();
        tail.feed(stream);
        assert_eq!(tail.bytes(), expected);
    }

    #[test]
    fn a_long_one_is_let_go() {
        let mut tail = Tail::default();
        tail.feed(b"\x1b]52;c;");
        tail.feed(&[b'a'; 10_000]);
        assert_eq!(tail.bytes(), b"");
        tail.feed(b"\x07\x1b[");
        assert_eq!(tail.bytes(), b"\x1b[");
    }

    fn piece() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            "[a-z\u{e9}\u{20ac}\u{1f600} ]{0,12}".prop_map(String::into_bytes),
            Just(b"\x1b[31m".to_vec()),
            Just(b"\x1b[2;5H".to_vec()),
            Just(b"\x1b]0;a title\x07".to_vec()),
            Just(b"\x1b]0;another\x1b\\".to_vec()),
            Just(b"\r\n".to_vec()),
        ]
    }

    proptest! {
        /// Wherever the stream is cut: who joins there with the screen and the tail sees what the others see.
        #[test]
        fn joining_anywhere_shows_the_same(pieces in proptest::collection::vec(piece(), 0..20), cut in 0_usize..400) {
            let stream = pieces.concat();
            let cut = cut.min(stream.len());
            let size = (std::num::NonZeroU16::new(10).unwrap(), std::num::NonZeroU16::new(40).unwrap());
            let mut whole = vt100::Parser::new(size.0, size.1, 0);
            let mut tail = Tail::default();
            whole.process(&stream[..cut]);
            tail.feed(&stream[..cut]);
            let mut joined = vt100::Parser::new(size.0, size.1, 0);
            joined.process(whole.screen().state_formatted().as_bytes());
            joined.process(tail.bytes());
            whole.process(&stream[cut..]);
            joined.process(&stream[cut..]);
            prop_assert_eq!(whole.screen().contents(), joined.screen().contents());
        }
    }
}
