use crate::{
    draw::{self, Drawn},
    event::Event,
    filter::Filter,
    guard::guarded,
    machine::Machine,
    scanner::{Scanner, Token},
    status::Records,
};

/// Longest side of a terminal, in characters.
const SIDE_MAX: u16 = 1000;
/// Line that is shown where the engine gave up on what a program wrote.
const GAVE_UP: &[u8] = b"[the terminal's screen was reset: its output could not be understood]\r\n";

/// A terminal without a window.
///
/// The bytes are foreign, and may be hostile. Where the engine panics on them the terminal is replaced by a fresh one, and a
/// line on its screen says so.
#[derive(Debug)]
pub struct Emulator {
    scanner: Scanner,
    machine: Machine,
    history: usize,
}

/// Attributes of a cell that the engine does not keep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// Whether a line goes through the cell.
    pub struck: bool,
    /// Whether the cell blinks.
    pub blinks: bool,
    /// Whether the cell's text is not to be seen.
    pub hidden: bool,
}

impl Emulator {
    /// Creates an empty terminal of this size with room for `history` rows, that keeps copies to the clipboard of at most
    /// `copy_max` bytes of base64.
    #[must_use]
    pub fn new(columns: u16, rows: u16, history: usize, copy_max: usize) -> Self {
        let machine = Machine::new(side(columns), side(rows), history);
        Self { scanner: Scanner::new(copy_max), machine, history }
    }

    /// Takes what the program wrote.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.each(bytes, |_, _| {});
    }

    /// Takes what the program wrote; returns what a real terminal is to be sent of it: the same but for what that must not
    /// carry out. `answers`: the real terminal answers the program's queries.
    pub fn feed_through(&mut self, bytes: &[u8], answers: bool) -> Vec<u8> {
        let mut filter = Filter::new(answers);
        self.each(bytes, |token, machine| filter.pass(token, machine));
        filter.out
    }

    fn each(&mut self, bytes: &[u8], mut also: impl FnMut(Token<'_>, &Machine)) {
        let Self { scanner, machine, .. } = self;
        let done = guarded(|| {
            scanner.feed(bytes, |token| {
                machine.take(token);
                also(token, machine);
            });
        });
        if done.is_none() {
            self.give_up();
        }
    }

    /// Sets the size. On the main screen lines are broken anew, so that no text is lost.
    pub fn resize(&mut self, columns: u16, rows: u16) {
        self.guarded(|machine| machine.resize(side(columns), side(rows)));
    }

    /// Number of columns and of rows.
    #[must_use]
    pub fn size(&self) -> (u16, u16) {
        self.machine.size()
    }

    /// The screen; where the history is looked at, that part of it. What stands in a cell is to be read by [`crate::shown`].
    #[must_use]
    pub fn screen(&self) -> &vt100::Screen {
        self.machine.screen()
    }

    #[cfg(test)]
    pub(crate) fn pen_of(&self, cell: &vt100::Cell) -> crate::pen::Pen {
        self.machine.marks.pen(cell)
    }

    /// Looks this number of rows up from the live screen; as far as there are.
    pub fn scroll_to(&mut self, up: usize) {
        self.guarded(|machine| machine.scroll_to(up));
    }

    /// Events since this was last called.
    pub fn events(&mut self) -> Vec<Event> {
        self.machine.events.take()
    }

    /// Title of the window; empty where none was set.
    #[must_use]
    pub fn title(&self) -> &str {
        &self.machine.title
    }

    /// What the terminal's programs reported of themselves.
    #[must_use]
    pub fn status(&self) -> &Records {
        &self.machine.status
    }

    /// What was fed so far is past: what it told is told, and turns of programs are counted from here on.
    pub fn past(&mut self) {
        self.machine.events.take();
        self.machine.status.past();
    }

    /// Notes that the terminal's process has ended: of what was reported only results stay.
    pub fn process_ended(&mut self) {
        self.machine.status.settle();
    }

    /// Forgets what was reported: another process begins.
    pub fn process_begins(&mut self) {
        self.machine.status.reset();
    }

    /// Flags of kitty's keyboard protocol that are in force.
    #[must_use]
    pub fn keyboard_flags(&self) -> u8 {
        self.machine.keyboard().flags()
    }

    /// Level of xterm's modifyOtherKeys that is in force.
    #[must_use]
    pub fn other_keys(&self) -> u16 {
        self.machine.modes.other_keys
    }

    /// Whether a private mode that the engine does not keep is on: 7, 1004, 1016, 2026 and others.
    #[must_use]
    pub fn mode(&self, mode: u16) -> bool {
        self.machine.modes.get(mode).unwrap_or(false)
    }

    /// Text of the cursor's row up to the cursor, and what stands behind it.
    #[must_use]
    pub fn cursor_row(&self) -> (String, String) {
        self.machine.cursor_row()
    }

    /// Bytes that draw each row of the screen, up to this width; the cursor stands where the row begins, the pen is plain.
    #[must_use]
    pub fn rows(&self, width: u16) -> Vec<String> {
        let show = |row: String| {
            let mut out = Vec::new();
            draw::engines(row.as_bytes(), &self.machine.marks, &mut out);
            String::from_utf8_lossy(&out).replace(crate::text::STAND_IN, "\u{fffd}")
        };
        self.screen().rows_formatted(0, width).map(show).collect()
    }

    /// Returns the attributes of a cell that the cell itself does not tell.
    #[must_use]
    pub fn look(&self, cell: &vt100::Cell) -> Look {
        let look = self.machine.marks.look(cell);
        Look { struck: look.has(9), blinks: look.has(5), hidden: look.has(8) }
    }

    /// Draws at most `history` rows of history and then the screen; the history ends up above the screen.
    #[must_use]
    pub fn draw(&mut self, history: usize) -> Drawn {
        let mut drawn = Drawn::default();
        self.guarded(|machine| drawn = draw::draw(machine, history));
        drawn.bytes.extend_from_slice(&self.scanner.unfinished());
        drawn
    }

    /// Bytes that end what could bend a line that is written over a terminal in this one's state: character sets, origin,
    /// insertion.
    #[must_use]
    pub fn pause(&self) -> Vec<u8> {
        draw::PLAIN.to_vec()
    }

    /// Bytes that take a terminal back into this one's state after [`Self::pause`].
    #[must_use]
    pub fn resume(&self) -> Vec<u8> {
        let mut out = Vec::new();
        draw::settle(&self.machine, &mut out);
        out
    }

    fn guarded(&mut self, work: impl FnOnce(&mut Machine)) {
        let machine = &mut self.machine;
        if guarded(|| work(machine)).is_none() {
            self.give_up();
        }
    }

    fn give_up(&mut self) {
        let (columns, rows) = self.machine.size();
        // What was reported is none of the engine's.
        let status = std::mem::take(&mut self.machine.status);
        self.machine = Machine { status, ..Machine::new(columns, rows, self.history) };
        self.scanner.forget();
        self.machine.take(Token::Text(GAVE_UP.trim_ascii_end()));
        self.machine.take(Token::Control(b'\r'));
        self.machine.take(Token::Control(b'\n'));
    }
}

