//! Notices, above the footer at the right.

use ratatui::{Frame, layout::Rect};

use super::{
    help::{inside, place},
    pen::Pen,
};
use crate::{
    State, Theme,
    notice::{Kind, Notices},
    text,
    theme::Scope,
};

fn look(kind: Kind) -> (&'static str, Scope) {
    match kind {
        Kind::Info => ("·", Scope::Notice),
        Kind::Good => ("✓", Scope::NoticeGood),
        Kind::Warning => ("!", Scope::NoticeWarning),
        Kind::Error => ("✗", Scope::NoticeError),
    }
}

pub(super) fn draw(state: &State, theme: &Theme, frame: &mut Frame) {
    let area = frame.area();
    let mut pen = Pen::new(frame.buffer_mut(), theme);
    let mut bottom = area.bottom().saturating_sub(1);
    let width = area.width.saturating_sub(4).min(72);
    if width < 12 {
        return;
    }
    for notice in state.notices.all().iter().rev() {
        let (glyph, scope) = look(notice.kind);
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

/// Columns before a text: its age and its mark.
const INDENT: usize = 7;

/// What was told, the newest first, in lines: a mark and an age before the first of each.
fn lines(notices: &Notices, columns: usize) -> Vec<(Option<(Kind, i64)>, String)> {
    let told = notices.told().flat_map(|told| {
        let times = if told.times > 1 { format!(" ({} times)", told.times) } else { String::new() };
        let wrapped = text::wrap(&format!("{}{times}", told.text), columns.saturating_sub(INDENT).max(8));
        let first = Some((told.kind, told.at));
        wrapped.into_iter().enumerate().map(move |(n, line)| (first.filter(|_| n == 0), line))
    });
    told.collect()
}

/// The last line that what was told can begin with.
pub(crate) fn last(notices: &Notices, size: (u16, u16)) -> usize {
    let inside = inside(size);
    lines(notices, usize::from(inside.width).saturating_sub(4)).len().saturating_sub(inside.height.into())
}

pub(super) fn draw_told(state: &State, top: usize, theme: &Theme, frame: &mut Frame) {
    let mut pen = Pen::new(frame.buffer_mut(), theme);
    let area = pen.boxed(place(state.size), "Told lately", Scope::DialogBorder, Scope::DialogTitle);
    let lines = lines(&state.notices, area.width.into());
    if lines.is_empty() {
        return pen.centered(area, &[("Nothing yet", Scope::Dim)]);
    }
    for (n, (first, text)) in (0..area.height).zip(lines.iter().skip(top)) {
        let mut line = pen.line(area, n);
        match first {
            Some((kind, at)) => {
                let (glyph, scope) = look(*kind);
                // The dialog has a background of its own.
                let style = theme.style(Scope::Dialog).patch(ratatui::style::Style { bg: None, ..theme.style(scope) });
                line.column_right(&text::age(state.now - at), 4, Scope::Dim).put_style(glyph, style).skip(1);
            }
            None => drop(line.skip(INDENT)),
        }
        line.put(text, Scope::Dialog);
    }
}
