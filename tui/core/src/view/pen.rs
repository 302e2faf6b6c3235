//! Writes styled text into the buffer, inside bounds. All text passes through here or through the terminal's widget.

use ratatui::{buffer::Buffer, layout::Rect, style::Style};
use unicode_segmentation::UnicodeSegmentation as _;

use crate::{
    Theme,
    fuzzy::Search,
    text::{self, fit},
    theme::Scope,
};

/// A buffer that is drawn to, with a theme.
pub(super) struct Pen<'a> {
    pub(super) buffer: &'a mut Buffer,
    pub(super) theme: &'a Theme,
    /// Search for what the shown list is narrowed to.
    pub(super) search: Option<Search>,
}

/// A row that is written from the left.
pub(super) struct Line<'p, 'a> {
    pen: &'p mut Pen<'a>,
    x: u16,
    y: u16,
    right: u16,
}

impl<'a> Pen<'a> {
    pub(super) fn new(buffer: &'a mut Buffer, theme: &'a Theme) -> Self {
        Self { buffer, theme, search: None }
    }

    /// Row `row` of an area, from 0; rows outside of it take nothing.
    pub(super) fn line(&mut self, area: Rect, row: u16) -> Line<'_, 'a> {
        let area = area.intersection(self.buffer.area);
        let right = if row < area.height { area.right() } else { area.x };
        Line { x: area.x, y: area.y.saturating_add(row), right, pen: self }
    }

    /// Lays a style over an area.
    pub(super) fn style(&mut self, area: Rect, scope: Scope) {
        self.buffer.set_style(area.intersection(self.buffer.area), self.theme.style(scope));
    }

    /// Empties an area and gives it a style.
    pub(super) fn clear(&mut self, area: Rect, scope: Scope) {
        let area = area.intersection(self.buffer.area);
        let style = self.theme.style(Scope::Background).patch(self.theme.style(scope));
        for position in area.positions() {
            self.buffer[position].reset();
        }
        self.buffer.set_style(area, style);
    }

    /// Draws a line across an area's row, with a heading in it.
    pub(super) fn rule(&mut self, area: Rect, row: u16, title: &str, right: &str) {
        let width = area.width.into();
        let mut line = self.line(area, row);
        line.put(&"─".repeat(width), Scope::Rule);
        if !title.is_empty() {
            let mut line = self.line(area, row);
            line.put("─ ", Scope::Rule);
            line.put(&fit(title, usize::from(area.width).saturating_sub(5 + text::width(right))), Scope::RuleTitle);
            line.put(" ", Scope::Rule);
        }
        if !right.is_empty() && text::width(right) + 8 < width {
            self.line(area, row).put_right(&format!(" {right} ─"), Scope::Dim);
        }
    }

    /// Draws lines of text in the middle of an area.
    pub(super) fn centered(&mut self, area: Rect, lines: &[(&str, Scope)]) {
        let count = u16::try_from(lines.len()).unwrap_or(u16::MAX);
        let top = area.height.saturating_sub(count) / 2;
        for (n, (line, scope)) in (0..).zip(lines) {
            let line = fit(line, area.width.into());
            let indent = usize::from(area.width).saturating_sub(text::width(&line)) / 2;
            self.line(area, top + n).skip(indent).put(&line, *scope);
        }
    }

    /// Draws a box with a border and a title; returns its inside.
    pub(super) fn boxed(&mut self, area: Rect, title: &str, border: Scope, title_scope: Scope) -> Rect {
        use ratatui::widgets::{Block, BorderType, Widget};
        let area = area.intersection(self.buffer.area);
        self.clear(area, Scope::Dialog);
        let block = Block::bordered().border_type(BorderType::Rounded).border_style(self.theme.style(border));
        let inside = block.inner(area);
        block.render(area, self.buffer);
        let title = format!(" {} ", fit(title, usize::from(area.width).saturating_sub(6)));
        self.line(area, 0).skip(2).put(&title, title_scope);
        Rect { x: inside.x + 1, width: inside.width.saturating_sub(2), ..inside }
    }

    /// Rows of an area below each other, of which the first `above` are out of sight.
    pub(super) fn lines(&mut self, area: Rect, above: usize) -> Lines<'_, 'a> {
        Lines { pen: self, area, above, row: 0 }
    }

    /// Draws a gauge of `columns` columns, filled by `used` of `total`.
    pub(super) fn gauge(line: &mut Line, columns: usize, used: u64, total: u64) {
        let part = if total == 0 { 0 } else { (u128::from(used.min(total)) * 100 / u128::from(total)) as usize };
        let filled = (columns * part).div_ceil(100);
        let scope = if part >= 90 { Scope::BarHigh } else { Scope::Bar };
        line.put(&"━".repeat(filled), scope).put(&"─".repeat(columns - filled), Scope::BarEmpty);
    }
}

/// Lines below each other in an area that may be scrolled.
pub(super) struct Lines<'p, 'a> {
    pen: &'p mut Pen<'a>,
    area: Rect,
    /// Number of rows out of sight above.
    above: usize,
    row: usize,
}

