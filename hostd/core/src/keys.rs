//! Keys by their names, and the bytes that a terminal sends for them.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A key as people write it: `Esc`, `Up`, `S-Tab`, `C-c`, `M-x`, `F5`, `y`. Kept by its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Key {
    code: Code,
    ctrl: bool,
    alt: bool,
    shift: bool,
}

/// A key without its modifiers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Code {
    Char(char),
    /// A named key, by its place in [`NAMED`].
    Named(usize),
    F(u8),
}

/// Bytes that a named key sends.
enum Sends {
    Byte(u8),
    /// `ESC [ x`, or `ESC O x` where the program asked for application cursor keys.
    Cursor(u8),
    /// `ESC [ n ~`, with this number as n.
    Tilde(u8),
}

/// The named keys: for each its names, its own first, and what it sends.
const NAMED: &[(&[&str], Sends)] = &[
    (&["Enter", "Return"], Sends::Byte(b'\r')),
    (&["Esc", "Escape"], Sends::Byte(0x1b)),
    (&["Tab"], Sends::Byte(b'\t')),
    (&["Space"], Sends::Byte(b' ')),
    (&["Backspace", "BSpace"], Sends::Byte(0x7f)),
    (&["Up"], Sends::Cursor(b'A')),
    (&["Down"], Sends::Cursor(b'B')),
    (&["Right"], Sends::Cursor(b'C')),
    (&["Left"], Sends::Cursor(b'D')),
    (&["Home"], Sends::Cursor(b'H')),
    (&["End"], Sends::Cursor(b'F')),
    (&["Insert", "Ins"], Sends::Tilde(2)),
    (&["Delete", "Del"], Sends::Tilde(3)),
    (&["PageUp", "PgUp"], Sends::Tilde(5)),
    (&["PageDown", "PgDn"], Sends::Tilde(6)),
];
/// Place of Tab in [`NAMED`].
const TAB: usize = 2;
/// Names of the keys in [`NAMED`] that choose and do not decide.
const CHOOSES: [&str; 10] = ["Tab", "Backspace", "Up", "Down", "Right", "Left", "Home", "End", "PageUp", "PageDown"];
/// Numbers that F5 to F12 send, as `ESC [ n ~`.
const FUNCTIONS: [u8; 8] = [15, 17, 18, 19, 20, 21, 23, 24];

impl Key {
    /// The bytes that xterm sends for it. `application`: the program asked for application cursor keys.
    #[must_use]
    pub fn bytes(&self, application: bool) -> Vec<u8> {
        let modifiers = 1 + u8::from(self.shift) + 2 * u8::from(self.alt) + 4 * u8::from(self.ctrl);
        let tilde = |number: u8| match modifiers {
            1 => format!("\x1b[{number}~").into_bytes(),
            _ => format!("\x1b[{number};{modifiers}~").into_bytes(),
        };
        let letter = |letter: u8, single: u8| match modifiers {
            1 => vec![0x1b, single, letter],
            _ => format!("\x1b[1;{modifiers}{}", letter as char).into_bytes(),
        };
        match self.code {
            Code::Char(c) => self.after_alt(character(c, self.ctrl)),
            Code::Named(TAB) if self.shift => b"\x1b[Z".to_vec(),
            Code::F(number @ 1..=4) => letter(b'O' + number, b'O'),
            Code::F(number) => FUNCTIONS.get(usize::from(number) - 5).map_or_else(Vec::new, |number| tilde(*number)),
            Code::Named(at) => match NAMED[at].1 {
                Sends::Byte(byte) => self.after_alt(character(byte.into(), self.ctrl)),
                Sends::Cursor(key) => letter(key, if application { b'O' } else { b'[' }),
                Sends::Tilde(number) => tilde(number),
            },
        }
    }

    /// Whether it can be the answer to a question, and does not only move or choose.
    #[must_use]
    pub fn decides(&self) -> bool {
        match self.code {
            Code::Named(at) => !CHOOSES.contains(&NAMED[at].0[0]),
            Code::Char(_) | Code::F(_) => true,
        }
    }

    fn after_alt(&self, mut bytes: Vec<u8>) -> Vec<u8> {
        if self.alt {
            bytes.insert(0, 0x1b);
        }
        bytes
    }
}

fn character(c: char, ctrl: bool) -> Vec<u8> {
    if ctrl {
        match c.to_ascii_uppercase() {
            ' ' => return vec![0],
            upper @ '@'..='_' => return vec![upper as u8 & 0x1f],
            '?' => return vec![0x7f],
            _ => {}
        }
    }
    c.encode_utf8(&mut [0; 4]).as_bytes().to_vec()
}

