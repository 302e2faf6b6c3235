//! Changes in the whole window: files at the side, or on top where it is narrow, and the lines of the selected one.

use ratatui::{Frame, layout::Rect};

use super::{chrome, pen::Pen};
use crate::{
    Command, State, Theme,
    diff::{DiffView, File, Reading, Row, Side, Subject},
    layout::DiffLayout,
    pull::Draft,
    text,
    theme::Scope,
};

pub(super) fn draw(state: &State, diff: &DiffView, theme: &Theme, frame: &mut Frame) {
    let area = frame.area();
    let layout = DiffLayout::of(state.size, diff.files().len());
    let mut pen = Pen::new(frame.buffer_mut(), theme);
    let name = match &diff.subject {
        Subject::Session(key) => state.fleet.session(key).map_or("deleted session", |s| s.name()).to_owned(),
        Subject::Pull(key) => key.id(),
    };
    let remark = if diff.remark.is_empty() { String::new() } else { format!(": {}", diff.remark) };
    pen.rule(area, 0, &format!("changes of {name}{remark}"), &summary(state, diff));
    let body = Rect { y: area.y + 1, height: area.height.saturating_sub(2), ..area };
    match (diff.files().is_empty(), &diff.reading) {
        (true, Reading::Failed(why)) => pen.centered(body, &[(why, Scope::StateBad)]),
        (true, Reading::Going) if !diff.listed => pen.centered(body, &[(waiting(state, diff), Scope::StateBusy)]),
        (true, _) => pen.centered(body, &[("Nothing changed", Scope::Dim)]),
        (false, _) => {
            files(diff, layout.files, &mut pen);
            rule(diff, &layout, &mut pen);
            lines(state, diff, layout.lines, &mut pen);
        }
    }
    let footer = Rect { y: area.bottom().saturating_sub(1), height: area.height.min(1), ..area };
    let mut hints = vec![(Command::Back, "back")];
    if matches!(diff.subject, Subject::Pull(_)) {
        hints.push((Command::CommentLine, "comment on the line"));
    }
    if draft(state, diff).is_some() {
        hints.push((Command::DiscardDraft, "discard"));
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

/// What goes on before there is anything to show.
fn waiting(state: &State, diff: &DiffView) -> &'static str {
    let session = match &diff.subject {
        Subject::Session(key) => state.fleet.session(key),
        Subject::Pull(_) => None,
    };
    // Its host may have to start a VM for it.
    match session.is_some_and(|session| &*session.lifecycle == "suspended") {
        true => "Reading the suspended session's changes from a copy of its VM …",
        false => "Comparing …",
    }
}

fn summary(state: &State, diff: &DiffView) -> String {
    let (added, removed) = diff.counts();
    let kept = diff.suspended_at.map_or(String::new(), |at| format!("as of {} ago · ", text::age(state.now - at)));
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

/// The end of a path says more than its begin.
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

fn lines(state: &State, diff: &DiffView, area: Rect, pen: &mut Pen) {
    let height = usize::from(area.height);
    let rows = diff.rows();
    if let (true, Reading::Failed(why)) = (rows.is_empty(), &diff.reading) {
        return pen.centered(area, &[(why, Scope::StateBad)]);
    }
    if rows.is_empty() && diff.is_coming() {
        return pen.centered(area, &[("Reading …", Scope::StateBusy)]);
    }
    let drafts = draft(state, diff);
    let first = diff.first(height);
    for (number, row) in (0..).zip(rows.iter().skip(first).take(height)) {
        let mut line = pen.line(area, number);
        match row {
            Row::Hunk(heading) => drop(line.put(heading, Scope::DiffHunk)),
            Row::Remark(remark) => drop(line.skip(7).put(remark, Scope::Dim)),
            Row::Line(side, at, parts) => {
                let (sign, scope, marked) = match side {
                    Side::Both => (" ", Scope::Text, Scope::Text),
                    Side::Old => ("-", Scope::DiffRemoved, Scope::DiffRemovedPart),
                    Side::New => ("+", Scope::DiffAdded, Scope::DiffAddedPart),
                };
                line.put(&format!("{at:>5} "), Scope::Dim).put(sign, scope);
                for (changed, part) in parts {
                    line.put(part, if *changed { marked } else { scope });
                }
            }
        }
        let said = diff.place_of(row).and_then(|(path, at)| drafts?.at(path, at));
        if let Some(said) = said {
            line.put(&format!("  ✎ {said}"), Scope::Hint);
        }
        if first + usize::from(number) == diff.cursor() {
            pen.style(Rect { y: area.y + number, height: 1, ..area }, Scope::Selection);
        }
    }
}

/// What this person has drafted of the commit that is shown.
fn draft<'a>(state: &'a State, diff: &DiffView) -> Option<&'a Draft> {
    let Subject::Pull(key) = &diff.subject else { return None };
    state.drafts.get(key).filter(|draft| draft.head == diff.commit)
}
