//! The terminal's state, and what controls and sequences do to it.

use std::num::NonZeroU16;

use crate::{
    charset::Charsets,
    event::{Event, Events},
    marks::Marks,
    modes::{Keyboard, Modes},
    pen::Pen,
    query,
    scanner::Token,
    sequence::Csi,
    status::{self, Records},
    tabs::Tabs,
    text,
};

/// Counts rows that fall out of the engine's history.
#[derive(Debug, Default)]
pub(crate) struct Fallen(pub(crate) usize);

impl vt100::Callbacks for Fallen {
    fn on_scroll(&mut self, _: vt100::capture::RowContents<'_>, alternate: bool) {
        self.0 += usize::from(!alternate);
    }
}

pub(crate) type Engine = vt100::Parser<Fallen>;

/// What `ESC 7` keeps beside the engine's place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Saved {
    pub(crate) pen: Pen,
    pub(crate) charsets: Charsets,
    pub(crate) origin: bool,
}

/// The engine, and the state of a terminal that it lacks.
pub(crate) struct Machine {
    pub(crate) engine: Engine,
    pub(crate) pen: Pen,
    pub(crate) marks: Marks,
    pub(crate) charsets: Charsets,
    pub(crate) tabs: Tabs,
    pub(crate) modes: Modes,
    /// First and last row of the region that scrolls, from 0.
    pub(crate) region: (u16, u16),
    pub(crate) origin: bool,
    /// What `ESC 7` kept on the main screen and on the alternate one.
    pub(crate) saved: [Saved; 2],
    pub(crate) title: String,
    pub(crate) events: Events,
    /// What programs reported of themselves.
    pub(crate) status: Records,
    /// What `CSI b` repeats: the last character, where nothing else came after it.
    pub(crate) last: Option<char>,
    pub(crate) history: usize,
}

impl std::fmt::Debug for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Machine").field("modes", &self.modes).field("title", &self.title).finish_non_exhaustive()
    }
}

impl Machine {
    pub(crate) fn new(columns: u16, rows: u16, history: usize) -> Self {
        Self {
            engine: engine(columns, rows, history),
            pen: Pen::default(),
            marks: Marks::default(),
            charsets: Charsets::default(),
            tabs: Tabs::default(),
            modes: Modes::default(),
            region: (0, rows.max(1) - 1),
            origin: false,
            saved: Default::default(),
            title: String::new(),
            events: Events::default(),
            status: Records::default(),
            last: None,
            history,
        }
    }

    pub(crate) fn screen(&self) -> &vt100::Screen {
        self.engine.screen()
    }

    pub(crate) fn size(&self) -> (u16, u16) {
        let (rows, columns) = self.screen().size();
        (columns.get(), rows.get())
    }

    pub(crate) fn scroll_to(&mut self, up: usize) {
        let up = up.min(self.screen().scrollback_len());
        self.engine.screen_mut().set_scrollback(up);
    }

    /// Kitty's keyboard of the screen that is shown.
    pub(crate) fn keyboard(&self) -> &Keyboard {
        &self.modes.keyboards[self.which()]
    }

    fn keyboard_mut(&mut self) -> &mut Keyboard {
        let which = self.which();
        &mut self.modes.keyboards[which]
    }

    /// Number of the screen that is shown: 0 the main one, 1 the alternate one.
    pub(crate) fn which(&self) -> usize {
        usize::from(self.screen().alternate_screen())
    }

    /// Row and column of the cursor, from 0. The column is the width where the next character wraps.
    pub(crate) fn cursor(&self) -> (u16, u16) {
        self.screen().cursor_position()
    }

    /// Gives the engine something that it carries out as terminals do.
    pub(crate) fn tell(&mut self, bytes: &[u8]) {
        self.engine.process(bytes);
    }

    pub(crate) fn say(&mut self, sequence: std::fmt::Arguments<'_>) {
        self.engine.process(sequence.to_string().as_bytes());
    }

    /// Tells the engine the pen.
    pub(crate) fn tell_pen(&mut self) {
        let mut out = Vec::new();
        self.pen.write_known(&mut out);
        self.tell(&out);
    }

    /// Moves the cursor, to a row and column from 0; in origin mode not out of the region.
    pub(crate) fn place(&mut self, row: u16, column: u16) {
        let row = if self.origin { row.saturating_sub(self.region.0) } else { row };
        self.say(format_args!("\x1b[{};{}H", row + 1, column + 1));
    }

    /// A cursor that waits to wrap stands on the last column for whatever is not text.
    pub(crate) fn stop_waiting(&mut self) {
        let (columns, _) = self.size();
        if self.cursor().1 >= columns {
            self.say(format_args!("\x1b[{columns}G"));
        }
    }

