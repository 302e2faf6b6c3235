//! What the user's terminal is sent: the session's bytes, but for what it must not carry out, where both have one size; a drawn
//! part of its screen where they do not; and now and then a line of ours over it. Pure: bytes in, bytes out.

use pilothouse_proto::hostd::v1::{Screen, Size};
use pilothouse_terminal::{Emulator, Event, RESET};
use unicode_width::UnicodeWidthStr;

use crate::cli::{format::plain, table::truncate};

/// Bytes after each reset: pastes come in brackets, so that no key of this program's is found inside; what the wheel does is
/// the user's.
const OURS: &str = "\x1b[?1007r\x1b[?2004h";
/// Moves the cursor far below every screen.
const BOTTOM: &str = "\x1b[9999;1H";

/// Most bytes of output that are kept while a notice is shown; more ends the notice.
const HELD_MAX: usize = 256 << 10;
/// Longest side of a screen that is believed.
const SIDE_MAX: u32 = 1000;
/// Longest copy to the clipboard that is passed on, in bytes of base64.
const COPY_MAX: usize = 1 << 20;

/// Bytes before everything: remember the window's title, the wheel's mode, and the keyboard's flags.
pub(crate) fn enter() -> String {
    "\x1b[22;0t\x1b[?1007s\x1b[>0u".into()
}

/// Bytes after everything: all modes off, title and keyboard back, the cursor below `row`, or below all where that is not
/// known.
pub(crate) fn leave(row: Option<u16>) -> String {
    let to = row.map_or(BOTTOM.into(), |row| format!("\x1b[{row};1H"));
    format!("{RESET}\x1b[?1007r\x1b[<u\x1b[23;0t{to}\r\n")
}

/// State of the user's terminal.
pub(crate) struct Display {
    ours: Size,
    theirs: Size,
    /// The session's screen as far as it was passed on.
    emulator: Emulator,
    /// Whether the user's terminal answers the program's queries, where it gets them.
    answers: bool,
    said: Vec<Event>,
    first: bool,
    /// Bytes that take the notice away; None: none is shown.
    notice: Option<Vec<u8>>,
    held: Vec<u8>,
    /// Rows as they were last drawn, where sizes differ.
    drawn: Vec<String>,
}

impl Display {
    /// The state of a terminal of size `ours`, before the first screen.
    pub(crate) fn new(ours: Size) -> Self {
        let (held, drawn, said) = (Vec::new(), Vec::new(), Vec::new());
        let emulator = emulator(&ours);
        Self { theirs: ours, ours, emulator, answers: false, said, first: true, notice: None, held, drawn }
    }

    /// Sets whether the user's terminal answers queries from now on.
    pub(crate) fn answers(&mut self, answers: bool) {
        self.answers = answers;
    }

