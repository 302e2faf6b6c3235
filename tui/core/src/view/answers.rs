//! Answers and other lines to choose from, as a list that is narrowed by typing.

use ratatui::{Frame, layout::Rect};

use super::{dialogs::middle, pen::Pen};
use crate::{State, Theme, dialog::Choices, text, theme::Scope};

/// Rows around the list: two of the border, the field, the hint.
const AROUND: u16 = 4;

/// Draws the list under a title; a line of it is called by `word`.
pub(super) fn draw(state: &State, (title, word): (&str, &str), answers: &Choices, theme: &Theme, frame: &mut Frame) {
    let wanted = u16::try_from(answers.lines.len()).unwrap_or(u16::MAX).saturating_add(AROUND);
    let mut pen = Pen::new(frame.buffer_mut(), theme);
    let area = pen.boxed(middle(state, 76, wanted), title, Scope::DialogBorder, Scope::DialogTitle);
    let field = Rect { height: area.height.min(1), ..area };
    pen.style(field, Scope::FieldFocus);
    let (rows, (_, column)) = answers.field.rows(usize::from(field.width));
    pen.line(field, 0).put(&rows.concat(), Scope::FieldFocus);
    if answers.field.is_empty() {
        pen.line(field, 0).put(
            &format!("words of {} {word}, or its number", if word == "answer" { "an" } else { "a" }),
            Scope::Placeholder,
        );
    }
    let list = Rect { y: area.y + field.height, height: area.height.saturating_sub(2), ..area };
    let room = usize::from(list.height).max(1);
    let top = (answers.at + 1).saturating_sub(room);
    for (row, at) in (0..list.height).zip(top..) {
        let Some((n, choice)) = answers.matches.get(at).and_then(|n| Some((*n, answers.lines.get(*n)?))) else {
            break;
        };
        let selected = at == answers.at;
        let mut line = pen.line(list, row);
        line.put(if selected { "▌" } else { " " }, Scope::SelectionMark);
        line.column_right(&(n + 1).to_string(), 2, Scope::Key);
        let room = line.room();
        line.put(&text::fit(choice, room), Scope::Dialog);
        if selected {
            pen.style(Rect { y: list.y + row, height: 1, ..list }, Scope::Selection);
        }
    }
    if answers.matches.is_empty() {
        pen.centered(list, &[(&*format!("No {word} matches"), Scope::Dim)]);
    }
    pen.line(area, area.height.saturating_sub(1)).put(
        if word == "answer" {
            "enter send   up and down choose   esc back"
        } else {
            "enter allow   up and down choose   esc leave it"
        },
        Scope::Dim,
    );
    let cursor = (field.x + u16::try_from(column).unwrap_or(0), field.y);
    if cursor.0 < area.right() {
        frame.set_cursor_position(cursor);
    }
}
