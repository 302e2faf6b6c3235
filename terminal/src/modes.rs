//! Modes that the engine does not keep.

/// Private modes (`CSI ? n h`) and whether they are on in a fresh terminal.
const PRIVATE: [(u16, bool); 11] = [
    // Inverse screen, wrapping, wrapping backwards.
    (5, false),
    (7, true),
    (45, false),
    // Focus reports; the wheel as arrows; two encodings of the mouse.
    (1004, false),
    (1007, false),
    (1015, false),
    (1016, false),
    // Held output, clusters as characters, reports of the colour scheme, reports of the size.
    (2026, false),
    (2027, false),
    (2031, false),
    (2048, false),
];
/// Most entries of flags that a program may push.
const STACK_MAX: usize = 16;

/// Modes of a terminal that the engine does not keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Modes {
    /// One bit for each of [`PRIVATE`]: whether it is on.
    private: u16,
    /// Whether text is inserted: `CSI 4 h`.
    pub(crate) insert: bool,
    /// Whether a line feed returns, too: `CSI 20 h`.
    pub(crate) newline: bool,
    /// Level of xterm's modifyOtherKeys.
    pub(crate) other_keys: u16,
    /// Kitty's keyboards of the main screen and of the alternate one.
    pub(crate) keyboards: [Keyboard; 2],
}

impl Default for Modes {
    fn default() -> Self {
        let private = PRIVATE.iter().enumerate().fold(0, |bits, (at, (_, on))| bits | (u16::from(*on) << at));
        Self { private, insert: false, newline: false, other_keys: 0, keyboards: Default::default() }
    }
}

impl Modes {
    /// Sets a private mode; false: it is none of [`PRIVATE`].
    pub(crate) fn set(&mut self, mode: u16, on: bool) -> bool {
        let Some(at) = PRIVATE.iter().position(|(known, _)| *known == mode) else { return false };
        if on {
            self.private |= 1 << at;
        } else {
            self.private &= !(1 << at);
        }
        true
    }

    /// Whether a private mode is on; None: it is none of [`PRIVATE`].
    pub(crate) fn get(&self, mode: u16) -> Option<bool> {
        PRIVATE.iter().position(|(known, _)| *known == mode).map(|at| self.private & (1 << at) != 0)
    }

    /// Whether text goes on in the next row.
    pub(crate) fn wraps(&self) -> bool {
        self.get(7) != Some(false)
    }

    /// Ends the modes that DECSTR ends.
    pub(crate) fn soft_reset(&mut self) {
        self.set(7, true);
        (self.insert, self.newline) = (false, false);
    }

    /// Puts a fresh terminal into these modes, but for kitty's keyboards, insertion and new lines.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        for (at, (mode, usual)) in PRIVATE.iter().enumerate() {
            let on = self.private & (1 << at) != 0;
            if on != *usual {
                out.extend_from_slice(format!("\x1b[?{mode}{}", if on { 'h' } else { 'l' }).as_bytes());
            }
        }
        if self.other_keys > 0 {
            out.extend_from_slice(format!("\x1b[>4;{}m", self.other_keys).as_bytes());
        }
    }
}

/// Kitty's keyboard protocol: flags that programs push and pop.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Keyboard {
    stack: Vec<u8>,
}

impl Keyboard {
    /// The flags that are in force.
    pub(crate) fn flags(&self) -> u8 {
        self.stack.last().copied().unwrap_or(0)
    }

    /// Carries out `CSI > flags u`.
    pub(crate) fn push(&mut self, flags: u16) {
        if self.stack.len() >= STACK_MAX {
            self.stack.remove(0);
        }
        self.stack.push(known(flags));
    }

    /// Carries out `CSI < count u`.
    pub(crate) fn pop(&mut self, count: u16) {
        let left = self.stack.len().saturating_sub(count.into());
        self.stack.truncate(left);
    }

    /// Carries out `CSI = flags ; how u`.
    pub(crate) fn set(&mut self, flags: u16, how: u16) {
        let (now, flags) = (self.flags(), known(flags));
        let flags = match how {
            2 => now | flags,
            3 => now & !flags,
            _ => flags,
        };
        self.stack.pop();
        self.stack.push(flags);
    }

    /// Puts a fresh terminal's keyboard into this state.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        for flags in &self.stack {
            out.extend_from_slice(format!("\x1b[>{flags}u").as_bytes());
        }
    }
}

/// The flags of the protocol among these: the lowest five bits.
fn known(flags: u16) -> u8 {
    u8::try_from(flags & 0x1f).unwrap_or(0)
}
