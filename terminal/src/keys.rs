//! The bytes that xterm sends for keys, for programs that asked for nothing else.

/// A key without modifiers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Code {
    /// The key of this character, as typed.
    Char(char),
    /// The Enter key.
    Enter,
    /// The Escape key.
    Esc,
    /// The Tab key.
    Tab,
    /// The Backspace key.
    Backspace,
    /// The Delete key.
    Delete,
    /// The Insert key.
    Insert,
    /// The Up key.
    Up,
    /// The Down key.
    Down,
    /// The Left key.
    Left,
    /// The Right key.
    Right,
    /// The Home key.
    Home,
    /// The End key.
    End,
    /// The Page Up key.
    PageUp,
    /// The Page Down key.
    PageDown,
    /// The function key of this number, from 1 to 20.
    F(u8),
}

/// A key with the modifiers that are held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pressed {
    /// The key without its modifiers.
    pub code: Code,
    /// Whether Control is held.
    pub ctrl: bool,
    /// Whether Alt is held.
    pub alt: bool,
    /// Whether Shift is held; in a character it is part of the character.
    pub shift: bool,
}

/// Numbers that F5 to F20 send, as `ESC [ n ~`.
const FUNCTIONS: [u8; 16] = [15, 17, 18, 19, 20, 21, 23, 24, 25, 26, 28, 29, 31, 32, 33, 34];

impl Pressed {
    /// Returns the bytes that the key sends; none for a key that xterm does not know. `application`: the program asked for application cursor keys.
    #[must_use]
    pub fn bytes(self, application: bool) -> Vec<u8> {
        let cursor = if application { b'O' } else { b'[' };
        match self.code {
            // Enter would submit what is half written. Programs that know no Shift-Enter take Alt-Enter for a new line.
            Code::Enter if self.shift => b"\x1b\r".to_vec(),
            Code::Char(c) => self.after_alt(character(c, self.ctrl)),
            Code::Enter => self.after_alt(vec![b'\r']),
            Code::Esc => self.after_alt(vec![0x1b]),
            Code::Tab if self.shift => b"\x1b[Z".to_vec(),
            Code::Tab => self.after_alt(vec![b'\t']),
            Code::Backspace => self.after_alt(vec![if self.ctrl { 0x08 } else { 0x7f }]),
            Code::Up => self.letter(b'A', cursor),
            Code::Down => self.letter(b'B', cursor),
            Code::Right => self.letter(b'C', cursor),
            Code::Left => self.letter(b'D', cursor),
            Code::Home => self.letter(b'H', cursor),
            Code::End => self.letter(b'F', cursor),
            Code::Insert => self.tilde(2),
            Code::Delete => self.tilde(3),
            Code::PageUp => self.tilde(5),
            Code::PageDown => self.tilde(6),
            Code::F(number @ 1..=4) => self.letter(b'O' + number, b'O'),
            Code::F(number) => {
                let number = FUNCTIONS.get(usize::from(number).wrapping_sub(5));
                number.map_or_else(Vec::new, |number| self.tilde(*number))
            }
        }
    }

    /// xterm's number for the modifiers: 1, and more for each that is held.
    fn modifiers(self) -> u8 {
        1 + u8::from(self.shift) + 2 * u8::from(self.alt) + 4 * u8::from(self.ctrl)
    }

    fn after_alt(self, mut bytes: Vec<u8>) -> Vec<u8> {
        if self.alt {
            bytes.insert(0, 0x1b);
        }
        bytes
    }

    fn letter(self, letter: u8, single: u8) -> Vec<u8> {
        match self.modifiers() {
            1 => vec![0x1b, single, letter],
            modifiers => format!("\x1b[1;{modifiers}{}", char::from(letter)).into_bytes(),
        }
    }

    fn tilde(self, number: u8) -> Vec<u8> {
        match self.modifiers() {
            1 => format!("\x1b[{number}~").into_bytes(),
            modifiers => format!("\x1b[{number};{modifiers}~").into_bytes(),
        }
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
