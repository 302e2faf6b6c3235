//! Finds our own keys in what the user types: the prefix Ctrl-] and the key after it.

/// Meaning of what was typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Typed {
    /// Bytes for the agent.
    Input(Vec<u8>),
    /// The user leaves.
    Detach,
    /// The user wants to become the writer.
    Take,
    /// The user wants what the agent offers copied.
    Copy,
    /// The user wants help for the keys; also after an unknown one.
    Help,
}

/// Remembers a prefix, a paste and the begin of a bracket between reads.
#[derive(Debug, Default)]
pub(crate) struct Chords {
    prefix: bool,
    paste: bool,
    /// Bytes that may be the begin of a bracket.
    begun: Vec<u8>,
    /// Number of those bytes that were passed on, since they may be a key as well.
    passed: usize,
}

/// Bytes that terminals put around a paste: before it, and behind it.
const PASTE: &[u8] = b"\x1b[200~";
const PASTE_END: &[u8] = b"\x1b[201~";

/// Byte of Ctrl-], the prefix.
const PREFIX: u8 = 0x1d;
const ESCAPE: u8 = 0x1b;

/// A key as terminals encode it, plain or as `CSI u` where the agent asked for that (kitty's protocol, modifyOtherKeys).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Key {
    Prefix,
    /// A character without Ctrl or Alt.
    Char(char),
    /// A key that was let go, or a modifier alone: part of typing another key.
    Silent,
    Other,
}

impl Chords {
    /// Finds what `bytes` mean, in order. Inside a paste no key is this program's. `brackets`: the agent wants pastes in
    /// brackets; else these are taken off. Another key sequence that is split between two calls is passed on as input.
    pub(crate) fn feed(&mut self, bytes: &[u8], brackets: bool) -> Vec<Typed> {
        let mut typed = Vec::new();
        let mut input = Vec::new();
        let bytes = [std::mem::take(&mut self.begun).as_slice(), bytes].concat();
        let mut rest = bytes.as_slice();
        let passed = std::mem::take(&mut self.passed);
        if let Some(after) = rest.strip_prefix(&PASTE[passed..]).filter(|_| passed > 0) {
            input.extend_from_slice(if brackets { &PASTE[passed..] } else { b"" });
            (self.paste, self.prefix) = (true, false);
            rest = after;
        }
        while !rest.is_empty() {
            let (bracket, least) = if self.paste { (PASTE_END, 1) } else { (PASTE, 3) };
            if let Some(after) = rest.strip_prefix(bracket) {
                input.extend_from_slice(if brackets { bracket } else { b"" });
                (self.paste, self.prefix) = (!self.paste, false);
                rest = after;
                continue;
            }
            if bracket.starts_with(rest) {
                if rest.len() >= least {
                    self.begun = rest.to_vec();
                    break;
                }
                // A lone ESC and Alt-[ are keys: they do not wait.
                self.passed = rest.len();
            }
            if self.paste {
                let run = rest[1..].iter().position(|byte| *byte == ESCAPE).map_or(rest.len(), |at| at + 1);
                input.extend_from_slice(&rest[..run]);
                rest = &rest[run..];
                continue;
            }
            let (key, length) = first_key(rest);
            let (raw, after) = rest.split_at(length);
            rest = after;
            if !self.prefix && key != Key::Prefix {
                input.extend_from_slice(raw);
                continue;
            }
            if !std::mem::replace(&mut self.prefix, true) || key == Key::Silent {
                continue;
            }
            self.prefix = false;
            let action = match key {
                Key::Prefix => {
                    input.extend_from_slice(raw);
                    continue;
                }
                Key::Char('d' | 'D') => Typed::Detach,
                Key::Char('w' | 'W') => Typed::Take,
                Key::Char('c' | 'C') => Typed::Copy,
                _ => Typed::Help,
            };
            if !input.is_empty() {
                typed.push(Typed::Input(std::mem::take(&mut input)));
            }
            typed.push(action);
        }
        if !input.is_empty() {
            typed.push(Typed::Input(input));
        }
        typed
    }
}

/// The key that `bytes` begin with, and its length. `bytes` is not empty.
fn first_key(bytes: &[u8]) -> (Key, usize) {
    match bytes {
        [PREFIX, ..] => (Key::Prefix, 1),
        [ESCAPE, b'[', rest @ ..] => match rest.iter().position(|byte| !(b'0'..=b';').contains(byte)) {
            Some(end @ 1..=24) if rest[end] == b'u' || rest[end] == b'~' => (encoded(&rest[..end], rest[end]), end + 3),
            _ => (Key::Other, 2),
        },
        [byte @ 0x20..=0x7e, ..] => (Key::Char(char::from(*byte)), 1),
        _ => (Key::Other, 1),
    }
}

