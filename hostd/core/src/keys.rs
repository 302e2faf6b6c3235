//! Keys by their names, and the bytes that a terminal sends for them.

use std::{fmt, str::FromStr};

use pilothouse_terminal::keys::{Code, Pressed};
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

/// Names, the first of which is its own.
const NAMED: &[(&[&str], Code)] = &[
    (&["Enter", "Return"], Code::Enter),
    (&["Esc", "Escape"], Code::Esc),
    (&["Tab"], Code::Tab),
    (&["Space"], Code::Char(' ')),
    (&["Backspace", "BSpace"], Code::Backspace),
    (&["Up"], Code::Up),
    (&["Down"], Code::Down),
    (&["Right"], Code::Right),
    (&["Left"], Code::Left),
    (&["Home"], Code::Home),
    (&["End"], Code::End),
    (&["Insert", "Ins"], Code::Insert),
    (&["Delete", "Del"], Code::Delete),
    (&["PageUp", "PgUp"], Code::PageUp),
    (&["PageDown", "PgDn"], Code::PageDown),
];

impl Key {
    /// The bytes that xterm sends for it. `application`: the program asked for application cursor keys.
    #[must_use]
    pub fn bytes(&self, application: bool) -> Vec<u8> {
        let Self { code, ctrl, alt, shift } = *self;
        Pressed { code, ctrl, alt, shift }.bytes(application)
    }

    /// Whether it can be the answer to a question, and does not only move or choose.
    #[must_use]
    pub fn decides(&self) -> bool {
        use Code::{
            Backspace, Char, Delete, Down, End, Enter, Esc, F, Home, Insert, Left, PageDown, PageUp, Right, Tab, Up,
        };
        match self.code {
            Tab | Backspace | Up | Down | Right | Left | Home | End | PageUp | PageDown => false,
            Char(_) | Enter | Esc | Insert | Delete | F(_) => true,
        }
    }
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
    if let Some((_, code)) = NAMED.iter().find(|(names, _)| names.iter().any(is)) {
        return Some(*code);
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
        match (NAMED.iter().find(|(_, code)| *code == self.code), self.code) {
            (Some((names, _)), _) => f.write_str(names[0]),
            (None, Code::Char(c)) => write!(f, "{c}"),
            (None, Code::F(number)) => write!(f, "F{number}"),
            // All others are named.
            (None, other) => write!(f, "{other:?}"),
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
