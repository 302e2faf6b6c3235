//! A session's terminal as the console keeps it.

mod encode;

pub use encode::{encode_key, encode_mouse, encode_paste};
use pilothouse_terminal::{Emulator, Event, Look};

/// Longest copy to the clipboard that is passed on, in bytes of base64.
const COPY_MAX: usize = 1 << 20;

/// A terminal's screen, modes and history, from a guest's bytes.
pub struct Terminal {
    emulator: Emulator,
}

impl Terminal {
    /// An empty terminal of this size with room for `history` rows of history.
    #[must_use]
    pub fn new(columns: u16, rows: u16, history: usize) -> Self {
        Self { emulator: Emulator::new(columns, rows, history, COPY_MAX) }
    }

    /// A terminal that shows what `contents` draw on an empty one: history first, then the screen.
    #[must_use]
    pub fn from_screen(columns: u16, rows: u16, contents: &[u8], history: usize) -> Self {
        let mut terminal = Self::new(columns, rows, history);
        terminal.output(contents);
        terminal
    }

    /// Takes what the program wrote.
    pub fn output(&mut self, bytes: &[u8]) {
        self.emulator.feed(bytes);
    }

    /// Events of the program beside what it drew, since this was last called.
    pub fn events(&mut self) -> Vec<Event> {
        self.emulator.events()
    }

    /// Title of the window; empty where the program set none.
    #[must_use]
    pub fn title(&self) -> &str {
        self.emulator.title()
    }

    /// Flags of kitty's keyboard protocol, and the level of xterm's modifyOtherKeys: how keys are to be sent.
    #[must_use]
    pub fn keyboard(&self) -> (u8, u16) {
        (self.emulator.keyboard_flags(), self.emulator.other_keys())
    }

    /// Whether the program asked to be told of the focus.
    #[must_use]
    pub fn wants_focus(&self) -> bool {
        self.emulator.mode(1004)
    }

    /// Whether the program gets mouse events: it asked for some, in cells. Those that want pixels get none, since nobody here
    /// knows how many a cell has.
    #[must_use]
    pub fn wants_mouse(&self) -> bool {
        self.screen().mouse_protocol_mode() != vt100::MouseProtocolMode::None && !self.emulator.mode(1016)
    }

    /// Returns the attributes of a cell that the cell itself does not tell.
    #[must_use]
    pub fn look(&self, cell: &vt100::Cell) -> Look {
        self.emulator.look(cell)
    }

    /// The screen; where the history is looked at, that part of it.
    #[must_use]
    pub fn screen(&self) -> &vt100::Screen {
        self.emulator.screen()
    }

    /// Whether nothing stands on the screen.
    #[must_use]
    pub fn is_blank(&self) -> bool {
        self.screen().rows(0, u16::MAX).all(|row| row.trim().is_empty())
    }

    /// Number of columns and of rows.
    #[must_use]
    pub fn size(&self) -> (u16, u16) {
        self.emulator.size()
    }

    /// Number of rows up from the live screen at which the history is looked at, and number of rows of history.
    #[must_use]
    pub fn scrolled(&self) -> (usize, usize) {
        (self.screen().scrollback(), self.screen().scrollback_len())
    }

    /// Looks this number of rows further up (or down).
    pub fn scroll(&mut self, up: isize) {
        let to = self.screen().scrollback().saturating_add_signed(up);
        self.scroll_to(to);
    }

    /// Looks this number of rows up from the live screen; as far as there are.
    pub fn scroll_to(&mut self, up: usize) {
        self.emulator.scroll_to(up);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rows(terminal: &Terminal) -> Vec<String> {
        terminal.screen().rows(0, 80).collect()
    }

    #[test]
    fn history_is_looked_at_and_left() {
        let mut terminal = Terminal::from_screen(20, 3, b"old 0\r\nold 1\r\n\n\n\x1b[H\x1b[Jnew\r\n$ ", 100);
        assert_eq!(rows(&terminal), ["new", "$ ", ""]);
        assert_eq!(terminal.scrolled(), (0, 2));
        terminal.scroll_to(usize::MAX);
        assert_eq!(rows(&terminal)[0], "old 0");
        terminal.scroll(-1000);
        assert_eq!(rows(&terminal)[0], "new");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 512 } else { 20_000 }))]
        #[test]
        fn no_bytes_break_it(columns in 0u16..12, rows in 0u16..8, parts in prop::collection::vec(fragment(), 0..40), up in 0usize..9) {
            let bytes = parts.concat();
            let mut terminal = Terminal::from_screen(columns, rows, &bytes, 20);
            terminal.output(&bytes);
            terminal.scroll_to(up);
            terminal.output(&bytes);
            let (columns, rows) = terminal.size();
            for row in 0..rows {
                for column in 0..columns {
                    let cell = terminal.screen().cell(row, column).unwrap();
                    prop_assert!(!cell.contents().contains(char::is_control));
                }
            }
            let _ = terminal.screen().cursor_position();
        }
    }

    fn fragment() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            prop::collection::vec(any::<u8>(), 0..8),
            "[a-z \r\n\t\u{8}日本é👩\u{200d}\u{300}]{0,8}".prop_map(String::into_bytes),
            ("\x1b\\[\\??[0-9]{0,5}(;[0-9]{0,5}){0,2}", "[A-Za-z@`]").prop_map(|(a, b)| (a + &b).into_bytes()),
            prop::sample::select(vec![
                "\x1b[?1049h",
                "\x1b[?1049l",
                "\x1b7",
                "\x1b8",
                "\x1bM",
                "\x1bc",
                "\x1b[2;3r",
                "\x1b[?6h",
                "\x1b[3J"
            ])
            .prop_map(|s| s.as_bytes().to_vec()),
        ]
    }
}