    pub(crate) fn take(&mut self, token: Token<'_>) {
        if let Token::Text(bytes) = token {
            return self.text(bytes);
        }
        match token {
            Token::Text(_) | Token::Part(_) => {}
            Token::Control(byte) => self.control(byte),
            Token::Sequence(bytes) => match Csi::parse(bytes) {
                Some(csi) => self.csi(&csi),
                None => self.escape(&bytes[1..]),
            },
            Token::String(bytes) => self.string(bytes),
            Token::LongCopy => self.events.push(Event::LongCopy),
        }
        self.last = None;
    }

    fn control(&mut self, byte: u8) {
        match byte {
            0x07 => self.events.push(Event::Bell),
            0x08 => {
                self.stop_waiting();
                self.tell(b"\x08");
            }
            b'\t' => self.tab(1),
            b'\n' | 0x0b | 0x0c => self.line_feed(self.modes.newline),
            b'\r' => self.tell(b"\r"),
            0x0e => self.charsets.shift(1),
            0x0f => self.charsets.shift(0),
            _ => {}
        }
    }

    fn tab(&mut self, count: u16) {
        let (columns, _) = self.size();
        self.stop_waiting();
        let mut column = self.cursor().1;
        for _ in 0..count.min(columns) {
            column = self.tabs.next(column, columns);
        }
        self.say(format_args!("\x1b[{}G", column + 1));
    }

    fn back_tab(&mut self, count: u16) {
        let mut column = self.cursor().1.min(self.size().0 - 1);
        for _ in 0..count.min(column) {
            column = self.tabs.before(column);
        }
        self.say(format_args!("\x1b[{}G", column + 1));
    }

    fn escape(&mut self, sequence: &[u8]) {
        match sequence {
            b"7" => self.save(),
            b"8" => self.restore(),
            b"D" => self.line_feed(false),
            b"E" => self.line_feed(true),
            b"M" => self.reverse_line_feed(),
            b"H" => self.tabs.set(self.cursor().1),
            b"N" => self.charsets.shift_once(2),
            b"O" => self.charsets.shift_once(3),
            b"n" => self.charsets.shift(2),
            b"o" => self.charsets.shift(3),
            b"c" => self.reset(),
            b"=" => self.tell(b"\x1b="),
            b">" => self.tell(b"\x1b>"),
            b"Z" => self.answer(b"\x1b[?62;22c"),
            b"#8" => self.fill(),
            [which, .., set] => {
                self.charsets.designate(*which, *set);
            }
            _ => {}
        }
    }

    /// Carries out RIS. The history goes, too, as in xterm.
    fn reset(&mut self) {
        let (columns, rows) = self.size();
        let (events, mut status) = (std::mem::take(&mut self.events), std::mem::take(&mut self.status));
        status.reset();
        *self = Self { events, status, ..Self::new(columns, rows, self.history) };
    }

    /// Carries out DECSTR.
    fn soft_reset(&mut self) {
        let (_, rows) = self.size();
        let (row, column) = self.cursor();
        self.tell(b"\x1b[?6l\x1b[r\x1b[?1l\x1b>\x1b[?25h\x1b[m");
        (self.pen, self.charsets, self.region, self.origin) = Default::default();
        self.region = (0, rows - 1);
        self.modes.soft_reset();
        let which = self.which();
        self.saved[which] = Saved::default();
        self.tell(b"\x1b[H\x1b7");
        self.place(row, column);
    }

    pub(crate) fn save(&mut self) {
        let which = self.which();
        self.saved[which] = Saved { pen: self.pen, charsets: self.charsets.saved(), origin: self.origin };
        self.tell(b"\x1b7");
    }

    /// Carries out DECRC. With origin mode the cursor stands within the margins, as in xterm, also where these have changed since.
    /// It waits to wrap behind a character alone: where that was erased since, it stands in its cell.
    pub(crate) fn restore(&mut self) {
        self.tell(b"\x1b8");
        self.take_saved();
        let ((row, column), (top, bottom)) = (self.cursor(), self.region);
        let behind = |cell: &vt100::Cell| cell.has_contents() || cell.is_wide_continuation();
        if !self.screen().cell(row, self.size().0 - 1).is_some_and(behind) {
            self.stop_waiting();
        }
        if self.origin && !(top..=bottom).contains(&row) {
            self.place(row, column);
        }
    }

    fn take_saved(&mut self) {
        let saved = self.saved[self.which()];
        (self.pen, self.charsets, self.origin) = (saved.pen, saved.charsets, saved.origin);
        self.tell_pen();
    }

