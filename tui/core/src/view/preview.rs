//! Beside the list: the selected session's details and its live terminal.

use ratatui::{
    layout::Rect,
    style::{Modifier, Style},
};

use super::{
    details,
    pen::Pen,
    story,
    terminal::{Follow, draw as draw_terminal},
};
use crate::{
    Command, State,
    attach::{Link, Viewer},
    fleet::Session,
    key,
    layout::Layout,
    text,
    theme::Scope,
};

pub(super) fn draw(state: &State, layout: &Layout, area: Rect, pen: &mut Pen) {
    let Some((key, session)) = state.selected() else {
        if !layout.is_wide() {
            pen.rule(layout.rule, 0, "", "");
        }
        return;
    };
    if state.story_shown {
        return story::draw(state, session, layout, area, pen);
    }
    if state.details > 0 {
        draw_details(state, layout, area, pen);
        return;
    }
    let viewer = state.preview.as_ref().filter(|p| p.session == *key);
    let screen = if layout.is_wide() {
        let used = details::wide(state, key, session, area, pen);
        pen.rule(area, used, "terminal", &status(viewer, session));
        below(area, used + 1)
    } else {
        pen.rule(layout.rule, 0, session.name(), &status(viewer, session));
        let used = details::narrow(state, key, session, area, pen);
        below(area, used)
    };
    // While its VM boots the screen is there and empty.
    let boots = matches!(&*session.lifecycle, "queued" | "starting");
    let shown = viewer.and_then(|v| v.terminal.as_ref()).filter(|t| !boots || !t.is_blank());
    match shown {
        Some(terminal) => {
            if let Some(cursor) = draw_terminal(terminal, screen, Follow::End, pen) {
                pen.buffer[cursor].set_style(Style::new().add_modifier(Modifier::REVERSED));
            }
        }
        None => nothing(state, session, viewer, screen, pen),
    }
}

/// Draws all that is known of the selected session, in the place of its terminal, from the row that was scrolled to. Returns
/// how many rows there are, and how many have room.
fn draw_details(state: &State, layout: &Layout, area: Rect, pen: &mut Pen) -> (usize, usize) {
    let Some((key, session)) = state.selected() else { return (0, 0) };
    let back = state.keymap.keys_for(Command::DetailsUp, state.conditions_below()).map(|keys| key::chord(&keys));
    let back = back.map_or_else(String::new, |keys| format!("{keys} back to its terminal"));
    let area = if layout.is_wide() {
        pen.rule(area, 0, session.name(), &back);
        below(area, 1)
    } else {
        pen.rule(layout.rule, 0, session.name(), &back);
        area
    };
    let mut lines = pen.lines(area, state.details.saturating_sub(1));
    details::whole(state, key, session, &mut lines);
    (lines.end(), area.height.into())
}

/// Number of the last row that a session's details can be scrolled to; the first one is its terminal.
pub(super) fn details_last(state: &State, layout: &Layout, area: Rect, pen: &mut Pen) -> usize {
    let (rows, height) = draw_details(state, layout, area, pen);
    if rows == 0 { 0 } else { rows.saturating_sub(height) + 1 }
}

fn below(area: Rect, used: u16) -> Rect {
    let used = used.min(area.height);
    Rect { y: area.y + used, height: area.height - used, ..area }
}

/// State of the preview in a few words.
fn status(viewer: Option<&Viewer>, session: &Session) -> String {
    let Some(viewer) = viewer else { return String::new() };
    let size = viewer.terminal.as_ref().map(|t| t.size());
    let size = size.map_or_else(String::new, |(columns, rows)| format!("{columns}×{rows}"));
    let link = match &viewer.link {
        Link::Live if session.viewers > 1 => format!("{} attached", session.viewers),
        Link::Live => String::new(),
        Link::Connecting => "connecting".into(),
        Link::Lost(..) => "reconnecting".into(),
        Link::Ended(_) => "ended".into(),
        Link::Refused(_) => "no terminal".into(),
    };
    [link, size].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" · ")
}

/// Draws why there is no screen to show.
fn nothing(state: &State, session: &Session, viewer: Option<&Viewer>, area: Rect, pen: &mut Pen) {
    let why = match (viewer.map(|v| &v.link), &*session.lifecycle) {
        (None, "queued") => "It waits for a place to start".to_owned(),
        (None, _) if session.generation == 0 => "It has not started yet".to_owned(),
        (Some(Link::Refused(why) | Link::Ended(why)), _) => why.clone(),
        (Some(Link::Lost(_, why)), _) => format!("Reconnecting: {why}"),
        (_, "starting" | "queued") => "Its VM boots".to_owned(),
        (None, _) if !state.preview_shown => String::new(),
        _ => "Connecting …".to_owned(),
    };
    let lines = text::wrap(&why, usize::from(area.width).saturating_sub(4).max(8));
    let lines: Vec<_> = lines.iter().map(|line| (line.as_str(), Scope::Dim)).collect();
    pen.centered(area, &lines);
}