fn side(length: u16) -> u16 {
    length.clamp(1, SIDE_MAX)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const REPORTS: &str = "\x1b]7501;state=working\x07\x1b]7501;state=done:id=a\x1b\\";

    #[rstest]
    #[case::nothing("", &["", "a"])]
    #[case::text_and_titles("x\r\n\x1b]2;t\x07", &["", "a"])]
    #[case::soft_reset("\x1b[!p", &["", "a"])]
    #[case::alternate_screen("\x1b[?1049h\x1b[?1049l", &["", "a"])]
    #[case::prompt("\x1b]133;A\x07", &["a"])]
    #[case::prompt_with_words("\x1b]133;A;cl=m\x1b\\", &["a"])]
    #[case::command("\x1b]133;C\x07", &["", "a"])]
    #[case::reset("\x1bc", &[])]
    #[case::too_long(&format!("\x1b]7501;state=clear:x={}\x07", "y".repeat(5000)), &["", "a"])]
    #[case::cancelled("\x1b]7501;state=clear\x18", &["", "a"])]
    fn what_becomes_of_reports(#[case] then: &str, #[case] left: &[&str]) {
        let mut emulator = Emulator::new(80, 24, 0, 0);
        emulator.feed(REPORTS.as_bytes());
        let before = emulator.status().revision();
        emulator.feed(then.as_bytes());
        assert_eq!(emulator.status().iter().map(|(id, _)| id).collect::<Vec<_>>(), left);
        assert_eq!(emulator.status().revision() > before, left.len() < 2);
    }

    #[test]
    fn the_query_is_answered_by_its_bytes_in_its_place() {
        let mut emulator = Emulator::new(80, 24, 0, 0);
        emulator.feed(b"\x1b[5n\x1b]7501;?\x07\x1b]7501;state=idle\x07\x1b[5n");
        let answer = || Event::Answer(b"\x1b[0n".to_vec());
        assert_eq!(emulator.events(), [answer(), Event::StatusAnswer(b"\x1b]7501;?\x1b\\".to_vec()), answer()]);
    }

    #[test]
    fn reports_outlive_the_engine_and_results_the_process() {
        let mut emulator = Emulator::new(80, 24, 0, 0);
        emulator.feed(REPORTS.as_bytes());
        emulator.guarded(|_| panic!("as the test wants it"));
        assert_eq!(emulator.status().iter().count(), 2);
        emulator.process_ended();
        assert_eq!(emulator.status().iter().count(), 1);
        emulator.process_begins();
        assert_eq!(emulator.status().iter().count(), 0);
    }

    #[test]
    fn where_the_engine_panics_it_begins_anew() {
        let mut emulator = Emulator::new(80, 3, 10, 0);
        emulator.feed(b"one\r\n\x1b[?7l\x1b[31mtwo");
        emulator.guarded(|_| panic!("as the test wants it"));
        emulator.feed(b"three");
        let rows: Vec<String> = emulator.screen().rows(0, 80).collect();
        assert_eq!(rows[..2], ["[the terminal's screen was reset: its output could not be understood]", "three"]);
        assert!(emulator.size() == (80, 3) && emulator.mode(7));
    }
}
