//! Draws a terminal's screen: colours, attributes, wide characters, cursor.

use pilothouse_terminal::Look;
use ratatui::{
    buffer::CellWidth,
    layout::Rect,
    style::{Color, Modifier, Style},
};

use super::pen::Pen;
use crate::{terminal::Terminal, text, theme::Scope};

/// Which part of a screen is drawn where it does not fit.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Follow {
    /// The part in which the cursor is seen.
    Cursor,
    /// The part that ends with the last row that has something, from the left.
    End,
}

/// Draws the screen; returns the place of its cursor, if that is seen.
pub(super) fn draw(terminal: &Terminal, area: Rect, follow: Follow, pen: &mut Pen) -> Option<(u16, u16)> {
    let area = area.intersection(pen.buffer.area);
    if area.is_empty() {
        return None;
    }
    let screen = terminal.screen();
    let (columns, rows) = terminal.size();
    let (left, top) = corner(terminal, area, follow);
    let base = pen.theme.style(Scope::Background).patch(pen.theme.style(Scope::Terminal));
    for y in 0..area.height.min(rows - top) {
        let mut x = 0;
        while x < area.width.min(columns - left) {
            let room = area.width.min(columns - left) - x;
            let place = (area.x + x, area.y + y);
            x += match screen.cell(top + y, left + x) {
                Some(cell) => draw_cell(cell, terminal.look(cell), place, room, base, pen),
                None => 1,
            };
        }
    }
    edges(area, columns - left, rows - top, pen);
    let (row, column) = screen.cursor_position();
    let row = usize::from(row) + screen.scrollback();
    let y = u16::try_from(row).ok()?.checked_sub(top)?;
    // A cursor that waits to wrap stands past the last column.
    let x = column.min(columns - 1).checked_sub(left)?;
    (!screen.hide_cursor() && x < area.width && y < area.height).then_some((area.x + x, area.y + y))
}

/// Column and row of the screen that are drawn in the area's upper left corner.
fn corner(terminal: &Terminal, area: Rect, follow: Follow) -> (u16, u16) {
    let screen = terminal.screen();
    let (columns, rows) = terminal.size();
    let (cursor_row, cursor_column) = screen.cursor_position();
    let end = |seen: u16, all: u16, room: u16| (seen + 1).saturating_sub(room).min(all.saturating_sub(room));
    match follow {
        Follow::Cursor => (end(cursor_column, columns, area.width), end(cursor_row, rows, area.height)),
        Follow::End => {
            let blank = |row: &u16| (0..columns).all(|c| screen.cell(*row, c).is_none_or(|cell| !cell.has_contents()));
            let last = (0..rows).rev().find(|row| !blank(row)).unwrap_or(0);
            (0, end(last.max(cursor_row), rows, area.height))
        }
    }
}

/// Draws a cell; returns how many columns it takes.
fn draw_cell(cell: &vt100::Cell, look: Look, place: (u16, u16), room: u16, base: Style, pen: &mut Pen) -> u16 {
    let style = base.patch(style(cell, look, pen));
    let wide = cell.is_wide() && room > 1;
    let contents = pilothouse_terminal::shown(cell);
    let width = if wide { 2 } else { 1 };
    // The real terminal must agree on the width, and never gets a control character.
    let fits = !contents.is_empty() && text::is_harmless(&contents) && contents.cell_width() == width;
    let symbol = if fits { &contents } else { first_char(&contents, width).unwrap_or(" ") };
    pen.buffer[place].reset();
    pen.buffer[place].set_symbol(symbol).set_style(style);
    if wide {
        let next = &mut pen.buffer[(place.0 + 1, place.1)];
        next.reset();
        next.set_style(style);
    }
    width
}

/// The first character alone, where that is as wide as wanted.
fn first_char(contents: &str, width: u16) -> Option<&str> {
    let c = contents.chars().next().filter(|c| text::harmless(*c))?;
    let first = contents.get(..c.len_utf8())?;
    (first.cell_width() == width).then_some(first)
}

fn style(cell: &vt100::Cell, look: Look, pen: &Pen) -> Style {
    let mut style = Style::default();
    if let Some(color) = color(cell.fgcolor()) {
        style = style.fg(pen.theme.color(color));
    }
    if let Some(color) = color(cell.bgcolor()) {
        style = style.bg(pen.theme.color(color));
    }
    let attributes = [
        (cell.bold(), Modifier::BOLD),
        (cell.dim(), Modifier::DIM),
        (cell.italic(), Modifier::ITALIC),
        (cell.underline(), Modifier::UNDERLINED),
        (cell.inverse(), Modifier::REVERSED),
        (look.struck, Modifier::CROSSED_OUT),
        (look.blinks, Modifier::SLOW_BLINK),
        (look.hidden, Modifier::HIDDEN),
    ];
    attributes.into_iter().filter(|(on, _)| *on).fold(style, |style, (_, modifier)| style.add_modifier(modifier))
}

fn color(color: vt100::Color) -> Option<Color> {
    match color {
        vt100::Color::Default => None,
        vt100::Color::Idx(n) => Some(Color::Indexed(n)),
        vt100::Color::Rgb(r, g, b) => Some(Color::Rgb(r, g, b)),
    }
}

/// Shows where a terminal smaller than the area ends.
fn edges(area: Rect, columns: u16, rows: u16, pen: &mut Pen) {
    let (wide, high) = (columns < area.width, rows < area.height);
    if wide {
        for y in 0..rows.min(area.height) {
            pen.line(area, y).skip(columns.into()).put("│", Scope::Rule);
        }
    }
    if high {
        let width = columns.min(area.width).into();
        let end = if wide { "┘" } else { "" };
        pen.line(area, rows).put(&format!("{}{end}", "─".repeat(width)), Scope::Rule);
    }
}
