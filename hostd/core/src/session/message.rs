//! What people send to an agent's terminal: texts and keys.

use serde::{Deserialize, Serialize};

use crate::keys::Key;

/// A message for the agent. It stays in the session's inbox until the agent has read it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Kept")]
pub struct Message {
    /// Rising in its session, so that a guest takes none twice; 0: not given yet.
    pub id: u64,
    /// May have several lines; empty where keys are pressed instead.
    pub text: String,
    /// Enter follows the text.
    pub enter: bool,
    /// Keys that are pressed, in order.
    pub keys: Vec<Key>,
}

impl Message {
    /// A text that is submitted with Enter.
    #[must_use]
    pub fn line(text: impl Into<String>) -> Self {
        Self { text: text.into(), enter: true, ..Self::default() }
    }

    /// Whether it says something by itself, wherever it is read: so it answers `session wait message` too. What is no such
    /// message is meant for what stands on the terminal now.
    #[must_use]
    pub fn is_line(&self) -> bool {
        self.enter && self.keys.is_empty()
    }

    /// Whether it may be what the agent has asked for. A text without Enter is not given yet, and arrows only choose.
    #[must_use]
    pub fn answers(&self) -> bool {
        self.enter || self.keys.iter().any(Key::decides)
    }
}

impl From<&str> for Message {
    fn from(text: &str) -> Self {
        Self::line(text)
    }
}

/// What a program has asked of its terminal, as far as it changes what is typed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Modes {
    /// Bracketed paste: mode 2004.
    pub paste: bool,
    /// Application cursor keys.
    pub application_cursor: bool,
}

/// How a pasted text begins and ends.
const BRACKET: (&str, &str) = ("\x1b[200~", "\x1b[201~");

impl Message {
    /// What is typed, piece by piece: each is to be read before the next is written. What is bracketed is one with its Enter: it is
    /// submitted also where all of it is read at once. Elsewhere an Enter read with its text would be a part of it.
    #[must_use]
    pub fn pieces(&self, modes: Modes) -> Vec<Vec<u8>> {
        let enter = if self.enter { "\r" } else { "" };
        let texts = if modes.paste && !self.text.is_empty() {
            // As terminals paste: lines end with a carriage return, and nothing inside ends the bracket.
            let inside: String = self.text.chars().filter(|&c| c == '\n' || !c.is_control() || c == '\t').collect();
            vec![format!("{}{}{}{enter}", BRACKET.0, inside.replace('\n', "\r"), BRACKET.1)]
        } else {
            vec![self.text.clone(), enter.into()]
        };
        let texts = texts.into_iter().filter(|text| !text.is_empty()).map(String::into_bytes);
        texts.chain(self.keys.iter().map(|key| key.bytes(modes.application_cursor))).collect()
    }
}

/// As it is stored: records of before there were keys have the text alone.
#[derive(Deserialize)]
#[serde(untagged)]
enum Kept {
    Line(String),
    Whole { id: u64, text: String, enter: bool, keys: Vec<Key> },
}

impl From<Kept> for Message {
    fn from(kept: Kept) -> Self {
        match kept {
            Kept::Line(text) => Self::line(text),
            Kept::Whole { id, text, enter, keys } => Self { id, text, enter, keys },
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const PASTE: Modes = Modes { paste: true, application_cursor: false };

    fn keys(names: &[&str]) -> Message {
        Message { keys: names.iter().map(|name| name.parse().unwrap()).collect(), ..Message::default() }
    }

    #[rstest]
    #[case::plain("go on".into(), Modes::default(), &["go on", "\r"])]
    #[case::lines("a\nb".into(), Modes::default(), &["a\nb", "\r"])]
    #[case::bracketed("go on".into(), PASTE, &["\x1b[200~go on\x1b[201~\r"])]
    #[case::bracketed_lines("a\n\tb".into(), PASTE, &["\x1b[200~a\r\tb\x1b[201~\r"])]
    #[case::no_way_out("a\x1b[201~b".into(), PASTE, &["\x1b[200~a[201~b\x1b[201~\r"])]
    #[case::no_enter(Message { enter: false, ..Message::line("a") }, Modes::default(), &["a"])]
    #[case::bracketed_no_enter(Message { enter: false, ..Message::line("a") }, PASTE, &["\x1b[200~a\x1b[201~"])]
    #[case::enter_alone("".into(), PASTE, &["\r"])]
    #[case::keys(keys(&["Esc", "Up", "C-c"]), PASTE, &["\x1b", "\x1b[A", "\x03"])]
    #[case::application(keys(&["Up"]), Modes { application_cursor: true, ..PASTE }, &["\x1bOA"])]
    fn pieces(#[case] message: Message, #[case] modes: Modes, #[case] expected: &[&str]) {
        let pieces: Vec<_> = message.pieces(modes).into_iter().map(|piece| String::from_utf8(piece).unwrap()).collect();
        assert_eq!(pieces, expected);
    }

    #[test]
    fn a_message_survives_json() {
        let message = Message { id: 7, ..keys(&["S-Tab", "y"]) };
        let json = serde_json::to_string(&message).unwrap();
        assert_eq!(serde_json::from_str::<Message>(&json).unwrap(), message);
        assert!(json.contains("\"S-Tab\""), "{json}");
    }
}
