//! What people send to an agent's terminal: texts and keys.

use serde::{Deserialize, Serialize};

use crate::keys::Key;

/// A message of a person for the agent. It stays in the session's inbox until the agent has read it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Kept")]
pub struct Message {
    /// Id of the message, rising in its session, so that a guest takes none twice; 0: none was given yet.
    pub id: u64,
    /// Text of the message, of one or several lines; empty where only keys are pressed.
    pub text: String,
    /// Whether Enter follows the text.
    pub enter: bool,
    /// Keys that are pressed after the text, in order.
    pub keys: Vec<Key>,
    /// Whether the message tells of checks or a review, and no person wrote it.
    pub of_forge: bool,
    /// Whether the message tells an agent that goes on with its conversation how it was ended, and no person wrote it.
    pub of_restart: bool,
}

impl Message {
    /// A message with this text and Enter after it.
    #[must_use]
    pub fn line(text: impl Into<String>) -> Self {
        Self { text: text.into(), enter: true, ..Self::default() }
    }

    /// The same for an agent that goes on with its conversation: of how it was ended.
    #[must_use]
    pub fn of_restart(text: impl Into<String>) -> Self {
        Self { of_restart: true, ..Self::line(text) }
    }

    /// Whether the message is a text with Enter and no keys. Such a message says something by itself wherever it is read, and
    /// so answers `session wait message` too; another is meant for what stands on the terminal now.
    #[must_use]
    pub fn is_line(&self) -> bool {
        self.enter && self.keys.is_empty()
    }

    /// Whether the message may answer the agent's question. A text without Enter is not given yet, and arrows only choose.
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

/// Terminal modes that a program has set and that change what is typed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Modes {
    /// Whether bracketed paste (mode 2004) is on.
    pub paste: bool,
    /// Whether cursor keys send their application sequences (mode 1).
    pub application_cursor: bool,
}

/// Begin and end of a bracketed paste.
const BRACKET: (&str, &str) = ("\x1b[200~", "\x1b[201~");

impl Message {
    /// The bytes that are typed, in pieces: each is to be read and dealt with before the next is written. An Enter that is read
    /// with its text, or soon after it, would be a part of it.
    #[must_use]
    pub fn pieces(&self, modes: Modes) -> Vec<Vec<u8>> {
        let enter = if self.enter { "\r" } else { "" };
        let texts = if modes.paste && !self.text.is_empty() {
            // As terminals paste: lines end with a carriage return, and nothing inside ends the bracket.
            let inside: String = self.text.chars().filter(|&c| c == '\n' || !c.is_control() || c == '\t').collect();
            vec![format!("{}{}{}", BRACKET.0, inside.replace('\n', "\r"), BRACKET.1), enter.into()]
        } else {
            let text = if self.of_forge { in_one_line(&self.text) } else { self.text.clone() };
            vec![text, enter.into()]
        };
        let texts = texts.into_iter().filter(|text| !text.is_empty()).map(String::into_bytes);
        texts.chain(self.keys.iter().map(|key| key.bytes(modes.application_cursor))).collect()
    }
}

/// Joins lines, for a program that would take each for a message of its own.
fn in_one_line(text: &str) -> String {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" | ")
}

/// A message as it is stored; records of before there were keys have its text alone.
#[derive(Deserialize)]
#[serde(untagged)]
enum Kept {
    Line(String),
    Whole {
        id: u64,
        text: String,
        enter: bool,
        keys: Vec<Key>,
        #[serde(default)]
        of_forge: bool,
        #[serde(default)]
        of_restart: bool,
    },
}

impl From<Kept> for Message {
    fn from(kept: Kept) -> Self {
        match kept {
            Kept::Line(text) => Self::line(text),
            Kept::Whole { id, text, enter, keys, of_forge, of_restart } => {
                Self { id, text, enter, keys, of_forge, of_restart }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const PASTE: Modes = Modes { paste: true, application_cursor: false };

    fn of_forge(text: &str) -> Message {
        Message { of_forge: true, ..Message::line(text) }
    }

    fn keys(names: &[&str]) -> Message {
        Message { keys: names.iter().map(|name| name.parse().unwrap()).collect(), ..Message::default() }
    }

    #[rstest]
    #[case::plain("go on".into(), Modes::default(), &["go on", "\r"])]
    #[case::lines("a\nb".into(), Modes::default(), &["a\nb", "\r"])]
    #[case::bracketed("go on".into(), PASTE, &["\x1b[200~go on\x1b[201~", "\r"])]
    #[case::bracketed_lines("a\n\tb".into(), PASTE, &["\x1b[200~a\r\tb\x1b[201~", "\r"])]
    #[case::no_way_out("a\x1b[201~b".into(), PASTE, &["\x1b[200~a[201~b\x1b[201~", "\r"])]
    #[case::of_forge(of_forge("a\n\n b"), Modes::default(), &["a | b", "\r"])]
    #[case::of_forge_bracketed(of_forge("a\nb"), PASTE, &["\x1b[200~a\rb\x1b[201~", "\r"])]
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
