//! A session's terminal as the console keeps it: a vt100 screen with history.

mod encode;

use std::num::NonZeroU16;

pub use encode::{encode_key, encode_mouse, encode_paste};

use crate::guard::guarded;

/// Terminals are at most so wide and high.
const SIDE_MAX: u16 = 1000;

/// Shown where the parser gave up on what the guest wrote.
const RESET: &[u8] = b"[the terminal's screen was reset: its output could not be understood]\r\n";

/// A terminal's screen, modes and history.
///
/// The bytes are a guest's, and hostile. Where the parser panics on them it is replaced by a fresh one, and a line on the
/// screen says so.
pub struct Terminal {
    parser: vt100::Parser,
    /// As the parser was made: columns, rows, rows of history.
    made: (u16, u16, usize),
}

impl Terminal {
    /// An empty one of this size with room for so many rows of history.
    #[must_use]
    pub fn new(columns: u16, rows: u16, history: usize) -> Self {
        Self { parser: parser((columns, rows, history)), made: (columns, rows, history) }
    }

    /// One that shows what `contents` draw on an empty terminal: history first, then the screen.
    #[must_use]
    pub fn from_screen(columns: u16, rows: u16, contents: &[u8], history: usize) -> Self {
        let mut terminal = Self::new(columns, rows, history);
        terminal.output(contents);
        terminal
    }

    /// Takes what the program wrote.
    pub fn output(&mut self, bytes: &[u8]) {
        self.guarded(|parser| parser.process(bytes));
    }

    /// The screen, where the history is looked at: that part of it.
    #[must_use]
    pub fn screen(&self) -> &vt100::Screen {
        self.parser.screen()
    }

    /// Whether nothing stands on the screen.
    #[must_use]
    pub fn is_blank(&self) -> bool {
        self.screen().rows(0, SIDE_MAX).all(|row| row.trim().is_empty())
    }

    /// Columns and rows.
    #[must_use]
    pub fn size(&self) -> (u16, u16) {
        let (rows, columns) = self.screen().size();
        (columns.get(), rows.get())
    }

    /// How many rows up from the live screen the history is looked at, and how many there are.
    #[must_use]
    pub fn scrolled(&self) -> (usize, usize) {
        (self.screen().scrollback(), self.screen().scrollback_len())
    }

    /// Looks so many rows up (or down) from where it is looked at.
    pub fn scroll(&mut self, up: isize) {
        let to = self.screen().scrollback().saturating_add_signed(up);
        self.scroll_to(to);
    }

    /// Looks so many rows up from the live screen; as far as there are.
    pub fn scroll_to(&mut self, up: usize) {
        let up = up.min(self.screen().scrollback_len());
        self.guarded(|parser| parser.screen_mut().set_scrollback(up));
    }

    fn guarded(&mut self, work: impl FnOnce(&mut vt100::Parser)) {
        if guarded(|| work(&mut self.parser)).is_none() {
            self.parser = parser(self.made);
            self.parser.process(RESET);
        }
    }
}

fn parser((columns, rows, history): (u16, u16, usize)) -> vt100::Parser {
    vt100::Parser::new(side(rows), side(columns), history)
}

fn side(length: u16) -> NonZeroU16 {
    NonZeroU16::new(length.clamp(1, SIDE_MAX)).unwrap_or(NonZeroU16::MIN)
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

    #[test]
    fn where_the_parser_panics_it_begins_anew() {
        let mut terminal = Terminal::from_screen(80, 3, b"one\r\ntwo", 100);
        terminal.guarded(|_| panic!("as the test wants it"));
        terminal.output(b"three");
        assert_eq!(
            rows(&terminal)[..2],
            ["[the terminal's screen was reset: its output could not be understood]", "three"]
        );
        assert_eq!(terminal.size(), (80, 3));
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
