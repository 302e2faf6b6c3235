//! Bytes that put another terminal where this one is.

use crate::{
    machine::{Machine, engine},
    marks::Marks,
    text,
};

macro_rules! reset {
    () => {
        concat!(
            // A string that has begun; the keyboards of both screens; the alternate screen; held output.
            "\x1b\\\x1b[=0u\x1b[?1049l\x1b[=0u\x1b[?2026l",
            // Colours, character sets, margins, origin, wrapping, insertion, tab stops, inverse screen, cursor.
            "\x1b[m\x1b(B\x1b)B\x1b*B\x1b+B\x0f\x1b[r\x1b[?6l\x1b[?7h\x1b[?45l\x1b[4l\x1b[20l\x1b[?5W\x1b[?5l\x1b[?25h\x1b[0 q",
            // Keypad, paste, modifyOtherKeys.
            "\x1b[?1l\x1b>\x1b[?2004l\x1b[>4m",
            // Mouse and focus.
            "\x1b[?9l\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1004l\x1b[?1005l\x1b[?1006l\x1b[?1015l\x1b[?1016l",
            // Clusters as characters, reports of the colour scheme and of the size.
            "\x1b[?2027l\x1b[?2031l\x1b[?2048l",
        )
    };
}

/// Bytes that end every mode that a program may have set; then the main screen is shown.
pub const RESET: &str = reset!();

/// Bytes that end every mode of an [`crate::Emulator`] in any state, whose next program finds nothing that an earlier one has
/// left but the text above it.
pub const AFRESH: &str =
    concat!("\x18\x1b]7501;state=clear\x1b\\\x1b[<16u", reset!(), "\x1b[<16u\x1b[?1007l\x1b]2;\x1b\\\x1b[999H\r\n");

/// Bytes that end what bends a line that is written somewhere on the screen.
pub(crate) const PLAIN: &[u8] = b"\x1b[?6l\x1b[4l\x1b[20l\x1b(B\x0f\x1b[m";

/// Bytes that draw a terminal on an empty one of its size.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Drawn {
    /// The bytes: history first, then the screen, then the modes.
    pub bytes: Vec<u8>,
    /// Number of rows of history that the bytes draw.
    pub history: usize,
}

/// A copy of a screen that can be asked what it only shows when something is done to it.
pub(crate) fn copy(screen: &vt100::Screen) -> crate::machine::Engine {
    let mut copy = engine(1, 1, 0);
    *copy.screen_mut() = screen.clone();
    copy.screen_mut().set_scrollback(0);
    copy
}

pub(crate) fn draw(machine: &Machine, history: usize) -> Drawn {
    let mut out = Vec::new();
    let mut main = copy(machine.screen());
    let alternate = machine.which() == 1;
    if alternate {
        // Its own place means nothing: there is one cursor.
        main.process(b"\x1b[?47l\x1b8\x1b[m");
    }
    let marks = &machine.marks;
    let history = past(main.screen(), marks, history, &mut out);
    engines(main.screen().contents_formatted().as_bytes(), marks, &mut out);
    if alternate {
        machine.modes.keyboards[0].write(&mut out);
        // Saves the cursor where it stands, with what else is saved.
        saved(machine, 0, main, b"\x1b[?1049h", &mut out);
        out.extend_from_slice(b"\x1b[?7h");
        engines(machine.screen().contents_formatted().as_bytes(), marks, &mut out);
    }
    saved(machine, machine.which(), copy(machine.screen()), b"\x1b7", &mut out);
    region(machine, &mut out);
    machine.tabs.write(machine.size().0, &mut out);
    machine.modes.write(&mut out);
    out.extend_from_slice(machine.screen().input_mode_formatted().as_bytes());
    machine.keyboard().write(&mut out);
    if !machine.title.is_empty() {
        out.extend_from_slice(format!("\x1b]2;{}\x1b\\", machine.title).as_bytes());
    }
    settle(machine, &mut out);
    last(machine, &mut out);
    text::show(&mut out);
    Drawn { bytes: out, history }
}

/// Draws at most `history` rows of history, and line feeds that push them out of the screen; returns how many rows.
fn past(screen: &vt100::Screen, marks: &Marks, history: usize, out: &mut Vec<u8>) -> usize {
    let history = screen.scrollback_len().min(history);
    if history == 0 {
        return 0;
    }
    // A copy: to look back at rows makes them as wide as the screen, for good.
    let mut past = screen.clone();
    let rows = usize::from(screen.size().0.get());
    let mut left = history;
    while left > 0 {
        past.set_scrollback(left);
        // A width beyond every row, so that no row is drawn as the end of the one before.
        for row in past.rows_formatted(0, u16::MAX).take(left.min(rows)) {
            out.extend_from_slice(b"\x1b[m");
            engines(row.as_bytes(), marks, out);
            out.extend_from_slice(b"\x1b[m\r\n");
        }
        left -= left.min(rows);
    }
    // However few rows they are, this pushes them out of the screen.
    out.resize(out.len() + rows.saturating_sub(1), b'\n');
    history
}

