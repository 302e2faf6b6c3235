//! Character sets: which letters are lines.

/// Character sets G0 to G3, which of them is in use, and the one that is for the next character alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Charsets {
    sets: [Set; 4],
    in_use: u8,
    next: Option<u8>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Set {
    #[default]
    Ascii,
    /// DEC special graphics, chosen by `ESC ( 0`.
    Lines,
    /// British letters, chosen by `ESC ( A`.
    British,
}

/// Characters that `_` to `~` are among the DEC special graphics.
const LINES: [char; 32] = [
    ' ', '◆', '▒', '␉', '␌', '␍', '␊', '°', '±', '␤', '␋', '┘', '┐', '┌', '└', '┼', '⎺', '⎻', '─', '⎼', '⎽', '├', '┤',
    '┴', '┬', '│', '≤', '≥', 'π', '≠', '£', '·',
];

impl Charsets {
    /// Whether the next letter stands for itself.
    pub(crate) fn is_plain(&self) -> bool {
        self.next.is_none() && self.set(self.in_use) == Set::Ascii
    }

    fn set(&self, number: u8) -> Set {
        self.sets.get(usize::from(number)).copied().unwrap_or_default()
    }

    /// Puts the set of this number in use: SI 0, SO 1, LS2 2, LS3 3.
    pub(crate) fn shift(&mut self, number: u8) {
        self.in_use = number;
    }

    /// Returns what DECSC saves: as in xterm, not the set that is for the next character alone.
    pub(crate) fn saved(self) -> Self {
        Self { next: None, ..self }
    }

    /// Puts the set of this number in use for the next character alone: SS2, SS3.
    pub(crate) fn shift_once(&mut self, number: u8) {
        self.next = Some(number);
    }

    /// Carries out `ESC ( 0` and the like; false: it designates nothing that is known.
    pub(crate) fn designate(&mut self, which: u8, set: u8) -> bool {
        let number = match which {
            b'(' => 0,
            b')' => 1,
            b'*' => 2,
            b'+' => 3,
            _ => return false,
        };
        self.sets[number] = match set {
            b'0' => Set::Lines,
            b'A' => Set::British,
            _ => Set::Ascii,
        };
        true
    }

    /// Character that a letter stands for.
    pub(crate) fn map(&mut self, letter: char) -> char {
        let number = self.next.take().unwrap_or(self.in_use);
        let set = self.set(number);
        match (set, letter) {
            (Set::Lines, '_'..='~') => LINES.get(letter as usize - '_' as usize).copied().unwrap_or(letter),
            (Set::British, '#') => '£',
            _ => letter,
        }
    }

    /// Single shift after which a character stands for itself, empty where it does without one; None: in no set that can be
    /// reached so.
    pub(crate) fn shift_to(self, letter: char) -> Option<&'static [u8]> {
        let stays = |next| Self { next, ..self }.map(letter) == letter;
        let shifts = [(None, &b""[..]), (Some(2), b"\x1bN"), (Some(3), b"\x1bO")];
        shifts.into_iter().find(|(next, _)| stays(*next)).map(|(_, shift)| shift)
    }

    /// Writes what puts a fresh terminal's character sets into this state.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        for (which, set) in b"()*+".iter().zip(self.sets) {
            let set = match set {
                Set::Ascii => b'B',
                Set::Lines => b'0',
                Set::British => b'A',
            };
            out.extend_from_slice(&[0x1b, *which, set]);
        }
        out.extend_from_slice(match self.in_use {
            0 => b"\x0f",
            1 => b"\x0e",
            2 => b"\x1bn",
            _ => b"\x1bo",
        });
        match self.next {
            Some(2) => out.extend_from_slice(b"\x1bN"),
            Some(_) => out.extend_from_slice(b"\x1bO"),
            None => {}
        }
    }
}
