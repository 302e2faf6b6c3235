//! Notices, above the footer at the right.

use ratatui::{Frame, layout::Rect};

use super::pen::Pen;
use crate::{State, Theme, notice::Kind, text, theme::Scope};

pub(super) fn draw(state: &State, theme: &Theme, frame: &mut Frame) {
    let area = frame.area();
    let mut pen = Pen::new(frame.buffer_mut(), theme);
    let mut bottom = area.bottom().saturating_sub(1);
    let width = area.width.saturating_sub(4).min(72);
    if width < 12 {
        return;
    }
    for notice in state.notices.all().iter().rev() {
        let (glyph, scope) = match notice.kind {
            Kind::Info => ("·", Scope::Notice),
            Kind::Good => ("✓", Scope::NoticeGood),
            Kind::Warning => ("!", Scope::NoticeWarning),
            Kind::Error => ("✗", Scope::NoticeError),
        };
        let mut lines = text::wrap(&notice.text, usize::from(width) - 4);
        if lines.len() > 4 {
            lines.truncate(4);
            if let Some(last) = lines.last_mut() {
                last.push('…');
            }
        }
        let longest = lines.iter().map(|l| text::width(l)).max().unwrap_or(0);
        let (high, wide) =
            (u16::try_from(lines.len()).unwrap_or(1), u16::try_from(longest + 4).unwrap_or(width).min(width));
        let Some(top) = bottom.checked_sub(high).filter(|top| *top > area.y + 1) else { return };
        let place = Rect { x: area.right() - wide - 1, y: top, width: wide, height: high };
        pen.clear(place, scope);
        for (n, line) in (0..).zip(&lines) {
            let mark = if n == 0 { glyph } else { " " };
            pen.line(place, n).put(" ", scope).put(mark, scope).put(" ", scope).put(line, scope);
        }
        bottom = top;
    }
}
