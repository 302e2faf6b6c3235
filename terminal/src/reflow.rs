//! Lays the rows of a terminal out anew when it gets another size.

use crate::{
    draw::copy,
    machine::{Engine, Machine, engine},
    pen::Pen,
};

/// A place in the text, from the oldest row of history on, and where it has gone.
#[derive(Clone, Copy, Default)]
struct Place {
    row: usize,
    column: u16,
    new: (usize, u16),
}

impl Machine {
    pub(crate) fn resize(&mut self, columns: u16, rows: u16) {
        let (old_columns, old_rows) = self.size();
        if (old_columns, old_rows) == (columns, rows) {
            return;
        }
        self.region = (0, rows - 1);
        if old_columns == columns {
            let (rows, columns) = (side(rows), side(columns));
            return self.engine.set_size(rows, columns);
        }
        self.break_anew(columns, rows);
    }

    /// Writes history and main screen once more, into another width.
    fn break_anew(&mut self, columns: u16, rows: u16) {
        let old = copy(self.screen());
        let alternate = self.which() == 1;
        let mut main = copy(self.screen());
        if alternate {
            main.process(b"\x1b[?47l");
        }
        let mut new = engine(columns, rows, self.history);
        let [cursor, saved] = write_lines(main, &mut new);
        place(&mut new, (saved.0, saved.1.min(columns - 1)));
        new.process(b"\x1b7");
        let mut at = (cursor.0, cursor.1.min(columns - 1));
        place(&mut new, at);
        if alternate {
            new.process(b"\x1b[?47h");
            at = write_screen(old, &mut new);
        }
        new.process(self.screen().input_mode_formatted().as_bytes());
        if self.screen().hide_cursor() {
            new.process(b"\x1b[?25l");
        }
        self.engine = new;
        self.settle(at.0, at.1);
        if !alternate && cursor.1 >= columns {
            self.wait_to_wrap(cursor.0);
        }
        self.tell_pen();
    }

    /// The cursor stands behind a full row: its last character is written once more.
    fn wait_to_wrap(&mut self, row: u16) {
        let (columns, _) = self.size();
        let is_end = |column: &u16| self.screen().cell(row, *column).is_some_and(|cell| !cell.is_wide_continuation());
        let Some(column) = (0..columns).rev().find(is_end) else { return };
        let mut out = Vec::new();
        if let Some(cell) = self.screen().cell(row, column).filter(|cell| cell.has_contents()) {
            Pen::of(cell).write_known(&mut out);
            out.extend_from_slice(cell.contents().as_bytes());
        }
        self.place(row, column);
        self.tell(&out);
    }
}

fn side(length: u16) -> std::num::NonZeroU16 {
    std::num::NonZeroU16::new(length).unwrap_or(std::num::NonZeroU16::MIN)
}

fn place(engine: &mut Engine, (row, column): (u16, u16)) {
    engine.process(format!("\x1b[{};{}H", row + 1, column + 1).as_bytes());
}

/// Places of the engine's cursor and of its saved cursor.
fn cursors(engine: &mut Engine) -> [(u16, u16); 2] {
    let now = engine.screen().cursor_position();
    engine.process(b"\x1b8");
    [now, engine.screen().cursor_position()]
}

/// Number of rows above the screen, those included that are gone.
fn above(engine: &Engine) -> usize {
    engine.callbacks().0 + engine.screen().scrollback_len()
}

/// Writes all lines of `old` into `new`; returns the places of the cursor and the saved cursor there.
fn write_lines(mut old: Engine, new: &mut Engine) -> [(u16, u16); 2] {
    let cursors = cursors(&mut old);
    let screen = old.screen_mut();
    let (old_rows, history) = (usize::from(screen.size().0.get()), screen.scrollback_len());
    let used = (0..old_rows).rev().find(|row| end(screen, *row) > 0).unwrap_or(0).max(cursors[0].0.into());
    let spot = |(row, column): (u16, u16)| Place { row: history + usize::from(row).min(used), column, new: (0, 0) };
    let first = Place { row: history, ..Place::default() };
    let mut places = [spot(cursors[0]), spot(cursors[1]), first];
    let mut out = Vec::new();
    for row in 0..=history + used {
        // Rows of the history are looked at a screen at a time.
        if row < history && row.is_multiple_of(old_rows) {
            screen.set_scrollback(history - row);
        } else if row == history {
            screen.set_scrollback(0);
        }
        let at = if row < history { row % old_rows } else { row - history };
        write_row(screen, (row, at), &mut places, new, &mut out);
        let wraps = screen.row_wrapped(u16::try_from(at).unwrap_or(0));
        if !wraps && row < history + used {
            out.extend_from_slice(b"\x1b[m\r\n");
        }
        new.process(&out);
        out.clear();
    }
    new.process(b"\x1b[m");
    // Where the screen was not full, no history comes into view.
    let free = old_rows - 1 - used;
    let (columns, rows) = { (new.screen().size().1.get(), new.screen().size().0.get()) };
    let push = places[2].new.0.saturating_sub(above(new)).min(free);
    new.process(format!("\x1b[{rows}H{}", "\n".repeat(push)).as_bytes());
    let above = above(new);
    let now = |place: Place| {
        let row = u16::try_from(place.new.0.saturating_sub(above)).unwrap_or(u16::MAX);
        (row.min(rows - 1), place.new.1.min(columns))
    };
    [now(places[0]), now(places[1])]
}

