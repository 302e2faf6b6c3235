use std::{
    num::NonZeroU16,
    panic::{AssertUnwindSafe, catch_unwind},
};

use super::{Size, boundary::Tail};

/// Rows of history kept in memory for each terminal.
const HISTORY: usize = 3000;
/// Shown where the emulator gave up on what the guest wrote.
const RESET: &[u8] = b"\x1b[m[the terminal's screen was reset: its output could not be understood]\r\n";

/// A terminal's screen and history, from whatever bytes a guest writes.
///
/// The bytes are hostile. Where the parser panics on them it is replaced by a fresh one, and a line on the screen says so.
pub(super) struct Emulator {
    parser: vt100::Parser,
    tail: Tail,
    size: Size,
}

impl Emulator {
    pub(super) fn new(size: Size) -> Self {
        Self { parser: parser(size), tail: Tail::default(), size }
    }

    pub(super) fn feed(&mut self, bytes: &[u8]) {
        self.tail.feed(bytes);
        self.guarded(|parser| parser.process(bytes));
    }

    pub(super) fn resize(&mut self, size: Size) {
        self.size = size;
        self.guarded(|parser| parser.screen_mut().set_size(side(size.rows), side(size.columns)));
    }

    pub(super) fn alternate(&self) -> bool {
        self.parser.screen().alternate_screen()
    }

    pub(super) fn bracketed_paste(&self) -> bool {
        self.parser.screen().bracketed_paste()
    }

    /// Bytes that draw at most `history` rows of history and then the screen on an empty terminal of this size, and how many
    /// rows of history they draw. The history ends up above the screen.
    pub(super) fn draw(&mut self, history: usize) -> (Vec<u8>, usize) {
        let mut drawn = (Vec::new(), 0);
        let rows = usize::from(self.size.rows);
        self.guarded(|parser| drawn = draw(parser.screen(), history, rows));
        drawn.0.extend_from_slice(self.tail.bytes());
        drawn
    }

    fn guarded(&mut self, work: impl FnOnce(&mut vt100::Parser)) {
        if catch_unwind(AssertUnwindSafe(|| work(&mut self.parser))).is_err() {
            tracing::warn!("the terminal emulator panicked on a guest's output; its screen was reset");
            self.parser = parser(self.size);
            self.parser.process(RESET);
            self.tail = Tail::default();
        }
    }
}

fn draw(screen: &vt100::Screen, history: usize, rows: usize) -> (Vec<u8>, usize) {
    let mut out = Vec::new();
    let history = screen.scrollback_len().min(history);
    if history > 0 {
        // A copy: to look back at rows makes them as wide as the screen, for good.
        let mut past = screen.clone();
        let mut left = history;
        while left > 0 {
            past.set_scrollback(left);
            // A width beyond every row, so that no row is drawn as the end of the one before.
            for row in past.rows_formatted(0, u16::MAX).take(left.min(rows)) {
                out.extend_from_slice(b"\x1b[m");
                out.extend_from_slice(row.as_bytes());
                out.extend_from_slice(b"\x1b[m\r\n");
            }
            left -= left.min(rows);
        }
        // However few rows they are, this pushes them out of the screen.
        out.resize(out.len() + rows.saturating_sub(1), b'\n');
    }
    if screen.alternate_screen() {
        out.extend_from_slice(b"\x1b[?1049h");
    }
    out.extend_from_slice(screen.state_formatted().as_bytes());
    (out, history)
}

fn parser(size: Size) -> vt100::Parser {
    vt100::Parser::new(side(size.rows), side(size.columns), HISTORY)
}

fn side(n: u16) -> NonZeroU16 {
    NonZeroU16::new(n).unwrap_or(NonZeroU16::MIN)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a viewer sees that draws `contents` on an empty terminal.
    fn seen(size: Size, contents: &[u8]) -> vt100::Screen {
        let mut viewer = vt100::Parser::new(side(size.rows), side(size.columns), 10_000);
        viewer.process(contents);
        viewer.screen().clone()
    }

    #[test]
    fn history_comes_first_and_ends_up_above_the_screen() {
        let size = Size { columns: 20, rows: 5 };
        for lines in [3, 7, 9, 40] {
            let mut emulator = Emulator::new(size);
            for n in 1..=lines {
                emulator.feed(format!("line {n} \x1b[31mred\x1b[m\r\n").as_bytes());
            }
            let (contents, history) = emulator.draw(10_000);
            let mut screen = seen(size, &contents);
            assert_eq!(screen.contents(), emulator.parser.screen().contents());
            assert_eq!((history, screen.scrollback_len()), ((lines + 1_usize).saturating_sub(5), history));
            screen.set_scrollback(history);
            assert!(screen.contents().starts_with("line 1 red"), "{}", screen.contents());
        }
    }

    #[test]
    fn only_the_newest_history_that_is_wanted() {
        let size = Size { columns: 20, rows: 5 };
        let mut emulator = Emulator::new(size);
        for n in 1..=30 {
            emulator.feed(format!("line {n}\r\n").as_bytes());
        }
        let (contents, history) = emulator.draw(2);
        let mut screen = seen(size, &contents);
        screen.set_scrollback(100);
        assert_eq!((history, screen.contents().lines().next()), (2, Some("line 25")));
    }

    #[test]
    fn modes_come_along() {
        let size = Size { columns: 20, rows: 5 };
        let mut emulator = Emulator::new(size);
        emulator.feed(b"shell\x1b[?1049h\x1b[?2004h\x1b[?1002h\x1b[?1006h\x1b[?25l\x1b[2;3Hx");
        let (contents, _) = emulator.draw(100);
        let screen = seen(size, &contents);
        assert!(screen.alternate_screen() && screen.bracketed_paste() && screen.hide_cursor());
        assert_eq!(screen.mouse_protocol_mode(), vt100::MouseProtocolMode::ButtonMotion);
        assert_eq!(screen.cursor_position(), (1, 3));
    }

    proptest! {
        /// Whatever a guest writes and a viewer resizes to: no panic comes out, and it still draws.
        #[test]
        fn hostile_bytes_are_survived(
            steps in proptest::collection::vec(
                (proptest::collection::vec(any::<u8>(), 0..64), "(\x1b\\[[?0-9;]{0,9}[@-~a-zA-Z]){0,4}", 1_u32..60, 1_u32..60),
                0..24,
            ),
        ) {
            let mut emulator = Emulator::new(Size::USUAL);
            for (bytes, sequences, columns, rows) in steps {
                emulator.feed(&bytes);
                emulator.feed(sequences.as_bytes());
                emulator.resize(Size::clamped(columns, rows));
                emulator.draw(100);
            }
            emulator.feed(b"\x18\x1bcstill here");
            prop_assert!(!emulator.draw(0).0.is_empty());
        }
    }
}
