//! What programs ask a terminal, and what this one answers.

use crate::{
    scanner::{Scanner, Token},
    sequence::Csi,
};

/// Whether a terminal answers this sequence, with bytes that its program reads.
#[must_use]
pub fn is_query(sequence: &[u8]) -> bool {
    let Some(csi) = Csi::parse(sequence) else { return sequence == b"\x1bZ" };
    match csi.name() {
        (0 | b'>' | b'=', 0, b'c') | (0 | b'?', 0, b'n') | (0 | b'?', b'$', b'p') | (0, 0, b'x') => true,
        (b'>', 0, b'q') | (b'?', 0, b'u' | b'S' | b'm') | (0, b'*', b'y') => true,
        (0, 0, b't') => matches!(csi.number(0), Some(11..=21)),
        _ => false,
    }
}

/// Whether a terminal answers this OSC, DCS or APC.
#[must_use]
pub fn is_string_query(string: &[u8]) -> bool {
    match string {
        [0x1b, b']', rest @ ..] => {
            let text = content(rest);
            text.split(|byte| *byte == b';').skip(1).any(|field| field == b"?" || field.ends_with(b"p=?"))
        }
        [0x1b, b'P', b'$' | b'+', b'q', ..] => true,
        // Graphics: each command is answered unless it says not to.
        [0x1b, b'_', b'G', ..] => true,
        _ => false,
    }
}

/// Tells what a terminal says by itself from what a person types: answers, reports of the focus and of the mouse. Remembers what
/// has begun between pieces.
#[derive(Debug)]
pub struct Reports(Scanner);

impl Default for Reports {
    fn default() -> Self {
        Self(Scanner::new(0))
    }
}

impl Reports {
    /// Whether a person typed any of these bytes.
    pub fn has_keys(&mut self, typed: &[u8]) -> bool {
        let mut keys = false;
        self.0.feed(typed, |token| {
            keys |= match token {
                Token::Sequence(bytes) => !is_report(bytes),
                Token::String(_) | Token::Part(_) | Token::LongCopy => false,
                Token::Text(_) | Token::Control(_) => true,
            }
        });
        keys
    }
}

/// What was typed that may be an answer to a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Typed {
    /// A key that some programs take for an answer by itself: a letter, a digit, Esc.
    Key,
    /// Enter, which ends a line.
    Line,
}

/// What of these bytes may be an answer to a program; None: nothing. What moves a cursor or scrolls is none, nor is what a
/// terminal says by itself. Bytes that were cut inside a sequence may be taken for another.
#[must_use]
pub fn typed(bytes: &[u8]) -> Option<Typed> {
    let (mut typed, mut scanner, mut shifted) = (None, Scanner::new(0), false);
    scanner.feed(bytes, |token| {
        let after_shift = std::mem::replace(&mut shifted, matches!(token, Token::Sequence(b"\x1bO")));
        typed = typed.max(match token {
            Token::Control(b'\r' | b'\n') => Some(Typed::Line),
            // An arrow in application mode, or a function key: a single shift and its letter.
            Token::Text([_]) if after_shift => None,
            Token::Text(_) | Token::Control(_) => Some(Typed::Key),
            // Kitty's keyboard names a key by its character.
            Token::Sequence(bytes) => match Csi::parse(bytes).filter(|csi| csi.name() == (0, 0, b'u')) {
                Some(csi) if csi.number(0) == Some(13) => Some(Typed::Line),
                Some(_) => Some(Typed::Key),
                None => None,
            },
            Token::String(_) | Token::Part(_) | Token::LongCopy => None,
        });
    });
    // Esc, which nothing follows.
    let escape = (scanner.unfinished() == b"\x1b").then_some(Typed::Key);
    typed.max(escape)
}

fn is_report(sequence: &[u8]) -> bool {
    let Some(csi) = Csi::parse(sequence) else { return false };
    matches!(
        csi.name(),
        (b'?' | b'>' | b'=', 0, b'c' | b'n' | b'u' | b'm' | b'R' | b'S')
            | (0, 0, b'R' | b'n' | b't' | b'I' | b'O' | b'x')
            | (b'<', 0, b'M' | b'm')
            | (_, b'$', b'y')
    )
}

/// The text of a string without its terminator.
pub(crate) fn content(text: &[u8]) -> &[u8] {
    text.strip_suffix(b"\x07").or_else(|| text.strip_suffix(b"\x1b\\")).unwrap_or(text)
}

/// Colours that OSC 4, 10, 11 and 12 ask for; empty: the text asks for none.
pub(crate) fn colors(text: &[u8]) -> Vec<u8> {
    let mut fields = text.split(|byte| *byte == b';');
    let number = fields.next().and_then(number);
    let mut out = Vec::new();
    match number {
        Some(4) => {
            while let (Some(index), Some(asked)) = (fields.next(), fields.next()) {
                if let (Some(index), b"?") = (number_below_256(index), asked) {
                    out.extend_from_slice(format!("\x1b]4;{index};{}\x1b\\", written(palette(index))).as_bytes());
                }
            }
        }
        // Each further field asks for the next one.
        Some(first @ 10..=12) => {
            for (which, asked) in (first..=12).zip(fields) {
                let color = if which == 11 { BACKGROUND } else { FOREGROUND };
                if asked == b"?" {
                    out.extend_from_slice(format!("\x1b]{which};{}\x1b\\", written(color)).as_bytes());
                }
            }
        }
        _ => {}
    }
    out
}

const FOREGROUND: (u8, u8, u8) = (0xe5, 0xe5, 0xe5);
const BACKGROUND: (u8, u8, u8) = (0x12, 0x12, 0x12);

