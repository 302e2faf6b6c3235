//! What the user's terminal is sent: the session's bytes as they are where both have one size, a drawn part of its screen
//! where they do not, and now and then a line of ours over it. Pure: bytes in, bytes out.

use std::num::NonZeroU16;

use pilothouse_proto::hostd::v1::{Screen, Size};
use tui_core::guard::guarded;
use unicode_width::UnicodeWidthStr;

use crate::cli::{format::plain, table::truncate};

/// Ends every mode that a program may have set; then the main screen is shown, with the cursor at home.
const RESET: &str = concat!(
    // Alternate screen, held output.
    "\x1b[?1049l\x1b[?2026l",
    // Colours, character sets, margins, origin, wrapping, insertion, cursor.
    "\x1b[m\x1b(B\x0f\x1b[r\x1b[?6l\x1b[?7h\x1b[4l\x1b[?25h\x1b[0 q",
    // Keypad, paste, modifyOtherKeys, kitty's keyboard protocol.
    "\x1b[?1l\x1b>\x1b[?2004l\x1b[>4m\x1b[=0u",
    // Mouse and focus.
    "\x1b[?9l\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1004l\x1b[?1005l\x1b[?1006l\x1b[?1015l",
);
/// Far below every screen.
const BOTTOM: &str = "\x1b[9999;1H";

/// Output kept while a line of ours is shown, in bytes; more ends the line.
const HELD_MAX: usize = 256 << 10;
/// Largest side of a screen that is believed.
const SIDE_MAX: u32 = 1000;

/// Before everything: remember the window's title.
pub(crate) fn enter() -> String {
    "\x1b[22;0t".into()
}

/// After everything: all modes off, the title back, the cursor below `row`, or below all where that is not known.
pub(crate) fn leave(row: Option<u16>) -> String {
    let to = row.map_or(BOTTOM.into(), |row| format!("\x1b[{row};1H"));
    format!("{RESET}\x1b[23;0t{to}\r\n")
}

/// The state of the user's terminal.
pub(crate) struct Display {
    ours: Size,
    theirs: Size,
    /// The session's screen as far as it was passed on.
    parser: vt100::Parser,
    first: bool,
    notice: bool,
    held: Vec<u8>,
    /// Rows as last drawn, where sizes differ.
    drawn: Vec<String>,
}

impl Display {
    /// Of a terminal of size `ours`, before the first screen.
    pub(crate) fn new(ours: Size) -> Self {
        let parser = parser(&ours);
        let (held, drawn) = (Vec::new(), Vec::new());
        Self { theirs: ours, ours, parser, first: true, notice: false, held, drawn }
    }

    /// The session's screen, replacing everything.
    pub(crate) fn screen(&mut self, screen: &Screen) -> Vec<u8> {
        (self.notice, self.theirs) = (false, bounded(screen.size.as_ref().unwrap_or(&self.ours)));
        self.held.clear();
        self.parser = parser(&self.theirs);
        self.feed(&screen.contents);
        let first = std::mem::take(&mut self.first);
        let mut out = RESET.as_bytes().to_vec();
        if first {
            // What the user had on the screen goes into the scrollback, above the session's history.
            out.extend_from_slice(BOTTOM.as_bytes());
            out.resize(out.len() + self.ours.rows as usize, b'\n');
        }
        if !self.is_direct() {
            out.extend(self.draw_all());
            return out;
        }
        out.extend_from_slice(b"\x1b[H\x1b[2J");
        // History has been seen before, so it is not repeated after a resize.
        let skip = if first { 0 } else { after_lines(&screen.contents, screen.history as usize) };
        out.extend_from_slice(&screen.contents[skip..]);
        out
    }

    /// More of the session's output.
    pub(crate) fn output(&mut self, bytes: &[u8]) -> Vec<u8> {
        if self.notice && self.is_direct() {
            self.held.extend_from_slice(bytes);
            return if self.held.len() > HELD_MAX { self.end_notice() } else { Vec::new() };
        }
        self.feed(bytes);
        if self.is_direct() { bytes.to_vec() } else { self.draw() }
    }

