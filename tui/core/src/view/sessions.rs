//! The list of sessions, and that of crashed ones.

use ratatui::layout::Rect;

use super::{pen::Pen, words};
use crate::{
    State,
    fleet::{Connection, Part, Session, SessionKey},
    list::Row,
    text,
    theme::Scope,
};

#[cfg(test)]
std::thread_local! {
    /// Number of rows that were built; tests see that those out of sight are not.
    pub(super) static BUILT: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// Widths of the columns; 0: the column is not shown.
struct Columns {
    word: usize,
    name: usize,
    why: usize,
    environment: usize,
    host: usize,
    cost: usize,
}

impl Columns {
    /// Widths for a list of this width, whose longest shown name takes `longest` columns. Costs are shown where there are any.
    fn of(width: u16, several: bool, costs: bool, longest: usize) -> Self {
        let width = usize::from(width);
        let word = 9;
        let environment = if width >= 56 { 9 } else { 0 };
        let host = if several && width >= 72 { 10 } else { 0 };
        // Mark and two glyphs, blanks after each column, age.
        let cost = if costs && width >= 84 { 7 } else { 0 };
        let fixed =
            4 + word + 1 + 5 + [environment, host, cost].into_iter().filter(|w| *w > 0).map(|w| w + 1).sum::<usize>();
        let rest = width.saturating_sub(fixed + 2);
        // Names are whole where there is room; reasons get the rest, and at least a third.
        let name = if rest < 30 { rest } else { longest.clamp(16, rest * 2 / 3) };
        Self { word, name, why: rest - name, environment, host, cost }
    }
}

pub(super) fn draw(state: &State, area: Rect, pen: &mut Pen) {
    let rows = state.sessions.shown(area.height.into());
    if rows.is_empty() {
        return empty(state, area, pen);
    }
    let columns = Columns::of(area.width, state.fleet.several(), costs(state, rows), longest(state, rows));
    for (n, row) in (0..).zip(rows) {
        match row {
            Row::Head((turn, count)) => {
                let mut line = pen.line(area, n);
                line.put(" ", Scope::Text).put(turn.title(), words::turn(*turn)).put(&format!(" {count}"), Scope::Dim);
            }
            Row::Below(key, line) => part_row(state, key, *line, (area, n), pen),
            Row::Item(key) => {
                let selected = state.sessions.selected() == Some(key);
                session_row(state, key, (area, n), &columns, selected, pen);
            }
        }
    }
}

pub(super) fn draw_crashes(state: &State, area: Rect, pen: &mut Pen) {
    let rows = state.crashes.shown(area.height.into());
    if rows.is_empty() {
        let text = if state.filter().field.is_empty() { "Nothing has crashed" } else { "Nothing matches" };
        return pen.centered(area, &[(text, Scope::Dim)]);
    }
    let columns = Columns::of(area.width, state.fleet.several(), costs(state, rows), longest(state, rows));
    for (n, row) in (0..).zip(rows) {
        if let Row::Item(key) = row {
            session_row(state, key, (area, n), &columns, state.crashes.selected() == Some(key), pen);
        }
    }
}

/// Number of columns of the longest name.
fn longest<H>(state: &State, rows: &[Row<H, SessionKey>]) -> usize {
    let name = |row: &Row<H, SessionKey>| match row {
        Row::Item(key) => state.fleet.session(key).map_or(0, |session| text::width(session.name())),
        Row::Head(_) | Row::Below(..) => 0,
    };
    rows.iter().map(name).max().unwrap_or(0)
}

fn session_row(
    state: &State,
    key: &SessionKey,
    (area, row): (Rect, u16),
    columns: &Columns,
    selected: bool,
    pen: &mut Pen,
) {
    #[cfg(test)]
    BUILT.with(|built| built.set(built.get() + 1));
    let Some(session) = state.fleet.session(key) else { return };
    let host = state.fleet.host(&key.host);
    // What a host that is away said last may be over by now.
    let away = host.is_some_and(|h| !h.is_up());
    let scope = |scope: Scope| if away { Scope::Dim } else { scope };
    let (glyph, look) = words::session(session);
    let (kept, how) = words::kept(session);
    let mut line = pen.line(area, row);
    line.put(if selected { "▌" } else { " " }, Scope::SelectionMark);
    line.put(glyph, scope(look)).put(kept, scope(how)).skip(1);
    line.column(session.word(), columns.word, scope(look));
    line.found(session.name(), columns.name, scope(Scope::Strong), true);
    line.found(&reason(session), columns.why, if away { Scope::Dim } else { Scope::Text }, false);
    line.column(&session.environment, columns.environment, Scope::Dim);
    line.column(state.fleet.host_name(&key.host), columns.host, Scope::Dim);
    line.column(&cost(session), columns.cost, Scope::Dim);
    line.put_right(&format!("{} ", text::age(state.now - session.since())), Scope::Dim);
    if selected {
        pen.style(Rect { y: area.y + row, height: 1, ..area }, Scope::Selection);
    }
}

/// What its models cost; empty: nothing.
fn cost(session: &Session) -> String {
    if session.usage.cost_micros == 0 { String::new() } else { text::dollars(session.usage.cost_micros) }
}

/// Whether any of these sessions has cost anything.
fn costs<H>(state: &State, rows: &[Row<H, SessionKey>]) -> bool {
    rows.iter().any(|row| match row {
        Row::Item(key) => state.fleet.session(key).is_some_and(|session| session.usage.cost_micros > 0),
        Row::Head(_) | Row::Below(..) => false,
    })
}

/// Draws a part of the session's program in a row below it: the line of this number.
fn part_row(state: &State, key: &SessionKey, line: usize, (area, row): (Rect, u16), pen: &mut Pen) {
    let Some(session) = state.fleet.session(key) else { return };
    let away = state.fleet.host(&key.host).is_some_and(|host| !host.is_up());
    let scope = |scope: Scope| if away { Scope::Dim } else { scope };
    let (parts, more) = session.foremost_parts();
    let mut drawn = pen.line(area, row);
    let corner = if line + 1 == session.part_lines() { "└ " } else { "├ " };
    drawn.skip(4).put(corner, Scope::Rule);
    let Some(part) = parts.get(line) else {
        let least = if session.parts.len() == Part::MOST { "at least " } else { "" };
        drawn.put(&format!("{least}{more} more"), Scope::Dim);
        return;
    };
    let (glyph, look) = words::part(&part.state);
    drawn.put(glyph, scope(look)).skip(1).put(&part.id, scope(Scope::Text)).skip(1);
    let room = drawn.room();
    drawn.put(&text::fit(&part.text, room), Scope::Dim);
}

fn reason(session: &Session) -> String {
    let why = words::why(session);
    match (why.is_empty(), session.choices.is_empty()) {
        (_, true) => why.into(),
        (true, false) => format!("[{}]", session.choices.join(" / ")),
        (false, false) => format!("{why} [{}]", session.choices.join(" / ")),
    }
}

/// Draws why there is nothing, and what to do next.
fn empty(state: &State, area: Rect, pen: &mut Pen) {
    if !state.filter().field.is_empty() {
        return pen.centered(area, &[("Nothing matches", Scope::Text), ("esc shows everything again", Scope::Dim)]);
    }
    let hosts = &state.fleet.hosts;
    if hosts.iter().any(|h| h.is_up()) {
        return pen.centered(area, &[("No sessions yet", Scope::Strong), ("press n to create one", Scope::Dim)]);
    }
    let error = hosts.iter().find_map(|h| match &h.connection {
        Connection::Connecting(Some(error)) | Connection::Lost(_, error) => Some((h, error)),
        _ => None,
    });
    match error {
        None => pen.centered(area, &[("Connecting …", Scope::StateBusy)]),
        Some((host, error)) => pen.centered(
            area,
            &[
                (&format!("{} is out of reach", host.title()), Scope::StateBad),
                (error, Scope::Text),
                ("is hostd running there? `hostd serve` starts it; the console keeps trying", Scope::Dim),
            ],
        ),
    }
}
