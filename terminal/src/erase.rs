//! Erasing and scrolling: what comes into view has the background of the pen, and nothing else of it.

use crate::machine::Machine;

impl Machine {
    /// Carries out a sequence that leaves blank cells.
    pub(crate) fn erase(&mut self, sequence: &[u8]) {
        if self.pen.is_plain() {
            return self.tell(sequence);
        }
        let mut blank = Vec::new();
        self.pen.blank().write_known(&mut blank);
        self.tell(&blank);
        self.tell(sequence);
        self.tell_pen();
    }

    pub(crate) fn erase_screen(&mut self, how: u16) {
        self.stop_waiting();
        self.erase(format!("\x1b[{how}J").as_bytes());
    }

    pub(crate) fn erase_row(&mut self, how: u16) {
        self.stop_waiting();
        self.erase(format!("\x1b[{how}K").as_bytes());
    }

    /// Carries out IND, or NEL where it `returns`.
    pub(crate) fn line_feed(&mut self, returns: bool) {
        if returns {
            self.tell(b"\r");
        } else {
            self.stop_waiting();
        }
        let scrolls = self.cursor().0 == self.region.1;
        self.tell(b"\n");
        if scrolls && self.pen.fills() {
            self.erase(b"\x1b[2K");
        }
    }

    /// Carries out RI.
    pub(crate) fn reverse_line_feed(&mut self) {
        self.stop_waiting();
        let (row, _) = self.cursor();
        // The engine scrolls a region that lies below.
        if row == 0 && self.region.0 > 0 {
            return;
        }
        self.tell(b"\x1bM");
        if row == self.region.0 && self.pen.fills() {
            self.erase(b"\x1b[2K");
        }
    }

    /// Carries out IL, DL, SU or SD, by its last letter.
    pub(crate) fn shift_rows(&mut self, letter: u8, count: u16) {
        self.stop_waiting();
        let (top, bottom) = self.region;
        let (row, column) = self.cursor();
        let within = (top..=bottom).contains(&row);
        if !within && matches!(letter, b'L' | b'M') {
            return;
        }
        let from = if matches!(letter, b'L' | b'M') { row } else { top };
        let count = count.min(bottom - from + 1);
        self.say(format_args!("\x1b[{count}{}", char::from(letter)));
        if !self.pen.fills() {
            return;
        }
        let first = if matches!(letter, b'L' | b'T') { from } else { bottom + 1 - count };
        for at in first..first + count {
            self.place(at, 0);
            self.erase(b"\x1b[2K");
        }
        self.place(row, column);
    }

    /// Carries out ICH, DCH or ECH, by its last letter.
    pub(crate) fn shift_cells(&mut self, letter: u8, count: u16) {
        self.stop_waiting();
        let (columns, _) = self.size();
        let (row, column) = self.cursor();
        let count = count.min(columns - column);
        if letter == b'X' {
            return self.erase(format!("\x1b[{count}X").as_bytes());
        }
        self.say(format_args!("\x1b[{count}{}", char::from(letter)));
        if !self.pen.fills() {
            return;
        }
        if letter == b'P' {
            self.say(format_args!("\x1b[{}G", columns - count + 1));
            self.erase(b"\x1b[K");
            self.place(row, column);
        } else {
            self.erase(format!("\x1b[{count}X").as_bytes());
        }
    }
}