    /// The user's terminal has another size. If the session's follows, a new screen comes.
    pub(crate) fn resized(&mut self, ours: Size) -> Vec<u8> {
        let mut out = self.end_notice();
        let was_direct = std::mem::replace(&mut self.ours, ours).eq(&self.theirs);
        if self.first || (was_direct && self.is_direct()) {
            return out;
        }
        out.extend_from_slice(RESET.as_bytes());
        if self.is_direct() {
            out.extend_from_slice(self.parser.screen().state_formatted().as_bytes());
        } else {
            out.extend(self.draw_all());
        }
        out
    }

    /// Shows a line of ours over the last row, until [`Self::end_notice`].
    pub(crate) fn show_notice(&mut self, text: &str) -> Vec<u8> {
        let mut out = self.end_notice();
        self.notice = true;
        let width = self.ours.columns as usize;
        let text = truncate(&format!(" {} ", plain(text)), width);
        let pad = " ".repeat(width.saturating_sub(text.width()));
        out.extend(format!("\x1b[{};1H\x1b[0;7m{text}{pad}\x1b[m", self.ours.rows).into_bytes());
        out.extend(self.cursor());
        out
    }

    /// Takes the line away and shows what came meanwhile.
    pub(crate) fn end_notice(&mut self) -> Vec<u8> {
        if !std::mem::take(&mut self.notice) {
            return Vec::new();
        }
        if !self.is_direct() {
            self.drawn.pop();
            return self.draw();
        }
        let last = self.ours.rows;
        let columns = u16::try_from(self.ours.columns).unwrap_or(u16::MAX);
        let row =
            self.parser.screen().rows_formatted(0, columns).nth(last.saturating_sub(1) as usize).unwrap_or_default();
        let mut out = format!("\x1b[{last};1H\x1b[m\x1b[2K{row}").into_bytes();
        out.extend(self.cursor());
        let held = std::mem::take(&mut self.held);
        self.feed(&held);
        out.extend(held);
        out
    }

    /// Whether a line of ours is shown.
    pub(crate) fn has_notice(&self) -> bool {
        self.notice
    }

    /// The last row, from 1, with anything on it, where the user's terminal shows just what a shell would have left.
    pub(crate) fn last_row(&self) -> Option<u16> {
        let screen = self.parser.screen();
        if self.first || !self.is_direct() || screen.alternate_screen() {
            return None;
        }
        let rows = screen.rows(0, u16::MAX).enumerate().filter(|(_, row)| !row.trim().is_empty());
        let last = rows.last().map_or(0, |(at, _)| at).max(usize::from(screen.cursor_position().0));
        u16::try_from(last + 1).ok()
    }

    fn is_direct(&self) -> bool {
        self.ours == self.theirs
    }

    fn draw_all(&mut self) -> Vec<u8> {
        self.drawn.clear();
        let mut out = b"\x1b[H\x1b[2J".to_vec();
        out.extend(self.draw());
        out
    }

    /// Draws the rows that changed: as many as fit, those around the cursor.
    fn draw(&mut self) -> Vec<u8> {
        let screen = self.parser.screen();
        let rows = self.ours.rows as usize;
        let width = u16::try_from(self.ours.columns.min(self.theirs.columns)).unwrap_or(u16::MAX);
        // No wrapping: half of a wide character may stand at the edge.
        let mut out = String::from("\x1b[?7l");
        let top = self.top();
        let now: Vec<String> = screen.rows_formatted(0, width).skip(top).take(rows).collect();
        for (at, row) in now.iter().enumerate() {
            if self.drawn.get(at) != Some(row) && !(self.notice && at + 1 == rows) {
                out.push_str(&format!("\x1b[{};1H\x1b[m\x1b[2K{row}\x1b[m", at + 1));
            }
        }
        out.push_str("\x1b[?7h");
        self.drawn = now;
        let mut out = out.into_bytes();
        out.extend(self.cursor());
        out
    }

    /// The first row that is drawn, so that the cursor's can be seen.
    fn top(&self) -> usize {
        let (row, _) = self.parser.screen().cursor_position();
        (usize::from(row) + 1).saturating_sub(self.ours.rows as usize)
    }

