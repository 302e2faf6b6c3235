//! Changes in the whole window: files at the side, or on top where it is narrow, and the lines of the selected one.

use ratatui::{Frame, layout::Rect};

use unicode_segmentation::UnicodeSegmentation as _;

use super::{chrome, pen::Pen};
use crate::{
    Command, State, Theme,
    diff::{At, DiffView, File, GUTTER, Note, NoteKind, Reading, Row, Side, Subject, wrap_at},
    draft::Draft,
    key,
    layout::DiffLayout,
    text,
    theme::Scope,
};

pub(super) fn draw(state: &State, diff: &DiffView, theme: &Theme, frame: &mut Frame) {
    let area = frame.area();
    let layout = DiffLayout::of(state.size, diff.files().len());
    let mut pen = Pen::new(frame.buffer_mut(), theme);
    let remark = if diff.remark.is_empty() { String::new() } else { format!(": {}", diff.remark) };
    pen.rule(area, 0, &format!("{}{remark}", title(state, diff)), &summary(state, diff));
    let body = Rect { y: area.y + 1, height: area.height.saturating_sub(2), ..area };
    match (diff.files().is_empty(), &diff.reading) {
        (true, Reading::Failed(why)) => pen.centered(body, &[(why, Scope::StateBad)]),
        (true, Reading::Going) if !diff.listed => pen.centered(body, &[(waiting(state, diff), Scope::StateBusy)]),
        (true, _) => pen.centered(body, &[("Nothing changed", Scope::Dim)]),
        (false, _) => {
            files(diff, layout.files, &mut pen);
            rule(diff, &layout, &mut pen);
            lines(diff, layout.lines, &mut pen);
        }
    }
    newer(state, area, &mut pen);
    let footer = Rect { y: area.bottom().saturating_sub(1), height: area.height.min(1), ..area };
    let mut hints = vec![(Command::Back, "back")];
    if diff.subject.pull().is_some() {
        hints.extend([
            (Command::Approve, "approve"),
            (Command::RequestChanges, "request changes"),
            (Command::CommentLine, "comment on the line"),
        ]);
        if !diff.notes.is_empty() {
            hints.extend([(Command::Reply, "answer"), (Command::Resolve, "resolve")]);
        }
    }
    if draft(state, diff).is_some() {
        hints.push((Command::DiscardDraft, "discard"));
    }
    hints.push((Command::Wrap, if diff.window.wrapped { "no wrap" } else { "wrap" }));
    if !diff.window.wrapped {
        hints.extend([(Command::PanLeft, "left"), (Command::PanRight, "right")]);
    }
    hints.extend([
        (Command::NextHunk, "next change"),
        (Command::PreviousHunk, "previous"),
        (Command::NextFile, "next file"),
        (Command::PreviousFile, "previous"),
        (Command::Help, "help"),
    ]);
    chrome::draw_hints(state, footer, &hints, &mut pen);
}

/// Title of the window: whose changes, and of which revision.
fn title(state: &State, diff: &DiffView) -> String {
    let number = |key, commit: &str| state.fleet.pull(key).and_then(|pull| pull.revision_of(commit));
    let revision =
        |key, commit: &str| number(key, commit).map_or_else(|| "an old revision".into(), |n| format!("revision {n}"));
    match &diff.subject {
        Subject::Session(key) => {
            format!("changes of {}", state.fleet.session(key).map_or("deleted session", |s| s.name()))
        }
        Subject::Pull(key) if diff.commit.is_empty() => format!("changes of {}", key.id()),
        Subject::Pull(key) => format!("changes of {}, {}", key.id(), revision(key, &diff.commit)),
        Subject::Between { pull, old, new } => {
            format!("{}: from {} to {}", pull.id(), revision(pull, old), revision(pull, new))
        }
    }
}

/// Draws, below the heading, that what is read is not the newest any more.
fn newer(state: &State, area: Rect, pen: &mut Pen) {
    let Some(number) = state.newer_revision() else { return };
    let keys = state.keymap.keys_for(Command::ShowNewer, state.conditions()).map(|keys| key::chord(&keys));
    let how = keys.map_or_else(String::new, |keys| format!("; {keys} shows what it changes"));
    let text = format!(" revision {number} arrived{how} ");
    let width = u16::try_from(text::width(&text)).unwrap_or(area.width).min(area.width);
    let place = Rect { x: area.right() - width, y: area.y + 1, width, height: 1.min(area.height.saturating_sub(1)) };
    pen.clear(place, Scope::NoticeWarning);
    pen.line(place, 0).put(&text, Scope::NoticeWarning);
}

