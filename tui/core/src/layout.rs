//! Where things stand in the window. Shared by `update` (how far a page goes, how large a terminal is) and `view`.

use ratatui::layout::Rect;

use crate::state::{State, View};

/// Least columns of a window in which the preview may stand beside the list.
const WIDE: u16 = 116;
/// Least columns of a window in which it does, however high the window is: the list has room for titles and reasons then.
const WIDER: u16 = 150;
/// Rows below which there is no room for list and preview, one below the other.
const LOW: u16 = 30;
/// Least rows of a window with room for a preview below the list.
const HIGH: u16 = 16;

/// Parts of a window with a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Header with the name of the console, the lists and the hosts: one row.
    pub header: Rect,
    /// The list itself.
    pub list: Rect,
    /// The line between the list and what stands below it, or beside it.
    pub rule: Rect,
    /// Place of preview and details; `None` where there is no room, or nothing is wanted.
    pub beside: Option<Rect>,
    /// Footer with hints: one row.
    pub footer: Rect,
}

impl Layout {
    /// The layout of this console's window.
    #[must_use]
    pub fn of(state: &State) -> Self {
        let (width, height) = state.size;
        let header = Rect::new(0, 0, width, height.min(1));
        let footer = Rect::new(0, height.saturating_sub(1), width, u16::from(height > 1));
        // A line below the header.
        let top = height.min(2);
        let body = Rect::new(0, top, width, height.saturating_sub(top + 1));
        let none = Self { header, list: body, rule: Rect::default(), beside: None, footer };
        let wanted = state.preview_shown
            || state.story_shown
            || matches!(state.view, View::Review | View::Hosts | View::Environments);
        match () {
            () if !wanted => none,
            () if width >= WIDER || (width >= WIDE && height < LOW) => none.side_by_side(body),
            () if height >= HIGH => none.stacked(body, state.rows_wanted()),
            () => none,
        }
    }

    fn side_by_side(self, body: Rect) -> Self {
        let left = (body.width * 46 / 100).clamp(54, 96);
        Self {
            list: Rect { width: left, ..body },
            rule: Rect { x: left, width: 1, ..body },
            beside: Some(Rect { x: left + 1, width: body.width - left - 1, ..body }),
            ..self
        }
    }

    fn stacked(self, body: Rect, wanted: usize) -> Self {
        // The list gets what it needs, up to half.
        let most = (body.height / 2).max(5);
        let list = u16::try_from(wanted).unwrap_or(most).clamp(4, most);
        Self {
            list: Rect { height: list, ..body },
            rule: Rect { y: body.y + list, height: 1, ..body },
            beside: Some(Rect { y: body.y + list + 1, height: body.height - list - 1, ..body }),
            ..self
        }
    }

    /// Whether the preview stands beside the list rather than below.
    #[must_use]
    pub fn is_wide(&self) -> bool {
        self.rule.width == 1 && self.rule.height > 1
    }
}

/// Columns and rows of an attached terminal in a window of this size: all but the status line.
#[must_use]
pub fn attached(size: (u16, u16)) -> (u16, u16) {
    (size.0.max(1), size.1.saturating_sub(1).max(1))
}

/// Parts of a window of changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiffLayout {
    /// Place of the list of files.
    pub files: Rect,
    /// The line between the files and the lines.
    pub rule: Rect,
    /// Place of the lines of the selected file.
    pub lines: Rect,
}

impl DiffLayout {
    /// The layout of a window of this size, for this number of files.
    #[must_use]
    pub fn of((width, height): (u16, u16), files: usize) -> Self {
        let body = Rect::new(0, height.min(1), width, height.saturating_sub(2));
        if width >= WIDE {
            let left = (width / 4).clamp(32, 60);
            return Self {
                files: Rect { width: left, ..body },
                rule: Rect { x: left, width: 1, ..body },
                lines: Rect { x: left + 1, width: width - left - 1, ..body },
            };
        }
        let most = (body.height / 4).max(1);
        let list = u16::try_from(files).unwrap_or(most).clamp(1, most).min(body.height);
        let rule = u16::from(body.height > list);
        Self {
            files: Rect { height: list, ..body },
            rule: Rect { y: body.y + list, height: rule, ..body },
            lines: Rect { y: body.y + list + rule, height: body.height - list - rule, ..body },
        }
    }

    /// Columns and rows of the place of lines.
    #[must_use]
    pub fn area(&self) -> (usize, usize) {
        (self.lines.width.into(), self.lines.height.into())
    }
}

/// Rows of a log in a window of this size: all but its heading and the hints.
#[must_use]
pub fn log_rows(size: (u16, u16)) -> usize {
    usize::from(size.1.saturating_sub(2).max(1))
}