    fn csi(&mut self, csi: &Csi<'_>) {
        let one = csi.count(0, 1);
        match csi.name() {
            (0, 0, b'm') => {
                self.pen.apply(csi);
                self.tell_pen();
            }
            (0, 0, b'H' | b'f') => self.say(format_args!("\x1b[{one};{}H", csi.count(1, 1))),
            (0, 0, b'G' | b'`') => self.say(format_args!("\x1b[{one}G")),
            (0, 0, b'd') => {
                let column = self.cursor().1.min(self.size().0 - 1) + 1;
                self.say(format_args!("\x1b[{one};{column}H"));
            }
            (0, 0, letter @ (b'A' | b'B' | b'C' | b'D' | b'E' | b'F' | b'a' | b'e')) => self.go(letter, one),
            (0, 0, b'I') => self.tab(one),
            (0, 0, b'Z') => self.back_tab(one),
            (0, 0, b'g') => match csi.number(0).unwrap_or(0) {
                0 => self.tabs.clear(self.cursor().1),
                3 => self.tabs.clear_all(),
                _ => {}
            },
            (0 | b'?', 0, b'J') => self.erase_screen(csi.number(0).unwrap_or(0)),
            (0 | b'?', 0, b'K') => self.erase_row(csi.number(0).unwrap_or(0)),
            (0, 0, letter @ (b'L' | b'M' | b'S' | b'T')) if csi.fields().count() <= 1 => self.shift_rows(letter, one),
            (0, 0, letter @ (b'@' | b'P' | b'X')) => self.shift_cells(letter, one),
            (0, 0, b'b') => self.repeat(one),
            (0, 0, b'r') => self.set_region(csi.count(0, 1), csi.count(1, u16::MAX)),
            (0, 0, b's') if csi.fields().next().is_none() => self.save(),
            (0, 0, b'u') => self.restore(),
            (0, b' ', b'q') => self.say(format_args!("\x1b[{} q", csi.number(0).unwrap_or(0))),
            (0, b'!', b'p') => self.soft_reset(),
            (b'?', 0, b'W') if csi.number(0) == Some(5) => self.tabs = Tabs::default(),
            (0, 0, letter @ (b'h' | b'l')) => self.ansi_modes(csi, letter == b'h'),
            (b'?', 0, letter @ (b'h' | b'l')) => self.private_modes(csi, letter == b'h'),
            (b'>', 0, b'u') => self.keyboard_mut().push(csi.number(0).unwrap_or(0)),
            (b'<', 0, b'u') => self.keyboard_mut().pop(one),
            (b'=', 0, b'u') => self.keyboard_mut().set(csi.number(0).unwrap_or(0), csi.count(1, 1)),
            (b'>', 0, b'm') => match csi.number(0) {
                Some(4) | None => self.modes.other_keys = csi.number(1).unwrap_or(0).min(3),
                _ => {}
            },
            _ => self.report(csi),
        }
    }

    fn go(&mut self, letter: u8, count: u16) {
        self.stop_waiting();
        let letter = match letter {
            b'a' => 'C',
            b'e' => 'B',
            other => char::from(other),
        };
        self.say(format_args!("\x1b[{count}{letter}"));
    }

    fn set_region(&mut self, top: u16, bottom: u16) {
        let (_, rows) = self.size();
        let (top, bottom) = (top - 1, bottom.min(rows) - 1);
        if top < bottom {
            self.region = (top, bottom);
            self.say(format_args!("\x1b[{};{}r\x1b[H", top + 1, bottom + 1));
        }
    }

    fn ansi_modes(&mut self, csi: &Csi<'_>, on: bool) {
        for mode in csi.fields().filter_map(|field| field.parts().next().flatten()) {
            match mode {
                4 => self.modes.insert = on,
                20 => self.modes.newline = on,
                _ => {}
            }
        }
    }

    fn private_modes(&mut self, csi: &Csi<'_>, on: bool) {
        for mode in csi.fields().filter_map(|field| field.parts().next().flatten()) {
            let letter = if on { 'h' } else { 'l' };
            match mode {
                6 => {
                    self.origin = on;
                    self.say(format_args!("\x1b[?6{letter}"));
                }
                47 | 1047 | 1049 => self.switch(mode, on),
                1048 if on => self.save(),
                1048 => self.restore(),
                66 => self.tell(if on { b"\x1b=" } else { b"\x1b>" }),
                9 | 1000 | 1002 | 1003 if !on => self.tell(b"\x1b[?9l\x1b[?1000l\x1b[?1002l\x1b[?1003l"),
                7 if !on => {
                    self.stop_waiting();
                    self.modes.set(7, false);
                }
                1 | 9 | 25 | 1000 | 1002 | 1003 | 1005 | 1006 | 2004 => self.say(format_args!("\x1b[?{mode}{letter}")),
                _ => {
                    self.modes.set(mode, on);
                }
            }
        }
    }