/// Writes a row, and notes where those places have gone that lie in it.
fn write_row(
    screen: &vt100::Screen,
    (row, at): (usize, usize),
    places: &mut [Place],
    new: &mut Engine,
    out: &mut Vec<u8>,
) {
    let end = end(screen, at);
    let mut note = |column: u16, beyond: bool, out: &mut Vec<u8>, new: &mut Engine| {
        for place in places.iter_mut().filter(|place| place.row == row) {
            if place.column == column || (beyond && place.column > column) {
                new.process(out);
                out.clear();
                let (r, c) = new.screen().cursor_position();
                place.new = (above(new) + usize::from(r), c.saturating_add(place.column - column));
            }
        }
    };
    let mut pen = Pen::default();
    let line = u16::try_from(at).unwrap_or(0);
    for column in 0..end {
        let Some(cell) = screen.cell(line, column) else { break };
        note(column, false, out, new);
        write_cell(cell, &mut pen, out);
    }
    note(end, true, out, new);
    // What is coloured behind the text stays coloured, as far as the row goes.
    if let Some(blank) = screen.cell(line, end).filter(|cell| cell.bgcolor() != vt100::Color::Default) {
        Pen::of(blank).blank().write_known(out);
        out.extend_from_slice(b"\x1b[K");
    }
    out.extend_from_slice(b"\x1b[m");
}

/// Behind the last cell of a row that has text.
fn end(screen: &vt100::Screen, row: usize) -> u16 {
    let row = u16::try_from(row).unwrap_or(u16::MAX);
    let columns = (0..).take_while(|column| screen.cell(row, *column).is_some());
    let has =
        |column: &u16| screen.cell(row, *column).is_some_and(|cell| cell.has_contents() || cell.is_wide_continuation());
    columns.filter(has).last().map_or(0, |column| column + 1)
}

fn write_cell(cell: &vt100::Cell, pen: &mut Pen, out: &mut Vec<u8>) {
    if cell.is_wide_continuation() {
        return;
    }
    let has = Pen::of(cell);
    if has != *pen {
        has.write_known(out);
        *pen = has;
    }
    out.extend_from_slice(if cell.has_contents() { cell.contents().as_bytes() } else { b" " });
}

/// Writes what fits of the screen that `old` shows, cell by cell; where its cursor is.
fn write_screen(mut old: Engine, new: &mut Engine) -> (u16, u16) {
    let (columns, rows) = { (new.screen().size().1.get(), new.screen().size().0.get()) };
    let fits = |(row, column): (u16, u16)| (row.min(rows - 1), column.min(columns - 1));
    let mut out = Vec::new();
    for row in 0..rows {
        let mut pen = Pen::default();
        let mut gap = true;
        out.extend_from_slice(b"\x1b[m");
        for column in 0..columns {
            let Some(cell) = old.screen().cell(row, column) else { break };
            let blank = !cell.has_contents() && Pen::of(cell).is_plain() && !cell.is_wide_continuation();
            if blank || (cell.is_wide() && column + 1 >= columns) {
                gap = true;
                continue;
            }
            if std::mem::take(&mut gap) {
                out.extend_from_slice(format!("\x1b[{};{}H", row + 1, column + 1).as_bytes());
            }
            write_cell(cell, &mut pen, &mut out);
        }
    }
    new.process(&out);
    let [cursor, saved] = cursors(&mut old);
    place(new, fits(saved));
    new.process(b"\x1b7");
    fits(cursor)
}