/// Words for what goes on before there is anything to show.
fn waiting(state: &State, diff: &DiffView) -> &'static str {
    let session = match &diff.subject {
        Subject::Session(key) => state.fleet.session(key),
        Subject::Pull(_) | Subject::Between { .. } => None,
    };
    // Its host may have to start a VM for it.
    match session.is_some_and(|session| &*session.lifecycle == "suspended") {
        true => "Reading the suspended session's changes from a copy of its VM …",
        false => "Comparing …",
    }
}

fn summary(state: &State, diff: &DiffView) -> String {
    let (added, removed) = diff.counts();
    let kept = diff.suspended_at.map_or(String::new(), |at| format!("as of {} · ", text::ago(state.now - at)));
    let going = match &diff.reading {
        Reading::Going => "reading · ",
        Reading::Failed(_) => "broken off · ",
        Reading::Done => "",
    };
    let drafted = draft(state, diff).map_or(0, |draft| draft.comments.len());
    let drafted = if drafted == 0 { String::new() } else { format!("{} drafted · ", text::count(drafted, "comment")) };
    format!("{drafted}{kept}{going}{} +{added} -{removed}", text::count(diff.files().len(), "file"))
}

fn files(diff: &DiffView, area: Rect, pen: &mut Pen) {
    let height = usize::from(area.height);
    // The selected one in the middle, as far as there are files.
    let last = diff.files().len().saturating_sub(height);
    let first = diff.selected().saturating_sub(height / 2).min(last);
    let shown = diff.files().iter().enumerate().skip(first).take(height);
    for (row, (number, file)) in (0..).zip(shown) {
        let selected = number == diff.selected();
        let mut line = pen.line(area, row);
        line.put(if selected { "▌" } else { " " }, Scope::SelectionMark);
        line.put(&file.letter.to_string(), letter(file)).skip(1);
        let (added, removed) = match file.counts {
            Some((added, removed)) => (format!("+{added}"), format!(" -{removed} ")),
            None => (String::new(), String::new()),
        };
        let counts = text::width(&added) + text::width(&removed);
        let room = line.room().saturating_sub(counts + 1);
        line.put(&text::pad(&tail(&file.path, room), room), if selected { Scope::Strong } else { Scope::Text }).skip(1);
        line.put(&added, Scope::DiffAdded).put(&removed, Scope::DiffRemoved);
        if selected {
            pen.style(Rect { y: area.y + row, height: 1, ..area }, Scope::Selection);
        }
    }
}

/// The end of a path that has room: it says more than its begin.
fn tail(path: &str, room: usize) -> String {
    if text::width(path) <= room || room < 2 {
        return text::fit(path, room);
    }
    let mut tail = path;
    while text::width(tail) + 1 > room {
        let mut chars = tail.chars();
        chars.next();
        tail = chars.as_str();
    }
    format!("…{tail}")
}

fn letter(file: &File) -> Scope {
    match file.letter {
        'A' => Scope::DiffAdded,
        'D' => Scope::DiffRemoved,
        _ => Scope::DiffHunk,
    }
}

fn rule(diff: &DiffView, layout: &DiffLayout, pen: &mut Pen) {
    if layout.rule.width == 1 {
        for row in 0..layout.rule.height {
            pen.line(layout.rule, row).put("│", Scope::Rule);
        }
    } else {
        pen.rule(layout.rule, 0, diff.title(), "");
    }
}

fn lines(diff: &DiffView, area: Rect, pen: &mut Pen) {
    let height = usize::from(area.height);
    let rows = diff.rows();
    if let (true, Reading::Failed(why)) = (rows.is_empty(), &diff.reading) {
        return pen.centered(area, &[(why, Scope::StateBad)]);
    }
    if rows.is_empty() && diff.is_coming() {
        return pen.centered(area, &[("Reading …", Scope::StateBusy)]);
    }
    let (first, skipped) = diff.top((area.width.into(), height));
    let mut row = Below { next: 0, skipped };
    for number in first..diff.len() {
        if row.next >= area.height {
            break;
        }
        let begin = row.next;
        match diff.item(number) {
            At::Row(n) => rows.get(n).into_iter().for_each(|line| draw_row(diff, line, area, &mut row, pen)),
            At::Note(n) => diff.notes.get(n).into_iter().for_each(|note| draw_note(note, area, &mut row, pen)),
        }
        if number == diff.cursor() {
            let place = Rect { y: area.y + begin, height: row.next.min(area.height) - begin, ..area };
            pen.style(place, Scope::Selection);
        }
    }
}