/// xterm's colour of this index.
fn palette(index: u8) -> (u8, u8, u8) {
    const FIRST: [(u8, u8, u8); 16] = [
        (0x00, 0x00, 0x00),
        (0xcd, 0x00, 0x00),
        (0x00, 0xcd, 0x00),
        (0xcd, 0xcd, 0x00),
        (0x00, 0x00, 0xee),
        (0xcd, 0x00, 0xcd),
        (0x00, 0xcd, 0xcd),
        (0xe5, 0xe5, 0xe5),
        (0x7f, 0x7f, 0x7f),
        (0xff, 0x00, 0x00),
        (0x00, 0xff, 0x00),
        (0xff, 0xff, 0x00),
        (0x5c, 0x5c, 0xff),
        (0xff, 0x00, 0xff),
        (0x00, 0xff, 0xff),
        (0xff, 0xff, 0xff),
    ];
    let level = |n: u8| if n == 0 { 0 } else { 55 + 40 * n };
    match index {
        0..=15 => FIRST[usize::from(index)],
        16..=231 => {
            let n = index - 16;
            (level(n / 36), level(n / 6 % 6), level(n % 6))
        }
        _ => {
            let grey = 8 + 10 * (index - 232);
            (grey, grey, grey)
        }
    }
}

fn written((r, g, b): (u8, u8, u8)) -> String {
    format!("rgb:{r:02x}{r:02x}/{g:02x}{g:02x}/{b:02x}{b:02x}")
}

fn number(text: &[u8]) -> Option<u16> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn number_below_256(text: &[u8]) -> Option<u8> {
    number(text)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("10;?", "\x1b]10;rgb:e5e5/e5e5/e5e5\x1b\\")]
    #[case("11;?", "\x1b]11;rgb:1212/1212/1212\x1b\\")]
    #[case("10;?;?", "\x1b]10;rgb:e5e5/e5e5/e5e5\x1b\\\x1b]11;rgb:1212/1212/1212\x1b\\")]
    #[case(
        "4;1;?;231;?;255;?",
        "\x1b]4;1;rgb:cdcd/0000/0000\x1b\\\x1b]4;231;rgb:ffff/ffff/ffff\x1b\\\x1b]4;255;rgb:eeee/eeee/eeee\x1b\\"
    )]
    #[case("4;300;?", "")]
    #[case("11;#123456", "")]
    #[case("8;;?", "")]
    fn colours_are_answered(#[case] asked: &str, #[case] answer: &str) {
        assert_eq!(String::from_utf8(colors(asked.as_bytes())).unwrap(), answer);
    }

    #[rstest]
    #[case("y", Some(Typed::Key))]
    #[case("\x1b", Some(Typed::Key))]
    #[case("\x03", Some(Typed::Key))]
    #[case("yes\r", Some(Typed::Line))]
    #[case("\x1bOAy", Some(Typed::Key))]
    #[case("\x1b[13u", Some(Typed::Line))]
    #[case("\x1b[27u", Some(Typed::Key))]
    #[case("\x1b[200~go on\x1b[201~\r", Some(Typed::Line))]
    #[case("\x1b[A\x1b[B\x1bOA\x1b[5~", None)]
    #[case("\x1b[I\x1b[1;1R\x1b[<0;3;3M\x1b[?62;22c", None)]
    #[case("\x1b]11;rgb:00/00/00\x1b\\", None)]
    fn what_may_be_an_answer(#[case] bytes: &str, #[case] expected: Option<Typed>) {
        assert_eq!(typed(bytes.as_bytes()), expected);
    }

    #[rstest]
    #[case("\x1b[c", true)]
    #[case("\x1b[>0c", true)]
    #[case("\x1b[6n", true)]
    #[case("\x1b[>q", true)]
    #[case("\x1b[?2026$p", true)]
    #[case("\x1b[?u", true)]
    #[case("\x1b[18t", true)]
    #[case("\x1b[22;0t", false)]
    #[case("\x1b[8;24;80t", false)]
    #[case("\x1b[>4;2m", false)]
    #[case("\x1b[4m", false)]
    #[case("\x1b[u", false)]
    #[case("\x1b[ q", false)]
    fn queries_are_known(#[case] sequence: &str, #[case] query: bool) {
        assert_eq!(is_query(sequence.as_bytes()), query);
    }

    #[rstest]
    #[case(&["\x1b[?62;22c\x1b[>1;10;0c\x1b[0n\x1b[2;3R\x1b[?2026;2$y\x1b[?0u\x1b[8;24;80t"], false)]
    #[case(&["\x1b]11;rgb:12", "12/1212/1212\x1b", "\\\x1bP>|xterm(390)\x1b\\\x1b[I\x1b[<35;1;1M"], false)]
    #[case(&["\x1b[0n", "q"], true)]
    #[case(&["\x1b[A"], true)]
    #[case(&["\x1b[13;2u"], true)]
    #[case(&["\r"], true)]
    fn reports_are_told_from_keys(#[case] pieces: &[&str], #[case] keys: bool) {
        let mut reports = Reports::default();
        assert_eq!(pieces.iter().map(|piece| reports.has_keys(piece.as_bytes())).fold(false, |a, b| a | b), keys);
    }

    #[rstest]
    #[case("\x1b]11;?\x1b\\", true)]
    #[case("\x1b]4;7;?\x07", true)]
    #[case("\x1b]52;c;?\x07", true)]
    #[case("\x1b]99;i=1:p=?;\x1b\\", true)]
    #[case("\x1b]0;what?\x07", false)]
    #[case("\x1bP$qm\x1b\\", true)]
    #[case("\x1bP+q524742\x1b\\", true)]
    #[case("\x1bPq#0\x1b\\", false)]
    fn string_queries_are_known(#[case] string: &str, #[case] query: bool) {
        assert_eq!(is_string_query(string.as_bytes()), query);
    }
}