    /// Puts the cursor where the session has it, with its colours.
    fn cursor(&self) -> Vec<u8> {
        let screen = self.parser.screen();
        if self.is_direct() {
            return (screen.cursor_state_formatted() + &screen.attributes_formatted()).into_bytes();
        }
        let (row, column) = screen.cursor_position();
        let hidden = screen.hide_cursor() || u32::from(column) >= self.ours.columns;
        let row = usize::from(row) - self.top() + 1;
        format!("\x1b[{row};{}H\x1b[?25{}", u32::from(column) + 1, if hidden { 'l' } else { 'h' }).into_bytes()
    }

    /// The bytes are a guest's: where the emulator panics on them it starts anew.
    fn feed(&mut self, bytes: &[u8]) {
        if guarded(|| self.parser.process(bytes)).is_none() {
            self.parser = parser(&self.theirs);
        }
    }
}

fn parser(size: &Size) -> vt100::Parser {
    let side = |n: u32| u16::try_from(n).ok().and_then(NonZeroU16::new).unwrap_or(NonZeroU16::MIN);
    vt100::Parser::new(side(size.rows), side(size.columns), 0)
}

fn bounded(size: &Size) -> Size {
    Size { columns: size.columns.clamp(1, SIDE_MAX), rows: size.rows.clamp(1, SIDE_MAX) }
}