/// Bytes that the engine has drawn, with what its cells have no room for. It has one intensity and writes bold after dim without ending dim, as others must be told.
pub(crate) fn engines(drawn: &[u8], marks: &Marks, out: &mut Vec<u8>) {
    let mut rest = drawn;
    while let Some(at) = rest.windows(2).position(|start| start == b"\x1b[") {
        let (before, sequence) = (&rest[..at], &rest[at + 2..]);
        marks.show(before, out);
        out.extend_from_slice(b"\x1b[");
        let length = sequence.iter().position(|byte| !matches!(byte, b'0'..=b'?')).unwrap_or(sequence.len());
        let (parameters, after) = sequence.split_at(length);
        if after.first() == Some(&b'm') && sets_intensity(parameters) {
            out.extend_from_slice(b"22;");
        }
        out.extend_from_slice(parameters);
        // To its final byte.
        let (end, after) = after.split_at(after.len().min(1));
        out.extend_from_slice(end);
        rest = after;
    }
    marks.show(rest, out);
}

/// Whether 1 or 2 is among them, and no part of a colour.
fn sets_intensity(parameters: &[u8]) -> bool {
    let mut fields = parameters.split(|byte| *byte == b';');
    while let Some(field) = fields.next() {
        match field {
            b"1" | b"2" => return true,
            b"38" | b"48" => {
                let parts = if fields.next() == Some(b"5") { 1 } else { 3 };
                fields.by_ref().take(parts).for_each(drop);
            }
            _ => {}
        }
    }
    false
}

fn region(machine: &Machine, out: &mut Vec<u8>) {
    let (top, bottom) = machine.region;
    if machine.region != (0, machine.size().1 - 1) {
        out.extend_from_slice(format!("\x1b[{};{}r", top + 1, bottom + 1).as_bytes());
    }
}

/// Makes a terminal without margins save what this one has saved on a screen, by `save`, and leaves it plain. What was saved
/// may lie outside of the margins of now.
fn saved(machine: &Machine, which: usize, mut screen: crate::machine::Engine, save: &[u8], out: &mut Vec<u8>) {
    let saved = machine.saved[which];
    screen.process(b"\x1b8");
    out.extend_from_slice(b"\x1b[m");
    let cell = cursor(machine, screen.screen(), saved.origin.then_some(0), out);
    saved.pen.write(out);
    saved.charsets.write(out);
    out.extend_from_slice(save);
    if let Some(cell) = cell.filter(|cell| !cell.has_contents()) {
        machine.marks.pen(cell).write(out);
        out.extend_from_slice(b"\x1b[X");
    }
    out.extend_from_slice(PLAIN);
}

/// Puts the cursor of a plain terminal where a screen has it, with origin mode if `origin` names the first row of its margins. Where it waits to wrap this writes the character once more that it
/// stands behind, or a space for none, and returns its cell.
fn cursor<'a>(
    machine: &Machine,
    screen: &'a vt100::Screen,
    origin: Option<u16>,
    out: &mut Vec<u8>,
) -> Option<&'a vt100::Cell> {
    let (row, column) = screen.cursor_position();
    let shown = if screen.hide_cursor() { 'l' } else { 'h' };
    let (origin, top) = origin.map_or(("", 0), |top| ("\x1b[?6h", top));
    let last = machine.size().0 - 1;
    let waits = column > last;
    let wide = waits && screen.cell(row, last).is_some_and(vt100::Cell::is_wide_continuation);
    let column = column.min(last) - u16::from(wide);
    let row_shown = row.saturating_sub(top) + 1;
    out.extend_from_slice(format!("{origin}\x1b[?25{shown}\x1b[{row_shown};{}H", column + 1).as_bytes());
    let cell = screen.cell(row, column).filter(|_| waits)?;
    if cell.has_contents() {
        machine.marks.pen(cell).write(out);
        out.extend_from_slice(crate::shown(cell).as_bytes());
    } else {
        out.push(b' ');
    }
    Some(cell)
}

/// Puts cursor, pen, character sets, origin and insertion of a plain terminal where this one has them.
pub(crate) fn settle(machine: &Machine, out: &mut Vec<u8>) {
    cursor(machine, machine.screen(), machine.origin.then_some(machine.region.0), out);
    machine.pen.write(out);
    machine.charsets.write(out);
    for (on, sequence) in [(machine.modes.insert, b"\x1b[4h".as_slice()), (machine.modes.newline, b"\x1b[20h")] {
        if on {
            out.extend_from_slice(sequence);
        }
    }
}

/// Writes the character once more that was written last, as the last thing of all: `CSI b` repeats it. Its cell ends at the cursor, and has
/// the look of the pen.
fn last(machine: &Machine, out: &mut Vec<u8>) {
    let Some(last) = machine.last else { return };
    let width = u16::try_from(unicode_width::UnicodeWidthChar::width(last).unwrap_or(0)).unwrap_or(0);
    let ((row, column), (columns, _)) = (machine.cursor(), machine.size());
    let cell = |end: u16| {
        let at = end.checked_sub(width).filter(|_| width > 0)?;
        let cell =
            machine.screen().cell(row, at).filter(|cell| cell.contents().starts_with(crate::text::stand_in(last)))?;
        Some((at, cell))
    };
    // Where rows do not go on, the cursor stays on the last column.
    let at_edge = if machine.modes.wraps() || column + 1 < columns { None } else { cell(columns) };
    let Some((at, cell)) = at_edge.or_else(|| cell(column.min(columns))) else { return };
    // A letter that a single shift took from another set than the one in use.
    let Some(shift) = machine.charsets.shift_to(last) else { return };
    let above = if machine.origin { machine.region.0 } else { 0 };
    out.extend_from_slice(format!("\x1b[{};{}H", row.saturating_sub(above) + 1, at + 1).as_bytes());
    if machine.modes.insert {
        out.extend_from_slice(format!("\x1b[{width}P").as_bytes());
    }
    out.extend_from_slice(shift);
    out.extend_from_slice(crate::shown(cell).as_bytes());
}
