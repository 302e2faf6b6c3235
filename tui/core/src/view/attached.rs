//! The attached terminal in the whole window, with one line below it.

use ratatui::{Frame, layout::Rect};

use super::{
    pen::Pen,
    terminal::{Follow, draw as draw_terminal},
};
use crate::{
    Command, State, Theme,
    attach::{Attach, Link},
    key, text,
    theme::Scope,
};

pub(super) fn draw(state: &State, attach: &Attach, theme: &Theme, frame: &mut Frame) {
    let area = frame.area();
    let screen = Rect { height: area.height.saturating_sub(1), ..area };
    let bar = Rect { y: area.bottom().saturating_sub(1), height: area.height.min(1), ..area };
    let mut pen = Pen::new(frame.buffer_mut(), theme);
    let mut cursor = None;
    match &attach.viewer.terminal {
        Some(terminal) => cursor = draw_terminal(terminal, screen, Follow::Cursor, &mut pen),
        None => waiting(attach, screen, &mut pen),
    }
    status(state, attach, bar, &mut pen);
    let live = attach.viewer.link == Link::Live && !attach.scrolling && state.dialog.is_none();
    if let Some(cursor) = cursor.filter(|_| live) {
        frame.set_cursor_position(cursor);
    }
}

fn waiting(attach: &Attach, area: Rect, pen: &mut Pen) {
    let (text, scope) = match &attach.viewer.link {
        Link::Connecting | Link::Live => ("Connecting …".to_owned(), Scope::StateBusy),
        Link::Lost(_, why) => (format!("Reconnecting: {why}"), Scope::StateBad),
        Link::Ended(why) | Link::Refused(why) => (why.clone(), Scope::StateBad),
    };
    let lines = text::wrap(&text, usize::from(area.width).saturating_sub(8).max(8));
    let lines: Vec<_> = lines.iter().map(|line| (line.as_str(), scope)).collect();
    pen.centered(area, &lines);
}

/// The line below: how it stands, whose terminal, who writes, the way out.
fn status(state: &State, attach: &Attach, bar: Rect, pen: &mut Pen) {
    pen.clear(bar, Scope::Status);
    let viewer = &attach.viewer;
    let (word, scope) = mode(state, attach);
    let session = state.fleet.session(&viewer.session);
    let name = session.map_or("deleted session", |s| s.name());
    let way_out = hints(state, attach);
    let mut line = pen.line(bar, 0);
    line.put(&format!(" {word} "), scope).skip(1);
    line.put(&text::fit(name, 40), Scope::Status);
    if let Some(session) = session.filter(|s| s.word() != "working") {
        line.put(&format!(" · {}", session.word()), Scope::Status);
    }
    let room = line.room().saturating_sub(text::width(&way_out) + 1);
    let more = format!(" · {}", extra(state, attach));
    if more.len() > 4 {
        line.put(&text::fit(&more, room), Scope::Status);
    }
    line.put_right(&way_out, Scope::Status);
}

fn mode(state: &State, attach: &Attach) -> (String, Scope) {
    let viewer = &attach.viewer;
    match &viewer.link {
        Link::Connecting => ("connecting".into(), Scope::StatusScroll),
        Link::Lost(since, _) => (format!("reconnecting {}", text::age(state.now - since)), Scope::StatusLost),
        Link::Ended(_) => ("ended".into(), Scope::StatusLost),
        Link::Refused(_) => ("no terminal".into(), Scope::StatusLost),
        Link::Live if attach.scrolling => {
            let (up, all) = viewer.terminal.as_ref().map_or((0, 0), |t| t.scrolled());
            (format!("history {up}/{all}"), Scope::StatusScroll)
        }
        Link::Live if viewer.role.writer => ("writing".into(), Scope::StatusWriter),
        Link::Live => ("watching".into(), Scope::StatusObserver),
    }
}

fn extra(state: &State, attach: &Attach) -> String {
    let viewer = &attach.viewer;
    match &viewer.link {
        Link::Lost(_, why) | Link::Ended(why) | Link::Refused(why) => return why.clone(),
        Link::Connecting => return String::new(),
        Link::Live => {}
    }
    let mut parts = Vec::new();
    if !viewer.role.writer && !viewer.role.name.is_empty() {
        parts.push(format!("{} writes", viewer.role.name));
    }
    if viewer.role.viewers > 1 {
        parts.push(format!("{} watch", viewer.role.viewers));
    }
    if state.fleet.several() {
        parts.push(state.fleet.host_name(&viewer.session.host).to_owned());
    }
    parts.join(" · ")
}

fn hints(state: &State, attach: &Attach) -> String {
    if !state.pending.is_empty() {
        return format!("{} … ", key::chord(&state.pending));
    }
    let now = state.conditions();
    let hint =
        |command, label: &str| state.keymap.keys_for(command, now).map(|keys| format!("{} {label}", key::chord(&keys)));
    let over = matches!(attach.viewer.link, Link::Ended(_) | Link::Refused(_));
    let hints = if over {
        vec![Some("q back".into())]
    } else if attach.scrolling {
        vec![hint(Command::ScrollLeave, "live screen")]
    } else if attach.viewer.role.writer || attach.viewer.link != Link::Live {
        vec![hint(Command::Scroll, "history").filter(|_| state.size.0 >= 100), hint(Command::Detach, "detach")]
    } else {
        vec![hint(Command::Take, "write"), hint(Command::Detach, "detach")]
    };
    hints.into_iter().flatten().map(|hint| format!("{hint}  ")).collect::<String>().trim_end().to_owned() + " "
}