/// Key in the parameters `code[:shifted[:base]];modifiers[:event]` before `u`, or `27;modifiers;code` before `~`.
fn encoded(parameters: &[u8], end: u8) -> Key {
    let mut fields = parameters.split(|byte| *byte == b';').map(|field| {
        let mut parts = field.split(|byte| *byte == b':').map(number);
        [parts.next().flatten(), parts.next().flatten()]
    });
    let (first, second, third) = (fields.next(), fields.next(), fields.next());
    let ([code, shifted], [modifiers, event]) = match (end, first) {
        (b'~', Some([Some(27), _])) => (third.unwrap_or_default(), second.unwrap_or_default()),
        (b'u', Some(code)) => (code, second.unwrap_or_default()),
        _ => return Key::Other,
    };
    // Shift 1, Alt 2, Ctrl 4, Super 8, Hyper 16, Meta 32, Caps Lock 64, Num Lock 128, all plus 1.
    let modifiers = modifiers.unwrap_or(1).saturating_sub(1) & 0x3f;
    match (code, modifiers) {
        (_, _) if event == Some(3) => Key::Silent,
        (Some(57_441..=57_454), _) => Key::Silent,
        (Some(93), 4) => Key::Prefix,
        (Some(code), 0 | 1) => {
            shifted.filter(|_| modifiers == 1).or(Some(code)).and_then(char::from_u32).map_or(Key::Other, Key::Char)
        }
        _ => Key::Other,
    }
}

fn number(digits: &[u8]) -> Option<u32> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn input(bytes: &[u8]) -> Typed {
        Typed::Input(bytes.to_vec())
    }

    #[rstest]
    #[case(b"ls\r\x03\xc3\x9f", vec![input(b"ls\r\x03\xc3\x9f")])]
    #[case(b"\x1dd", vec![Typed::Detach])]
    #[case(b"a\x1ddb", vec![input(b"a"), Typed::Detach, input(b"b")])]
    #[case(b"\x1d\x1d", vec![input(b"\x1d")])]
    #[case(b"a\x1d\x1db", vec![input(b"a\x1db")])]
    #[case(b"\x1dw\x1d?", vec![Typed::Take, Typed::Help])]
    #[case(b"\x1dx", vec![Typed::Help])]
    #[case(b"\x1b[A\x1b[1;5C\x1b[3~\x1b", vec![input(b"\x1b[A\x1b[1;5C\x1b[3~\x1b")])]
    // Kitty's protocol, with events and Num Lock, and modifyOtherKeys.
    #[case(b"\x1b[93;5u\x1b[100u", vec![Typed::Detach])]
    #[case(b"\x1b[93;5u\x1b[93;5:3ud", vec![Typed::Detach])]
    #[case(b"\x1b[93;133ud", vec![Typed::Detach])]
    #[case(b"\x1b[57442;5u\x1b[93;5u\x1b[57442;1:3u\x1b[47:63;2u", vec![input(b"\x1b[57442;5u"), Typed::Help])]
    #[case(b"\x1b[27;5;93~d", vec![Typed::Detach])]
    #[case(b"\x1b[93;5u\x1b[93;5u", vec![input(b"\x1b[93;5u")])]
    #[case(b"\x1b[93;1u", vec![input(b"\x1b[93;1u")])]
    #[case(b"\x1b[\x1b[;;;u\x1b[99999999999999u", vec![input(b"\x1b[\x1b[;;;u\x1b[99999999999999u")])]
    fn keys_are_found(#[case] bytes: &[u8], #[case] want: Vec<Typed>) {
        assert_eq!(Chords::default().feed(bytes, true), want);
    }

    #[test]
    fn a_chord_may_come_in_two_reads() {
        let mut chords = Chords::default();
        assert_eq!(chords.feed(b"a\x1d", true), [input(b"a")]);
        assert_eq!(chords.feed(b"d", true), [Typed::Detach]);
        assert_eq!(chords.feed(b"d", true), [input(b"d")]);
    }

    #[test]
    fn a_paste_has_no_chords_however_it_is_cut() {
        let stream = b"a\x1b[200~one\x1dd two\x1b[A\x1b[201~b\x1dd";
        for (brackets, expected) in [(true, &stream[..stream.len() - 2]), (false, b"aone\x1dd two\x1b[Ab".as_slice())] {
            for cut in 0..stream.len() {
                let mut chords = Chords::default();
                let mut typed = chords.feed(&stream[..cut], brackets);
                typed.extend(chords.feed(&stream[cut..], brackets));
                assert_eq!(typed.pop(), Some(Typed::Detach), "cut at {cut}");
                let bytes: Vec<u8> = typed
                    .into_iter()
                    .flat_map(|typed| match typed {
                        Typed::Input(bytes) => bytes,
                        other => panic!("{other:?}, cut at {cut}"),
                    })
                    .collect();
                // Of a bracket that is cut behind its ESC or `ESC [` these go on as keys.
                if brackets || !(2..4).contains(&cut) {
                    assert_eq!(bytes, expected, "cut at {cut}");
                }
            }
        }
    }

    #[test]
    fn escape_and_alt_keys_do_not_wait() {
        for key in [&b"\x1b"[..], b"\x1b["] {
            assert_eq!(Chords::default().feed(key, true), [input(key)]);
        }
    }
}