/// Number of the row that is drawn next, after so many that are out of sight.
struct Below {
    next: u16,
    skipped: usize,
}

impl Below {
    /// Number of the next row, if it is seen.
    fn take(&mut self, area: Rect) -> Option<u16> {
        if self.skipped > 0 {
            self.skipped -= 1;
            return None;
        }
        let row = self.next;
        self.next = self.next.saturating_add(1);
        (row < area.height).then_some(row)
    }
}

fn draw_row(diff: &DiffView, line: &Row, area: Rect, row: &mut Below, pen: &mut Pen) {
    let (side, at, parts) = match line {
        Row::Line(side, at, parts) => (side, at, parts),
        Row::Hunk(text) | Row::Remark(text) => {
            let hunk = matches!(line, Row::Hunk(_));
            let (indent, scope) = if hunk { (0, Scope::DiffHunk) } else { (GUTTER, Scope::Dim) };
            if let Some(n) = row.take(area) {
                pen.line(area, n).skip(indent).put(text, scope);
            }
            return;
        }
    };
    let (sign, scope, marked) = match side {
        Side::Both => (" ", Scope::Text, Scope::Text),
        Side::Old => ("-", Scope::DiffRemoved, Scope::DiffRemovedPart),
        Side::New => ("+", Scope::DiffAdded, Scope::DiffAddedPart),
    };
    let columns = wrap_at(area.width.into());
    let pieces = match diff.window.wrapped {
        true => chop(parts, columns),
        false => vec![panned(parts, diff.window.pan)],
    };
    for (n, piece) in pieces.iter().enumerate() {
        let Some(to) = row.take(area) else { continue };
        let mut line = pen.line(area, to);
        match n {
            0 => line.put(&format!("{at:>5} "), Scope::Dim).put(sign, scope),
            _ => line.put("    ↪ ", Scope::Dim).put(sign, scope),
        };
        for (changed, part) in piece {
            line.put(part, if *changed { marked } else { scope });
        }
    }
}

/// Splits a line into pieces of `columns` columns.
fn chop(parts: &[(bool, String)], columns: usize) -> Vec<Vec<(bool, String)>> {
    let mut rows: Vec<Vec<(bool, String)>> = vec![vec![]];
    let mut used = 0;
    for (changed, part) in parts {
        for grapheme in part.graphemes(true) {
            let width = text::width(grapheme);
            if used + width > columns {
                rows.push(vec![]);
                used = 0;
            }
            used += width;
            let Some(row) = rows.last_mut() else { continue };
            match row.last_mut().filter(|(last, _)| last == changed) {
                Some((_, text)) => text.push_str(grapheme),
                None => row.push((*changed, grapheme.to_owned())),
            }
        }
    }
    rows
}

/// A line without its first `pan` columns.
fn panned(parts: &[(bool, String)], pan: usize) -> Vec<(bool, String)> {
    let mut left = pan;
    let part = |(changed, part): &(bool, String)| {
        let mut shown = String::new();
        for grapheme in part.graphemes(true) {
            let width = text::width(grapheme);
            if left == 0 {
                shown.push_str(grapheme);
            } else if width > left {
                // Half of it is out of sight.
                shown.push_str(&" ".repeat(width - left));
                left = 0;
            } else {
                left -= width;
            }
        }
        (*changed, shown)
    };
    parts.iter().map(part).collect()
}

fn draw_note(note: &Note, area: Rect, row: &mut Below, pen: &mut Pen) {
    let (glyph, heading, text) = match &note.kind {
        NoteKind::Thread(_, true) => ("✓", Scope::Dim, Scope::Dim),
        NoteKind::Thread(_, false) => ("┃", Scope::Key, Scope::Text),
        NoteKind::Draft(_) => ("✎", Scope::StateAsks, Scope::Text),
    };
    for (n, line) in note.lines(area.width.into()).iter().enumerate() {
        let Some(to) = row.take(area) else { continue };
        let scope = if n == 0 { heading } else { text };
        pen.line(area, to).skip(GUTTER).put(if n == 0 { glyph } else { "┃" }, heading).skip(1).put(line, scope);
    }
}

/// The draft of the pull request whose changes are shown.
fn draft<'a>(state: &'a State, diff: &DiffView) -> Option<&'a Draft> {
    state.drafts.get(diff.subject.pull()?)
}
