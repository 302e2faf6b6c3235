//! A log in the whole window.

use ratatui::{Frame, layout::Rect};

use super::{chrome, pen::Pen};
use crate::{
    Command, State, Theme,
    layout::log_rows,
    log::{LogView, Reading, Source},
    text,
    theme::Scope,
};

pub(super) fn draw(state: &State, log: &LogView, theme: &Theme, frame: &mut Frame) {
    let area = frame.area();
    let height = log_rows(state.size);
    let mut pen = Pen::new(frame.buffer_mut(), theme);
    pen.rule(area, 0, &title(state, &log.source), &place(log, height));
    let body = Rect { y: area.y + 1, height: area.height.saturating_sub(2), ..area };
    match (log.is_empty(), &log.reading) {
        (true, Reading::Failed(why)) => pen.centered(body, &[(why, Scope::StateBad)]),
        (true, Reading::Going) => pen.centered(body, &[("Nothing yet; what comes is shown here", Scope::StateBusy)]),
        (true, Reading::Done) if !log.filter.is_empty() => pen.centered(body, &[("Nothing matches", Scope::Dim)]),
        (true, Reading::Done) => pen.centered(body, &[("Nothing is kept of it", Scope::Dim)]),
        (false, _) => {
            for (n, line) in (0..).zip(log.shown(height)) {
                pen.line(body, n).skip(1).put(line, Scope::Text);
            }
        }
    }
    let footer = Rect { y: area.bottom().saturating_sub(1), height: area.height.min(1), ..area };
    if let Some(cursor) = draw_footer(state, log, footer, &mut pen)
        && state.dialog.is_none()
    {
        frame.set_cursor_position(cursor);
    }
}

fn title(state: &State, source: &Source) -> String {
    let name = |key| state.fleet.session(key).map_or("deleted session", |s| s.name());
    match source {
        Source::Agent(key) => format!("log of {}", name(key)),
        Source::Serial(key) => format!("serial console of {}", name(key)),
        Source::Check { pull, commit, name } => {
            let old = state.fleet.pull(pull).is_some_and(|known| known.head != *commit);
            format!("{name} of {}{}", pull.id(), if old { ", of an older revision" } else { "" })
        }
    }
}

fn place(log: &LogView, height: usize) -> String {
    let last = (log.first(height) + height).min(log.len());
    let reading = match &log.reading {
        Reading::Going if log.follows() => "live · ",
        Reading::Going => "more comes below · ",
        Reading::Failed(_) => "broken off · ",
        Reading::Done => "",
    };
    format!("{reading}{last} of {}", text::count(log.len(), "line"))
}

fn draw_footer(state: &State, log: &LogView, area: Rect, pen: &mut Pen) -> Option<(u16, u16)> {
    if log.filtering {
        let mut line = pen.line(area, 0);
        line.put(" / ", Scope::Key);
        let (rows, (_, column)) = log.filter.rows(usize::from(area.width).saturating_sub(8));
        line.put(&rows.concat(), Scope::Strong);
        return Some((area.x + 3 + u16::try_from(column).unwrap_or(0), area.y));
    }
    let mut hints = vec![
        (Command::Back, "back"),
        (Command::Filter, "filter"),
        (Command::Top, "first"),
        (Command::Bottom, "last"),
        (Command::Help, "help"),
    ];
    if !log.filter.is_empty() {
        hints.insert(0, (Command::FilterClear, "show all"));
    }
    chrome::draw_hints(state, area, &hints, pen);
    None
}