impl FromStr for Key {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            let names: Vec<_> = NAMED.iter().map(|(names, _)| names[0]).collect();
            format!(
                "`{}` is no key; there are {}, F1 to F12, single characters, and with modifiers C-c, M-x, S-Tab",
                crate::text::one_line(&crate::text::clean(text, 32)),
                names.join(", ")
            )
        };
        let mut key = Self { code: Code::Char('-'), ctrl: false, alt: false, shift: false };
        let mut rest = text;
        while let Some((modifier, after)) = rest.split_once('-').filter(|(m, after)| !m.is_empty() && !after.is_empty())
        {
            let held = match modifier.to_ascii_lowercase().as_str() {
                "c" | "ctrl" => &mut key.ctrl,
                "m" | "a" | "alt" | "meta" => &mut key.alt,
                "s" | "shift" => &mut key.shift,
                _ => return Err(wrong()),
            };
            if std::mem::replace(held, true) {
                return Err(wrong());
            }
            rest = after;
        }
        key.code = code(rest).ok_or_else(wrong)?;
        // A capital says shift itself.
        if matches!(key.code, Code::Char(_)) && key.shift { Err(wrong()) } else { Ok(key) }
    }
}

fn code(text: &str) -> Option<Code> {
    let is = |name: &&str| name.eq_ignore_ascii_case(text);
    if let Some(at) = NAMED.iter().position(|(names, _)| names.iter().any(is)) {
        return Some(Code::Named(at));
    }
    let mut chars = text.chars();
    if let (Some(c), None) = (chars.next(), chars.next()) {
        return (!c.is_control() && !c.is_whitespace()).then_some(Code::Char(c));
    }
    let number: u8 = text.strip_prefix(['F', 'f'])?.parse().ok()?;
    (1..=12).contains(&number).then_some(Code::F(number))
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (held, name) in [(self.ctrl, "C-"), (self.alt, "M-"), (self.shift, "S-")] {
            if held {
                f.write_str(name)?;
            }
        }
        match self.code {
            Code::Char(c) => write!(f, "{c}"),
            Code::Named(at) => f.write_str(NAMED[at].0[0]),
            Code::F(number) => write!(f, "F{number}"),
        }
    }
}

impl TryFrom<String> for Key {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Key> for String {
    fn from(key: Key) -> Self {
        key.to_string()
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("Esc", b"\x1b")]
    #[case("escape", b"\x1b")]
    #[case("Up", b"\x1b[A")]
    #[case("Tab", b"\t")]
    #[case("S-Tab", b"\x1b[Z")]
    #[case("C-c", b"\x03")]
    #[case("ctrl-c", b"\x03")]
    #[case("C-Space", b"\0")]
    #[case("M-x", b"\x1bx")]
    #[case("M-Enter", b"\x1b\r")]
    #[case("C-Right", b"\x1b[1;5C")]
    #[case("Delete", b"\x1b[3~")]
    #[case("S-PageUp", b"\x1b[5;2~")]
    #[case("F1", b"\x1bOP")]
    #[case("F5", b"\x1b[15~")]
    #[case("F12", b"\x1b[24~")]
    #[case("2", b"2")]
    #[case("-", b"-")]
    #[case("y", b"y")]
    fn keys_send_what_xterm_sends(#[case] name: &str, #[case] bytes: &[u8]) {
        let key: Key = name.parse().unwrap();
        assert_eq!(key.bytes(false), bytes);
        assert_eq!(key.to_string().parse::<Key>().unwrap(), key, "its name leads back");
    }

    #[test]
    fn arrows_follow_the_application_cursor_mode() {
        assert_eq!("Up".parse::<Key>().unwrap().bytes(true), b"\x1bOA");
        assert_eq!("C-Up".parse::<Key>().unwrap().bytes(true), b"\x1b[1;5A");
    }

    #[rstest]
    #[case("")]
    #[case("F13")]
    #[case("X-a")]
    #[case("C-C-a")]
    #[case("S-a")]
    #[case("Entr")]
    #[case("\x1b")]
    fn what_is_no_key_is_told_which_are(#[case] name: &str) {
        assert!(name.parse::<Key>().unwrap_err().contains("Enter, Esc, Tab"));
    }

    #[rstest]
    #[case("y", true)]
    #[case("Enter", true)]
    #[case("Esc", true)]
    #[case("Down", false)]
    #[case("S-Tab", false)]
    fn what_decides(#[case] name: &str, #[case] decides: bool) {
        assert_eq!(name.parse::<Key>().unwrap().decides(), decides);
    }
}