    /// Events of the program since this was last called. Answers are among them where the user's terminal was to give them and
    /// was not sent the query.
    pub(crate) fn said(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.said)
    }

    /// Whether the program wants pastes in brackets.
    pub(crate) fn brackets(&self) -> bool {
        self.emulator.screen().bracketed_paste()
    }

    /// Takes the session's screen, which replaces everything; returns the bytes for the user's terminal.
    pub(crate) fn screen(&mut self, screen: &Screen) -> Vec<u8> {
        (self.notice, self.theirs) = (None, bounded(screen.size.as_ref().unwrap_or(&self.ours)));
        self.held.clear();
        self.emulator = emulator(&self.theirs);
        let first = std::mem::take(&mut self.first);
        let mut out = [RESET, OURS].concat().into_bytes();
        if first {
            // What the user had on the screen goes into the scrollback, above the session's history.
            out.extend_from_slice(BOTTOM.as_bytes());
            out.resize(out.len() + self.ours.rows as usize, b'\n');
        }
        // History has been seen before, so it is not repeated after a resize.
        let skip = if first { 0 } else { after_lines(&screen.contents, screen.history as usize) };
        self.emulator.feed(&screen.contents[..skip]);
        let drawn = self.emulator.feed_through(&screen.contents[skip..], self.answers);
        // Its title was said before, or is in what is drawn.
        self.emulator.events();
        if self.is_direct() {
            out.extend_from_slice(b"\x1b[H\x1b[2J");
            out.extend_from_slice(&drawn);
        } else {
            out.extend(self.draw_all());
        }
        out
    }

    /// Takes more of the session's output; returns the bytes for the user's terminal.
    pub(crate) fn output(&mut self, bytes: &[u8]) -> Vec<u8> {
        let passed = self.emulator.feed_through(bytes, self.answers);
        let events = self.emulator.events();
        let asks = events.iter().any(|event| matches!(event, Event::Answer(_)));
        let direct = self.is_direct();
        let theirs = |event: &Event| match event {
            Event::Answer(_) => self.answers && !direct,
            // The host's.
            Event::StatusAnswer(_) => false,
            _ => true,
        };
        self.said.extend(events.into_iter().filter(theirs));
        if !direct {
            return [self.aside(), self.draw()].concat();
        }
        if self.notice.is_none() {
            return passed;
        }
        self.held.extend_from_slice(&passed);
        // A program that asks waits for the answer.
        if self.held.len() > HELD_MAX || asks { self.end_notice() } else { Vec::new() }
    }

    /// Bytes for bell and title of a program whose screen is drawn.
    fn aside(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for event in &self.said {
            match event {
                Event::Bell => out.push(0x07),
                Event::Title(title) => out.extend_from_slice(format!("\x1b]2;{title}\x1b\\").as_bytes()),
                _ => {}
            }
        }
        out
    }

    /// Sets the size of the user's terminal. If the session's follows, a new screen comes.
    pub(crate) fn resized(&mut self, ours: Size) -> Vec<u8> {
        let mut out = self.end_notice();
        let was_direct = std::mem::replace(&mut self.ours, ours).eq(&self.theirs);
        if self.first || (was_direct && self.is_direct()) {
            return out;
        }
        out.extend_from_slice(RESET.as_bytes());
        out.extend_from_slice(OURS.as_bytes());
        if self.is_direct() {
            let drawn = self.emulator.draw(0).bytes;
            out.extend(emulator(&self.theirs).feed_through(&drawn, self.answers));
        } else {
            out.extend(self.draw_all());
        }
        out
    }

    /// Shows a notice over the last row, until [`Self::end_notice`].
    pub(crate) fn show_notice(&mut self, text: &str) -> Vec<u8> {
        let mut out = self.end_notice();
        let width = self.ours.columns as usize;
        let text = truncate(&format!(" {} ", plain(text)), width);
        let pad = " ".repeat(width.saturating_sub(text.width()));
        let last = self.ours.rows;
        let line = format!("\x1b[{last};1H\x1b[0;7m{text}{pad}\x1b[m");
        if self.is_direct() {
            let columns = u16::try_from(self.ours.columns).unwrap_or(u16::MAX);
            let row = self.emulator.rows(columns).into_iter().nth(last.saturating_sub(1) as usize).unwrap_or_default();
            let back = format!("\x1b[{last};1H\x1b[m\x1b[2K{row}").into_bytes();
            let resume = self.emulator.resume();
            self.notice = Some([self.emulator.pause(), back, resume.clone()].concat());
            out.extend([self.emulator.pause(), line.into_bytes(), resume].concat());
        } else {
            self.notice = Some(Vec::new());
            out.extend_from_slice(line.as_bytes());
            out.extend(self.cursor());
        }
        out
    }

    /// Takes the notice away and shows what came meanwhile.
    pub(crate) fn end_notice(&mut self) -> Vec<u8> {
        let Some(mut out) = self.notice.take() else { return Vec::new() };
        if !self.is_direct() {
            self.drawn.pop();
            return self.draw();
        }
        out.append(&mut self.held);
        out
    }

    /// Whether a notice is shown.
    pub(crate) fn has_notice(&self) -> bool {
        self.notice.is_some()
    }

    /// Number from 1 of the last row with anything on it, where the user's terminal shows just what a shell would have left.
    pub(crate) fn last_row(&self) -> Option<u16> {
        let screen = self.emulator.screen();
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
        let rows = self.ours.rows as usize;
        let width = u16::try_from(self.ours.columns.min(self.theirs.columns)).unwrap_or(u16::MAX);
        // No wrapping: half of a wide character may stand at the edge.
        let mut out = String::from("\x1b[?7l");
        let now: Vec<String> = self.emulator.rows(width).into_iter().skip(self.top()).take(rows).collect();
        for (at, row) in now.iter().enumerate() {
            if self.drawn.get(at) != Some(row) && !(self.notice.is_some() && at + 1 == rows) {
                out.push_str(&format!("\x1b[{};1H\x1b[m\x1b[2K{row}\x1b[m", at + 1));
            }
        }
        out.push_str("\x1b[?7h");
        self.drawn = now;
        let mut out = out.into_bytes();
        out.extend(self.cursor());
        out
    }

    /// Number of the first row that is drawn, so that the cursor's can be seen.
    fn top(&self) -> usize {
        let (row, _) = self.emulator.screen().cursor_position();
        (usize::from(row) + 1).saturating_sub(self.ours.rows as usize)
    }

    /// Puts the cursor of a drawn screen where the session has it.
    fn cursor(&self) -> Vec<u8> {
        let screen = self.emulator.screen();
        let (row, column) = screen.cursor_position();
        let hidden = screen.hide_cursor() || u32::from(column) >= self.ours.columns;
        let row = usize::from(row) - self.top() + 1;
        format!("\x1b[{row};{}H\x1b[?25{}", u32::from(column) + 1, if hidden { 'l' } else { 'h' }).into_bytes()
    }
}