/// Where the line after the first `count` begins.
fn after_lines(bytes: &[u8], count: usize) -> usize {
    let mut ends = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1);
    count.checked_sub(1).and_then(|last| ends.nth(last)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: Size = Size { columns: 20, rows: 5 };

    /// The user's terminal.
    fn terminal(size: &Size) -> vt100::Parser {
        let mut terminal = vt100::Parser::new(
            NonZeroU16::new(size.rows as u16).unwrap(),
            NonZeroU16::new(size.columns as u16).unwrap(),
            1000,
        );
        terminal.process(b"$ pilothouse attach it\r\n");
        terminal
    }

    fn screen(size: Size, contents: &str, history: u32) -> Screen {
        Screen { size: Some(size), contents: contents.to_owned().into(), history }
    }

    fn shown(terminal: &vt100::Parser) -> Vec<String> {
        terminal.screen().rows(0, 1000).map(|row| row.trim_end().to_owned()).collect()
    }

    #[test]
    fn with_one_size_bytes_pass_unchanged() {
        let (mut display, mut user) = (Display::new(SMALL), terminal(&SMALL));
        user.process(&display.screen(&screen(SMALL, "one\r\ntwo", 0)));
        assert_eq!(shown(&user), ["one", "two", "", "", ""]);
        assert_eq!(display.output(b"\x1b[?2004h\xff"), b"\x1b[?2004h\xff");
        user.screen_mut().set_scrollback(1000);
        assert!(user.screen().contents().starts_with("$ pilothouse attach it"));
    }

    #[test]
    fn history_is_drawn_once() {
        let (mut display, mut user) = (Display::new(SMALL), terminal(&SMALL));
        let contents = "past 1\r\npast 2\r\n\n\n\n\n\x1b[H\x1b[Jnow";
        user.process(&display.screen(&screen(SMALL, contents, 2)));
        let kept = user.screen().scrollback_len();
        user.process(&display.screen(&screen(SMALL, contents, 2)));
        assert_eq!(shown(&user)[0], "now");
        assert_eq!(user.screen().scrollback_len(), kept);
        user.screen_mut().set_scrollback(2);
        assert_eq!(shown(&user)[..3], ["past 1", "past 2", "now"]);
    }

    #[test]
    fn a_notice_leaves_no_trace() {
        let (mut display, mut user) = (Display::new(SMALL), terminal(&SMALL));
        user.process(&display.screen(&screen(SMALL, "1\r\n2\r\n3\r\n4\r\n\x1b[31m5 five", 0)));
        let before = user.screen().clone();
        user.process(&display.show_notice("a line of ours that is far too long"));
        assert_eq!(shown(&user)[4], " a line of ours tha…");
        assert_eq!(user.screen().cursor_position(), before.cursor_position());
        assert!(display.output(b" more\r\n6").is_empty());
        user.process(&display.end_notice());
        assert_eq!(shown(&user), ["2", "3", "4", "5 five more", "6"]);
        assert_eq!(user.screen().fgcolor(), before.fgcolor());
    }

    #[test]
    fn much_output_ends_a_notice() {
        let mut display = Display::new(SMALL);
        display.screen(&screen(SMALL, "", 0));
        display.show_notice("ours");
        assert!(display.output(&vec![b'x'; HELD_MAX + 1]).len() > HELD_MAX);
        assert!(!display.has_notice());
    }

    #[test]
    fn a_larger_screen_is_cut_around_the_cursor() {
        let (mut display, mut user) = (Display::new(SMALL), terminal(&SMALL));
        let large = Size { columns: 30, rows: 8 };
        let contents = (1..=7).map(|n| format!("{n} {}\r\n", "x".repeat(26))).collect::<String>() + "end";
        user.process(&display.screen(&screen(large, &contents, 0)));
        assert_eq!(shown(&user)[0], format!("4 {}", "x".repeat(18)));
        assert_eq!((shown(&user)[4].as_str(), user.screen().cursor_position()), ("end", (4, 3)));
        user.process(&display.show_notice("watching"));
        user.process(&display.output(b" of it"));
        assert_eq!(shown(&user)[4], " watching");
        user.process(&display.end_notice());
        assert_eq!(shown(&user)[4], "end of it");
        // The window grows to the session's size: all of it is there.
        let mut user = terminal(&large);
        user.process(&display.resized(large));
        assert_eq!((shown(&user)[0].len(), shown(&user)[7].as_str()), (28, "end of it"));
    }

    #[test]
    fn what_comes_after_stands_right_below() {
        let (mut display, mut user) = (Display::new(SMALL), terminal(&SMALL));
        assert_eq!(display.last_row(), None);
        user.process(&display.screen(&screen(SMALL, "one\r\ntwo\x1b[H", 0)));
        user.process(leave(display.last_row()).as_bytes());
        assert_eq!(user.screen().cursor_position(), (2, 0));
        display.output(b"\x1b[?1049h");
        assert_eq!(display.last_row(), None);
    }

    #[test]
    fn hostile_bytes_and_sizes_break_nothing() {
        const PARTS: [&[u8]; 22] = [
            b"\x1b[",
            b"\x1b]0;",
            b"\x1b[?1049h",
            b"\x1b[?1049l",
            b"\x1b[r",
            b";",
            b"9",
            b"1",
            b"H",
            b"A",
            b"L",
            b"P",
            b"@",
            b"\r\n",
            b"\x08",
            b"\t",
            "\u{732b}".as_bytes(),
            "e\u{301}".as_bytes(),
            b"\xff\x80",
            b"x",
            b"\x1bM",
            b"\x1b[2;3r",
        ];
        let mut random = 0x2545_f491_4f6c_dd1d_u64;
        let mut next = |bound: usize| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) as usize % bound
        };
        for _ in 0..400 {
            let mut size = || Size { columns: next(6) as u32, rows: next(6) as u32 };
            let (ours, theirs) = (size(), size());
            let mut display = Display::new(Size { columns: ours.columns.max(1), rows: ours.rows.max(1) });
            display.screen(&screen(theirs, "start", 0));
            for _ in 0..60 {
                let bytes: Vec<u8> = (0..next(12)).flat_map(|_| PARTS[next(PARTS.len())]).copied().collect();
                match next(8) {
                    0 => drop(display.show_notice("ours")),
                    1 => drop(display.end_notice()),
                    2 => drop(display.resized(Size { columns: 1 + next(6) as u32, rows: 1 + next(6) as u32 })),
                    3 => drop(display.last_row()),
                    _ => drop(display.output(&bytes)),
                }
            }
        }
    }

    #[test]
    fn leaving_ends_every_mode() {
        let mut user = terminal(&SMALL);
        user.process(b"\x1b[?1049h\x1b[?25l\x1b[?2004h\x1b[?1003h\x1b[?1006h\x1b[?1h\x1b=\x1b[31m");
        user.process(leave(None).as_bytes());
        let screen = user.screen();
        assert!(!screen.alternate_screen() && !screen.hide_cursor() && !screen.bracketed_paste());
        assert!(!screen.application_cursor() && !screen.application_keypad());
        assert_eq!(screen.mouse_protocol_mode(), vt100::MouseProtocolMode::None);
        assert_eq!(screen.fgcolor(), vt100::Color::Default);
    }
}
