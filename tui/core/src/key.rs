//! Keys, as keymap files write them: `j`, `G`, `ctrl-]`, `alt-enter`, `shift-tab`, `pageup`, `f1`, `space`.

use std::{fmt, str::FromStr};

pub use pilothouse_terminal::keys::Code;

/// A key with the modifiers that are held. Shift is part of a character already: `G`, not `shift-g`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The key without its modifiers.
    pub code: Code,
    /// Whether Control is held.
    pub ctrl: bool,
    /// Whether Alt is held.
    pub alt: bool,
    /// Whether Shift is held; never with [`Code::Char`].
    pub shift: bool,
}

const NAMES: [(&str, Code); 21] = [
    ("enter", Code::Enter),
    ("esc", Code::Esc),
    ("tab", Code::Tab),
    ("backspace", Code::Backspace),
    ("delete", Code::Delete),
    ("insert", Code::Insert),
    ("up", Code::Up),
    ("down", Code::Down),
    ("left", Code::Left),
    ("right", Code::Right),
    ("home", Code::Home),
    ("end", Code::End),
    ("pageup", Code::PageUp),
    ("pagedown", Code::PageDown),
    ("space", Code::Char(' ')),
    ("minus", Code::Char('-')),
    // Other spellings, read but never written.
    ("return", Code::Enter),
    ("escape", Code::Esc),
    ("del", Code::Delete),
    ("pgup", Code::PageUp),
    ("pgdn", Code::PageDown),
];

impl Key {
    /// A key without modifiers.
    #[must_use]
    pub const fn plain(code: Code) -> Self {
        Self { code, ctrl: false, alt: false, shift: false }
    }

    /// The key of a character, without modifiers.
    #[must_use]
    pub const fn char(c: char) -> Self {
        Self::plain(Code::Char(c))
    }

    /// The key of a character, with Control.
    #[must_use]
    pub const fn ctrl(c: char) -> Self {
        Self { code: Code::Char(c), ctrl: true, alt: false, shift: false }
    }

    /// Returns the key under the one name that keymaps use: terminals report `ctrl-]` as `ctrl-5`, a capital with shift, and a
    /// back tab in two ways.
    #[must_use]
    pub fn normal(mut self) -> Self {
        if let Code::Char(c) = self.code {
            self.shift = false;
            if self.ctrl {
                let c = match c {
                    '3' => '[',
                    '4' => '\\',
                    '5' => ']',
                    '6' => '^',
                    '7' | '/' => '_',
                    '2' | '@' => ' ',
                    c => c.to_ascii_lowercase(),
                };
                self.code = Code::Char(c);
            }
        }
        self
    }

    /// Character that the key types into a text field; None: it types none.
    #[must_use]
    pub fn typed(self) -> Option<char> {
        match self.code {
            Code::Char(c) if !self.ctrl && !self.alt => Some(c),
            _ => None,
        }
    }

    /// Parses keys separated by blanks.
    ///
    /// # Errors
    /// The word that is no key, with how keys are written.
    pub fn parse_chord(text: &str) -> Result<Vec<Key>, BadKey> {
        let keys = text.split_whitespace().map(str::parse).collect::<Result<Vec<_>, _>>()?;
        if keys.is_empty() { Err(BadKey(text.into())) } else { Ok(keys) }
    }
}

/// A word that is no key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no key; keys are written like j, G, space, enter, pageup, f1, ctrl-d, alt-enter, shift-tab")]
pub struct BadKey(String);

impl FromStr for Key {
    type Err = BadKey;

    fn from_str(text: &str) -> Result<Self, BadKey> {
        let bad = || BadKey(text.into());
        let mut key = Self::char('-');
        let mut rest = text;
        while let Some((modifier, after)) =
            rest.split_once('-').filter(|(before, after)| !before.is_empty() && !after.is_empty())
        {
            let held = match modifier {
                "ctrl" => &mut key.ctrl,
                "alt" => &mut key.alt,
                "shift" => &mut key.shift,
                _ => return Err(bad()),
            };
            if std::mem::replace(held, true) {
                return Err(bad());
            }
            rest = after;
        }
        key.code = code(rest).ok_or_else(bad)?;
        match key.code {
            // A capital says shift itself; one key has one spelling.
            Code::Char(_) if key.shift => Err(bad()),
            _ => Ok(key.normal()),
        }
    }
}

fn code(text: &str) -> Option<Code> {
    if let Some((_, code)) = NAMES.iter().find(|(name, _)| *name == text) {
        return Some(*code);
    }
    let mut chars = text.chars();
    if let (Some(c), None) = (chars.next(), chars.next()) {
        return (!c.is_control() && !c.is_whitespace()).then_some(Code::Char(c));
    }
    let number: u8 = text.strip_prefix('f')?.parse().ok()?;
    (1..=20).contains(&number).then_some(Code::F(number))
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (held, name) in [(self.ctrl, "ctrl-"), (self.alt, "alt-"), (self.shift, "shift-")] {
            if held {
                f.write_str(name)?;
            }
        }
        match (NAMES.iter().find(|(_, code)| *code == self.code), self.code) {
            (_, Code::Char('-')) => f.write_str("-"),
            (Some((name, _)), _) => f.write_str(name),
            (None, Code::Char(c)) => write!(f, "{c}"),
            (None, Code::F(number)) => write!(f, "f{number}"),
            (None, _) => f.write_str("?"),
        }
    }
}

/// A chord as the help shows it: keys separated by blanks.
#[must_use]
pub fn chord(keys: &[Key]) -> String {
    keys.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("j")]
    #[case("G")]
    #[case("-")]
    #[case("ctrl-]")]
    #[case("alt-enter")]
    #[case("shift-tab")]
    #[case("ctrl-alt-x")]
    #[case("f12")]
    #[case("space")]
    #[case("é")]
    fn keys_are_written_as_they_are_read(#[case] text: &str) {
        assert_eq!(text.parse::<Key>().unwrap().to_string(), text);
    }

    #[rstest]
    #[case("")]
    #[case("ctrl-")]
    #[case("meta-x")]
    #[case("f21")]
    #[case("f0")]
    #[case("shift-g")]
    #[case("ctrl-ctrl-x")]
    #[case("enterr")]
    fn nonsense_is_no_key(#[case] text: &str) {
        assert!(text.parse::<Key>().is_err());
    }

    #[test]
    fn what_terminals_report_is_brought_under_one_name() {
        assert_eq!(Key::ctrl('5').normal(), Key::ctrl(']'));
        assert_eq!(Key::ctrl('D').normal(), Key::ctrl('d'));
        assert_eq!(Key { shift: true, ..Key::char('G') }.normal(), Key::char('G'));
    }
}