fn emulator(size: &Size) -> Emulator {
    let side = |n: u32| u16::try_from(n).unwrap_or(u16::MAX);
    Emulator::new(side(size.columns), side(size.rows), 0, COPY_MAX)
}

fn bounded(size: &Size) -> Size {
    Size { columns: size.columns.clamp(1, SIDE_MAX), rows: size.rows.clamp(1, SIDE_MAX) }
}

/// Offset at which the line after the first `count` begins.
fn after_lines(bytes: &[u8], count: usize) -> usize {
    let mut ends = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1);
    count.checked_sub(1).and_then(|last| ends.nth(last)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU16;

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
    fn what_must_not_pass_does_not_and_is_told() {
        let mut display = Display::new(SMALL);
        display.screen(&screen(SMALL, "", 0));
        let written = b"a\x1b[6n\x1b]52;c;aGk=\x07\x07\x1b]2;t\x07";
        // A watcher's terminal is not asked.
        assert_eq!(display.output(written), b"a\x07\x1b]2;t\x07");
        let copy = Event::Copy(pilothouse_terminal::Copy { selections: "c".into(), text: b"hi".into() });
        assert_eq!(display.said(), [copy.clone(), Event::Bell, Event::Title("t".into())]);
        display.answers(true);
        assert_eq!(display.output(written), b"a\x1b[6n\x07\x1b]2;t\x07");
        assert_eq!(display.said().len(), 3);
        // One that draws a part answers by itself.
        display.screen(&screen(Size { columns: 30, rows: 8 }, "", 0));
        let drawn = display.output(written);
        assert!(!drawn.windows(3).any(|part| part == b"[6n") && drawn.starts_with(b"\x07\x1b]2;t\x1b\\"));
        assert_eq!(display.said()[..2], [Event::Answer(b"\x1b[1;2R".to_vec()), copy]);
        display.answers(false);
        display.output(b"\x1b[6n");
        assert_eq!(display.said(), []);
    }

    #[test]
    fn a_fresh_screen_brings_the_keyboard_back() {
        let mut session = emulator(&SMALL);
        session.feed(b"\x1b[>1u\x1b[>5u\x1b[>4;2m\x1b[?1004h\x1b[?2031h");
        let contents = String::from_utf8(session.draw(0).bytes).unwrap();
        let mut display = Display::new(SMALL);
        for _ in 0..2 {
            let out = String::from_utf8(display.screen(&screen(SMALL, &contents, 0))).unwrap();
            let last = |sequence: &str| out.rfind(sequence).unwrap_or(0);
            for (on, off) in [("[=5u", "[=0u"), ("[>4;2m", "[>4m"), ("[?1004h", "[?1004l"), ("[?2031h", "[?2031l")] {
                assert!(last(on) > last(off), "{on} in {out:?}");
            }
            assert!(!out.contains("[>1u") && last("[?2004h") > last("[?2004l"));
        }
    }

    #[test]
    fn a_query_ends_a_notice() {
        let mut display = Display::new(SMALL);
        display.answers(true);
        display.screen(&screen(SMALL, "", 0));
        display.show_notice("ours");
        assert_eq!(display.output(b"text"), b"");
        let out = display.output(b"\x1b[c");
        assert!(out.ends_with(b"text\x1b[c") && !display.has_notice());
    }

    #[test]
    fn a_notice_is_readable_whatever_the_program_has_set() {
        let (mut display, mut user) = (Display::new(SMALL), emulator(&SMALL));
        user.feed(&display.screen(&screen(SMALL, "\x1b(0lqk\x1b[4h\x1b[2;4r\x1b[?6h", 0)));
        user.feed(&display.show_notice("quick lines"));
        let row = |user: &Emulator, at| user.screen().rows(0, 20).nth(at).unwrap().trim_end().to_owned();
        assert_eq!(row(&user, 4), " quick lines");
        user.feed(&display.end_notice());
        user.feed(&display.output(b"q"));
        assert_eq!((row(&user, 4).as_str(), row(&user, 1).as_str()), ("", "\u{2500}"));
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