    /// Shows the alternate screen or the main one. Cursor, region and origin are those of the terminal, not of a screen. An
    /// alternate screen that is left is forgotten, with its saved cursor and its keyboard, also where xterm would keep it: what
    /// is hidden is not drawn for whoever comes late, who must see what everybody sees.
    fn switch(&mut self, mode: u16, on: bool) {
        let (row, column) = self.cursor();
        let column = column.min(self.size().0 - 1);
        match (mode, on, self.which()) {
            (1049, true, 0) => {
                self.save();
                self.tell(b"\x1b[?1049h");
                self.settle(row, column);
            }
            (1049, true, _) => self.save(),
            (1049, false, 0) => self.restore(),
            (1049, false, _) => {
                self.forget();
                self.tell(b"\x1b[?1049l");
                let (row, column) = self.cursor();
                self.take_saved();
                self.settle(row, column);
            }
            (_, true, 0) | (_, false, 1) => {
                if !on {
                    self.forget();
                    self.tell_pen();
                }
                self.say(format_args!("\x1b[?47{}", if on { 'h' } else { 'l' }));
                self.settle(row, column);
            }
            _ => {}
        }
    }

    /// Forgets what is on the screen that is shown, the cursor that was saved there, and its keyboard.
    fn forget(&mut self) {
        self.tell(b"\x1b[m\x1b[r\x1b[?6l\x1b[2J\x1b[H\x1b7");
        let which = self.which();
        self.saved[which] = Default::default();
        *self.keyboard_mut() = Keyboard::default();
    }

    /// Puts region, origin and cursor where the terminal has them, on a screen that may have others.
    pub(crate) fn settle(&mut self, row: u16, column: u16) {
        let (top, bottom) = self.region;
        let origin = if self.origin { 'h' } else { 'l' };
        self.say(format_args!("\x1b[{};{}r\x1b[?6{origin}", top + 1, bottom + 1));
        self.place(row, column);
    }

    /// Carries out DECALN.
    fn fill(&mut self) {
        let (columns, rows) = self.size();
        (self.region, self.origin) = ((0, rows - 1), false);
        self.tell(b"\x1b[?6l\x1b[r\x1b[m");
        let row = "E".repeat(columns.into());
        for at in 1..=rows {
            self.say(format_args!("\x1b[{at}H{row}"));
        }
        self.tell(b"\x1b[H");
        self.tell_pen();
    }

    fn string(&mut self, bytes: &[u8]) {
        match bytes {
            [0x1b, b']', b'7', b'5', b'0', b'1', b';', ..] => self.report_status(bytes),
            [0x1b, b']', text @ ..] => {
                let text = query::content(text);
                let colors = query::colors(text);
                if !colors.is_empty() {
                    self.answer(&colors);
                }
                self.events.osc(text);
                self.keep_title(text);
                // A shell's prompt begins.
                if text == b"133;A" || text.starts_with(b"133;A;") {
                    self.status.settle();
                }
            }
            [0x1b, b'P', b'$', b'q', asked @ ..] => self.report_setting(query::content(asked)),
            // No capability is told.
            [0x1b, b'P', b'+', b'q', ..] => self.answer(b"\x1bP0+r\x1b\\"),
            _ => {}
        }
    }

    fn report_status(&mut self, sequence: &[u8]) {
        match status::parse(sequence) {
            Some(status::Report::Query) => self.events.push(Event::StatusAnswer(status::ANSWER.to_vec())),
            Some(report) => self.status.take(report),
            None => {}
        }
    }

    fn keep_title(&mut self, text: &[u8]) {
        if let [b'0' | b'2', b';', title @ ..] = text {
            self.title = crate::event::title(title);
        }
    }

    pub(crate) fn answer(&mut self, bytes: &[u8]) {
        self.events.push(Event::Answer(bytes.to_vec()));
    }

    pub(crate) fn cursor_row(&self) -> (String, String) {
        let (row, column) = self.cursor();
        let mut parts = (String::new(), String::new());
        for at in 0..self.size().0 {
            let Some(cell) = self.screen().cell(row, at).filter(|cell| !cell.is_wide_continuation()) else { continue };
            let part = if at < column { &mut parts.0 } else { &mut parts.1 };
            if cell.has_contents() { part.push_str(&text::shown(cell)) } else { part.push(' ') }
        }
        parts.1.truncate(parts.1.trim_end().len());
        parts
    }
}

pub(crate) fn engine(columns: u16, rows: u16, history: usize) -> Engine {
    let side = |n| NonZeroU16::new(n).unwrap_or(NonZeroU16::MIN);
    vt100::Parser::new_with_callbacks(side(rows), side(columns), history, Fallen::default())
}
