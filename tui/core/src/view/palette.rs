//! The palette: commands by name.

use ratatui::{Frame, layout::Rect};

use super::pen::Pen;
use crate::{
    State, Theme,
    command::Danger,
    dialog::Palette,
    key, text,
    theme::Scope,
    when::{Condition, Conditions},
};

pub(super) fn draw(state: &State, palette: &Palette, theme: &Theme, frame: &mut Frame) {
    let (width, height) = state.size;
    let wide = width.saturating_sub(4).min(84);
    let high = height.saturating_sub(4).min(18);
    let place = Rect { x: (width - wide) / 2, y: height.min(2), width: wide, height: high };
    let mut pen = Pen::new(frame.buffer_mut(), theme);
    let area = pen.boxed(place, "Commands", Scope::DialogBorder, Scope::DialogTitle);
    let field = Rect { height: area.height.min(1), ..area };
    pen.style(field, Scope::FieldFocus);
    let (rows, (_, column)) = palette.field.rows(usize::from(field.width).saturating_sub(3));
    let mut line = pen.line(field, 0);
    line.put(": ", Scope::Key).put(&rows.concat(), Scope::FieldFocus);
    let cursor = (field.x + 2 + u16::try_from(column).unwrap_or(0), field.y);
    let list = Rect { y: area.y + 1, height: area.height.saturating_sub(1), ..area };
    let room = usize::from(list.height).max(1);
    let top = (palette.at + 1).saturating_sub(room);
    // Keys as they are in the lists, where the palette opens.
    let lists = [Condition::Sessions, Condition::Environments]
        .map(|c| Conditions::default().with(Condition::Always).with(Condition::List).with(c));
    for (n, command) in (0..).zip(palette.matches.iter().skip(top).take(room)) {
        let selected = top + usize::from(n) == palette.at;
        let keys = lists.iter().find_map(|now| state.keymap.keys_for(*command, *now));
        let danger = command.danger() == Danger::Asks;
        let mut line = pen.line(list, n);
        line.put(if selected { "▌" } else { " " }, Scope::SelectionMark);
        line.column(command.name(), 14, if danger { Scope::StateAsks } else { Scope::Strong });
        let room = line.room().saturating_sub(9);
        line.column(&text::fit(command.doc(), room), room, Scope::Dialog);
        line.put_right(&keys.map_or_else(String::new, |k| key::chord(&k)), Scope::Key);
        if selected {
            pen.style(Rect { y: list.y + n, height: 1, ..list }, Scope::Selection);
        }
    }
    if palette.matches.is_empty() {
        pen.centered(list, &[("No command matches", Scope::Dim)]);
    }
    if cursor.0 < area.right() {
        frame.set_cursor_position(cursor);
    }
}
