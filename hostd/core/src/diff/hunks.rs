//! From changes to hunks, one line at a time: a hunk may be as large as its file.

use std::ops::Range;

use super::{
    Text,
    words::{self, Marks},
};

/// The next part of a difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A hunk begins; its lines follow.
    Hunk(Hunk),
    /// A line of the hunk that began last.
    Line(Line),
}

/// Place of a hunk, as git counts: lines from 1; with no lines on a side, the line that the hunk stands after, 0 at the
/// beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hunk {
    /// Number of the hunk's first line in the old text.
    pub old_start: u32,
    /// Number of lines of the old text in the hunk.
    pub old_lines: u32,
    /// Number of the hunk's first line in the new text.
    pub new_start: u32,
    /// Number of lines of the new text in the hunk.
    pub new_lines: u32,
}

/// Kind of a line in a hunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Both texts have the line.
    Context,
    /// Only the old text has the line.
    Removed,
    /// Only the new text has the line.
    Added,
}

/// A line of a hunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Whether the line is in both texts, or in which.
    pub kind: Kind,
    /// Place of the line's bytes, without the line feed: in the old text if the line is removed, else in the new one.
    pub range: Range<usize>,
    /// Whether the line ends with a line feed; only a text's last line may not.
    pub ended: bool,
    /// Ranges of the line's bytes that changed, from its begin on. Empty: not known, or all of them.
    pub marks: Vec<Range<u32>>,
}

/// The hunks of a text, as [`Event`]s in order.
#[derive(Debug)]
pub struct Hunks<B> {
    text: Text<B>,
    context: u32,
    /// Place in the text's changes of the first change of the next hunk.
    next: usize,
    /// State of the hunk under way; None: no hunk was begun, or the last one is over.
    hunk: Option<Under>,
}

/// A hunk under way. Lines are counted from the window's begin.
#[derive(Debug)]
struct Under {
    /// Next line of the old text.
    old: u32,
    new: u32,
    /// The change that is next, and the one after the hunk's last.
    change: usize,
    changes_end: usize,
    /// Lines that are left of the change that was entered.
    removed: u32,
    added: u32,
    /// The end of the hunk in the new text.
    new_end: u32,
    marks: Marks,
}

impl<B: AsRef<[u8]>> Hunks<B> {
    pub(super) fn new(text: Text<B>, context: u32) -> Self {
        Self { text, context, next: 0, hunk: None }
    }

    /// The bytes of a line, without the line feed.
    pub fn bytes(&self, line: &Line) -> &[u8] {
        &self.side(line.kind).as_ref()[line.range.clone()]
    }

    /// The text that has the lines of this kind.
    pub fn side(&self, kind: Kind) -> &B {
        if kind == Kind::Removed { &self.text.old } else { &self.text.new }
    }

    /// The old text and the new one.
    pub fn texts(&self) -> (&B, &B) {
        (&self.text.old, &self.text.new)
    }

    fn begin(&mut self) -> Option<Hunk> {
        let Text { window, changes, .. } = &self.text;
        let first = changes.get(self.next)?;
        let mut end = self.next + 1;
        while changes.get(end).is_some_and(|c| c.before.start - changes[end - 1].before.end <= 2 * self.context) {
            end += 1;
        }
        let last = &changes[end - 1];
        let before = self.context.min(first.before.start);
        let after = self.context.min(window.old.count() - last.before.end);
        let (old, new) = (first.before.start - before, first.after.start - before);
        let (old_end, new_end) = (last.before.end + after, last.after.end + after);
        let place = |start: u32, end: u32| (window.first + start + u32::from(end > start), end - start);
        let ((old_start, old_lines), (new_start, new_lines)) = (place(old, old_end), place(new, new_end));
        let (change, changes_end) = (self.next, end);
        self.next = end;
        self.hunk =
            Some(Under { old, new, change, changes_end, removed: 0, added: 0, new_end, marks: Marks::default() });
        Some(Hunk { old_start, old_lines, new_start, new_lines })
    }

    /// The next line of the hunk under way; None: it is over.
    fn line(&mut self) -> Option<Line> {
        let under = self.hunk.as_mut()?;
        let text = &self.text;
        if under.removed == 0 && under.added == 0 && under.change < under.changes_end {
            let change = &text.changes[under.change];
            if change.before.start == under.old {
                under.change += 1;
                (under.removed, under.added) =
                    (change.before.end - change.before.start, change.after.end - change.after.start);
                under.marks = text.marks(change);
            }
        }
        let kind = match (under.removed, under.added) {
            (1.., _) => Kind::Removed,
            (0, 1..) => Kind::Added,
            (0, 0) if under.new < under.new_end => Kind::Context,
            (0, 0) => {
                self.hunk = None;
                return None;
            }
        };
        let (side, number) = match kind {
            Kind::Removed => (&text.window.old, under.old),
            Kind::Added | Kind::Context => (&text.window.new, under.new),
        };
        let marks = match kind {
            Kind::Removed => under.marks.old.pop_front(),
            Kind::Added => under.marks.new.pop_front(),
            Kind::Context => None,
        };
        under.old += u32::from(kind != Kind::Added);
        under.new += u32::from(kind != Kind::Removed);
        under.removed -= u32::from(kind == Kind::Removed);
        under.added -= u32::from(kind == Kind::Added);
        let mut range = side.range(number);
        let ended = self.side(kind).as_ref()[range.clone()].ends_with(b"\n");
        range.end -= usize::from(ended);
        Some(Line { kind, range, ended, marks: marks.unwrap_or_default() })
    }
}

impl<B: AsRef<[u8]>> Text<B> {
    fn marks(&self, change: &imara_diff::Hunk) -> Marks {
        // A block this long has no marks: do not even gather its lines.
        if change.before.len() + change.after.len() > words::LINES_MAX {
            return Marks::default();
        }
        let lines = |side: &super::window::Side, lines: &Range<u32>, text: &B| -> Vec<Range<usize>> {
            let bytes = text.as_ref();
            lines
                .clone()
                .map(|n| side.range(n))
                .map(|r| r.start..r.end - usize::from(bytes[r].ends_with(b"\n")))
                .collect()
        };
        let old = lines(&self.window.old, &change.before, &self.old);
        let new = lines(&self.window.new, &change.after, &self.new);
        let old: Vec<&[u8]> = old.into_iter().map(|range| &self.old.as_ref()[range]).collect();
        let new: Vec<&[u8]> = new.into_iter().map(|range| &self.new.as_ref()[range]).collect();
        words::marks(&old, &new)
    }
}

impl<B: AsRef<[u8]>> Iterator for Hunks<B> {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        if let Some(line) = self.line() {
            return Some(Event::Line(line));
        }
        self.begin().map(Event::Hunk)
    }
}