impl<'a> Lines<'_, 'a> {
    /// Number of columns for text.
    pub(super) fn columns(&self) -> usize {
        usize::from(self.area.width).saturating_sub(2).max(1)
    }

    /// The next row, if it is seen.
    pub(super) fn next(&mut self) -> Option<Line<'_, 'a>> {
        let row = self.row.checked_sub(self.above);
        self.row += 1;
        let row = row.and_then(|row| u16::try_from(row).ok()).filter(|row| *row < self.area.height)?;
        Some(self.pen.line(self.area, row))
    }

    /// Writes a row of text.
    pub(super) fn put(&mut self, text: &str, scope: Scope) {
        if let Some(mut line) = self.next() {
            line.skip(1).put(text, scope);
        }
    }

    /// Writes a fact in a row; what does not fit goes on in the rows below.
    pub(super) fn fact(&mut self, label: &str, value: &str, columns: usize) {
        let room = usize::from(self.area.width).saturating_sub(columns + 3).max(1);
        for (n, part) in text::wrap(value, room).iter().enumerate() {
            if let Some(mut line) = self.next() {
                line.skip(1).column(if n == 0 { label } else { "" }, columns, Scope::Dim).put(part, Scope::Text);
            }
        }
    }

    /// Draws a line across, with a heading in it.
    pub(super) fn heading(&mut self, title: &str) {
        let area = self.area;
        let at = self.row.checked_sub(self.above).and_then(|row| u16::try_from(row).ok());
        self.row += 1;
        if let Some(row) = at.filter(|row| *row < area.height) {
            self.pen.rule(area, row, title, "");
        }
    }

    /// Number of rows that are left in sight.
    pub(super) fn room(&self) -> usize {
        (self.above + usize::from(self.area.height)).saturating_sub(self.row)
    }

    /// Number of rows that were written; says in the last one seen that more are below.
    pub(super) fn end(self) -> usize {
        let below = self.row.saturating_sub(self.above + usize::from(self.area.height));
        if below > 0 && self.area.height > 0 {
            let last = self.area.height - 1;
            self.pen.line(self.area, last).put_right_over(&format!(" {below} more below "), Scope::Hint);
        }
        self.row
    }
}

impl Line<'_, '_> {
    /// Writes text as far as there is room.
    pub(super) fn put(&mut self, text: &str, scope: Scope) -> &mut Self {
        let style = self.pen.theme.style(scope);
        self.put_style(text, style)
    }

    /// Writes text; what does not fit is cut with `…`: half a word or number may be another one.
    pub(super) fn put_style(&mut self, text: &str, style: Style) -> &mut Self {
        if self.x < self.right {
            let room = self.room();
            // The buffer drops control characters; direction marks are dropped where text comes in.
            let (x, _) = self.pen.buffer.set_stringn(self.x, self.y, fit(text, room), room, style);
            self.x = x;
        }
        self
    }

    /// Writes text in a column of this width, cut with `…` where it is longer, and a blank after it.
    pub(super) fn column(&mut self, text: &str, columns: usize, scope: Scope) -> &mut Self {
        if columns == 0 {
            return self;
        }
        let end = self.x.saturating_add(u16::try_from(columns + 1).unwrap_or(u16::MAX));
        self.put(&fit(text, columns), scope);
        self.x = end.min(self.right);
        self
    }

    /// Writes as [`Self::column`]; what the filter has found in the text stands out.
    pub(super) fn found(&mut self, text: &str, columns: usize, scope: Scope, is_name: bool) -> &mut Self {
        let (from, text) = (self.x, fit(text, columns));
        self.column(&text, columns, scope);
        let marks = self.pen.search.as_mut().map_or_else(Vec::new, |search| search.marks(&text, is_name));
        let mut x = usize::from(from);
        for (n, grapheme) in text.graphemes(true).enumerate() {
            let width = text::width(grapheme);
            if marks.binary_search(&n).is_ok() && x + width <= self.right.into() {
                let [x, width] = [x, width].map(|n| u16::try_from(n).unwrap_or(u16::MAX));
                self.pen.style(Rect { x, y: self.y, width, height: 1 }, Scope::Found);
            }
            x += width;
        }
        self
    }

    /// Writes text at the right end of a column of this width, and a blank after it.
    pub(super) fn column_right(&mut self, text: &str, columns: usize, scope: Scope) -> &mut Self {
        let text = fit(text, columns);
        self.skip(columns - text::width(&text)).put(&text, scope).skip(1)
    }

    /// Writes text at the right end of the row, if it does not reach what stands there.
    pub(super) fn put_right(&mut self, text: &str, scope: Scope) -> &mut Self {
        let width = u16::try_from(text::width(text)).unwrap_or(u16::MAX);
        let at = self.right.saturating_sub(width);
        if at >= self.x {
            self.x = at;
            self.put(text, scope);
        }
        self
    }

    /// Writes text at the right end of the row, over what stands there.
    pub(super) fn put_right_over(&mut self, text: &str, scope: Scope) -> &mut Self {
        let width = u16::try_from(text::width(text)).unwrap_or(u16::MAX);
        self.x = self.right.saturating_sub(width).max(self.x);
        self.put(text, scope)
    }

    /// Leaves this number of columns as they are.
    pub(super) fn skip(&mut self, columns: usize) -> &mut Self {
        self.x = self.x.saturating_add(u16::try_from(columns).unwrap_or(u16::MAX)).min(self.right);
        self
    }

    /// Number of columns that are left in the row.
    pub(super) fn room(&self) -> usize {
        self.right.saturating_sub(self.x).into()
    }
}
