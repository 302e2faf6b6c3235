//! The form for a new session.

use ratatui::{Frame, layout::Rect};

use super::{dialogs::middle, pen::Pen, words};
use crate::{
    State, Theme,
    dialog::{Form, FormField},
    edit::Field,
    text,
    theme::Scope,
};

pub(super) fn draw(state: &State, form: &Form, theme: &Theme, frame: &mut Frame) {
    let (width, height) = state.size;
    let place = middle(state, (width * 2 / 3).clamp(76, 110), (height * 3 / 5).clamp(16, 30));
    let mut pen = Pen::new(frame.buffer_mut(), theme);
    let area = pen.boxed(place, "New session", Scope::DialogBorder, Scope::DialogTitle);
    let error = form.error.as_deref().map_or_else(Vec::new, |e| text::wrap(e, area.width.into()));
    let foot = u16::try_from(error.len().clamp(1, 4)).unwrap_or(1);
    label("environment", form.focus == FormField::Environment, area, 0, &mut pen);
    environments(state, form, Rect { height: 1.min(area.height), ..value(area, 0) }, &mut pen);
    label("title", form.focus == FormField::Title, area, 2, &mut pen);
    let title = Rect { height: 1, ..value(area, 2) };
    let at_title =
        text_field(&form.title, "made from the task if left empty", form.focus == FormField::Title, title, &mut pen);
    label("task", form.focus == FormField::Task, area, 4, &mut pen);
    let task = value(area, 4);
    let task = Rect { height: task.height.saturating_sub(foot + 1), ..task };
    let at_task = text_field(&form.task, "what the agent is to do", form.focus == FormField::Task, task, &mut pen);
    let row = area.height.saturating_sub(foot);
    if error.is_empty() {
        let hint = "ctrl-s create   tab next field   esc put away (kept)";
        super::dialogs::foot(None, form.sending.is_some(), hint, area, row, &mut pen);
    } else {
        for (n, line) in (0..).zip(error.iter().take(foot.into())) {
            pen.line(area, row + n).put(line, Scope::StateBad);
        }
    }
    let cursor = match form.focus {
        FormField::Environment => None,
        FormField::Title => at_title,
        FormField::Task => at_task,
    };
    if let Some(cursor) = cursor {
        frame.set_cursor_position(cursor);
    }
}

fn label(text: &str, focus: bool, area: Rect, row: u16, pen: &mut Pen) {
    pen.line(area, row).put(text, if focus { Scope::Key } else { Scope::Dim });
}

fn value(area: Rect, row: u16) -> Rect {
    let row = row.min(area.height);
    let label = 13.min(area.width);
    Rect { x: area.x + label, y: area.y + row, width: area.width - label, height: area.height - row }
}

fn environments(state: &State, form: &Form, area: Rect, pen: &mut Pen) {
    let focus = form.focus == FormField::Environment;
    pen.style(area, if focus { Scope::FieldFocus } else { Scope::Field });
    let Some(key) = form.environment() else {
        pen.line(area, 0).put(" no environment is known yet", Scope::StateBad);
        return;
    };
    let environment = state.fleet.environment(key);
    let word = environment.map_or("gone", |e| &e.state);
    let (glyph, look) = words::look(word);
    let mut line = pen.line(area, 0);
    line.put(if focus { "◂ " } else { "  " }, Scope::Key).put(&key.name, Scope::Strong);
    if state.fleet.several() {
        line.put(&format!(" on {}", state.fleet.host_name(&key.host)), Scope::Dim);
    }
    line.put(if focus { " ▸" } else { "  " }, Scope::Key);
    let count = if form.environments.len() > 1 {
        format!("  {} of {}", form.chosen + 1, form.environments.len())
    } else {
        String::new()
    };
    line.put(&count, Scope::Dim);
    let state_word = if word == "ready" {
        format!("{glyph} ready ")
    } else {
        format!("{glyph} {word}: build it first (E, then b) ")
    };
    line.put_right(&state_word, look);
}

/// Draws a field, scrolled so that its cursor is seen; gives the cursor's place.
fn text_field(field: &Field, placeholder: &str, focus: bool, area: Rect, pen: &mut Pen) -> Option<(u16, u16)> {
    let area = area.intersection(pen.buffer.area);
    pen.style(area, if focus { Scope::FieldFocus } else { Scope::Field });
    let (rows, (row, column)) = field.rows(area.width.into());
    let top = (row + 1).saturating_sub(area.height.into());
    for (n, text) in (0..area.height).zip(rows.iter().skip(top)) {
        pen.line(area, n).put(text, if focus { Scope::FieldFocus } else { Scope::Field });
    }
    if field.is_empty() {
        pen.line(area, 0).put(placeholder, Scope::Placeholder);
    }
    let (x, y) = (u16::try_from(column).ok()?, u16::try_from(row.checked_sub(top)?).ok()?);
    (x < area.width && y < area.height).then_some((area.x + x, area.y + y))
}
