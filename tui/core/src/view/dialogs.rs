//! Questions and messages.

use ratatui::{Frame, layout::Rect};

use super::pen::Pen;
use crate::{
    State, Theme,
    dialog::{Message, Question, Target},
    text,
    theme::Scope,
};

/// An area of this size in the middle of the window, or as much of it as there is.
pub(super) fn middle(state: &State, wide: u16, high: u16) -> Rect {
    let (width, height) = state.size;
    let (wide, high) = (wide.min(width.saturating_sub(2)), high.min(height));
    Rect { x: (width - wide) / 2, y: (height - high) * 2 / 5, width: wide, height: high }
}

pub(super) fn question(state: &State, question: &Question, theme: &Theme, frame: &mut Frame) {
    let lines = text::wrap(&question.text, usize::from(state.size.0).saturating_sub(8).clamp(10, 62));
    let high = u16::try_from(lines.len()).unwrap_or(4) + 4;
    let mut pen = Pen::new(frame.buffer_mut(), theme);
    let area = pen.boxed(middle(state, 68, high), &question.title, Scope::DialogDanger, Scope::DialogDanger);
    for (n, line) in (0..).zip(&lines) {
        pen.line(area, n).put(line, Scope::Dialog);
    }
    let row = area.height.saturating_sub(1);
    let mut line = pen.line(area, row);
    line.put("y", Scope::DialogDanger).put(" yes, do it", Scope::Dialog).skip(3);
    line.put("n", Scope::Key).put(" no", Scope::Dialog);
}

pub(super) fn message(state: &State, message: &Message, theme: &Theme, frame: &mut Frame) {
    let mut pen = Pen::new(frame.buffer_mut(), theme);
    let (title, hint) = match &message.target {
        Target::Session(_) => (format!("Message to {}", message.name), "a line typed into its terminal, with Enter"),
        Target::Pull { verdict: "comment", .. } => {
            (format!("Comment on {}", message.name), "what reviewer and agent read")
        }
        Target::Line { .. } => {
            (format!("Comment on {}", message.name), "kept, and sent with your verdict; empty: none")
        }
        Target::Pull { .. } => (format!("Request changes to {}", message.name), "what must change before a merge"),
    };
    let area = pen.boxed(middle(state, 76, 6), &title, Scope::DialogBorder, Scope::DialogTitle);
    let field = Rect { y: area.y + 1, height: 1.min(area.height.saturating_sub(1)), ..area };
    pen.style(field, Scope::FieldFocus);
    let (rows, (_, column)) = message.field.rows(field.width.into());
    let mut line = pen.line(field, 0);
    match message.field.is_empty() {
        true => line.put(hint, Scope::Placeholder),
        false => line.put(&rows.concat(), Scope::FieldFocus),
    };
    let row = area.height.saturating_sub(1);
    foot(message.error.as_deref(), message.sending.is_some(), "enter send   esc back", area, row, &mut pen);
    let x = field.x + u16::try_from(column).unwrap_or(0);
    if x < area.right() && !field.is_empty() {
        frame.set_cursor_position((x, field.y));
    }
}

/// The last row of a dialog: an error, or that it is under way, or what the keys do.
pub(super) fn foot(error: Option<&str>, sending: bool, hint: &str, area: Rect, row: u16, pen: &mut Pen) {
    let room = usize::from(area.width);
    match (sending, error) {
        (true, _) => pen.line(area, row).put("sending …", Scope::StateBusy),
        (false, Some(error)) => pen.line(area, row).put(&text::fit(error, room), Scope::StateBad),
        (false, None) => pen.line(area, row).put(hint, Scope::Dim),
    };
}
