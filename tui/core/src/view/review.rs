//! The queue of pull requests, and all that is known of the selected one.

use ratatui::layout::Rect;

use super::{
    pen::{Lines, Pen},
    words,
};
use crate::{
    State,
    draft::Draft,
    layout::Layout,
    list::Row,
    pull::{Check, Pull, PullKey, Thread},
    text,
    theme::Scope,
};

pub(super) fn draw(state: &State, area: Rect, pen: &mut Pen) {
    let rows = state.pulls.shown(area.height.into());
    if rows.is_empty() {
        let text = match (state.filter().field.is_empty(), state.fleet.hosts.iter().any(|h| h.is_up())) {
            (false, _) => ["Nothing matches", ""],
            (true, true) => ["No pull requests", "sessions open them with `session pr open --title TITLE`"],
            (true, false) => ["No host is up", ""],
        };
        return pen.centered(area, &[(text[0], Scope::Strong), (text[1], Scope::Dim)]);
    }
    let title = |row: &Row<(), PullKey>| match row {
        Row::Item(key) => state.fleet.pull(key).map_or(0, |pull| text::width(&pull.title)),
        Row::Head(()) | Row::Below(..) => 0,
    };
    let longest = rows.iter().map(title).max().unwrap_or(0);
    for (n, row) in (0..).zip(rows) {
        let Row::Item(key) = row else { continue };
        let selected = state.pulls.selected() == Some(key);
        pull_row(state, key, (area, n), (selected, longest), pen);
        if selected {
            pen.style(Rect { y: area.y + n, height: 1, ..area }, Scope::Selection);
        }
    }
}

fn pull_row(state: &State, key: &PullKey, (area, row): (Rect, u16), (selected, longest): (bool, usize), pen: &mut Pen) {
    let Some(pull) = state.fleet.pull(key) else { return };
    let mut line = pen.line(area, row);
    line.put(if selected { "▌" } else { " " }, Scope::SelectionMark);
    let standing = if pull.is_closed() { "closed" } else { &pull.standing };
    let (glyph, scope) = words::standing(standing);
    line.put(glyph, scope).skip(1).column(words::standing_word(standing), 8, scope);
    let (glyph, scope) = words::outcome(&pull.outcome);
    line.put(glyph, scope).skip(1).column(&pull.outcome, 7, scope);
    line.column_right(&format!("#{}", pull.number), 5, Scope::Dim);
    // Titles are whole where there is room; what is left tells where they are from.
    let room = line.room().saturating_sub(6);
    let left = room.saturating_sub(longest);
    let (author, repository) = (if left > 10 { (left - 1).min(20) } else { 0 }, if left > 33 { 11 } else { 0 });
    let aside =
        [author, repository].into_iter().filter(|columns| *columns > 0).map(|columns| columns + 1).sum::<usize>();
    line.found(&pull.title, room - aside, Scope::Strong, true);
    line.column(&pull.repository, repository, Scope::Dim).column(&pull.author, author, Scope::Dim);
    line.column_right(&text::age(state.now - pull.created_at), 4, Scope::Dim);
}

/// Draws the details of the selected pull request; returns how many rows there are.
pub(super) fn draw_details(state: &State, layout: &Layout, area: Rect, pen: &mut Pen) -> usize {
    let pull = state.pulls.selected().and_then(|key| state.fleet.pull(key));
    let title = pull.map(Pull::name).unwrap_or_default();
    if !layout.is_wide() {
        pen.rule(layout.rule, 0, &title, "");
    }
    let Some(pull) = pull else { return 0 };
    let mut lines = pen.lines(area, state.details);
    if layout.is_wide() {
        lines.put(&title, Scope::Strong);
        lines.put("", Scope::Text);
    }
    for (label, value) in facts(state, pull).iter().filter(|(_, value)| !value.is_empty()) {
        lines.fact(label, value, 10);
    }
    for line in text::wrap(&pull.body, lines.columns()).iter().filter(|_| !pull.body.is_empty()) {
        lines.put(line, Scope::Text);
    }
    if let Some(draft) = state.pulls.selected().and_then(|key| state.drafts.get(key)) {
        drafted(pull, draft, &mut lines);
    }
    checks(pull, state.selected_check(), &mut lines);
    reviews(pull, &mut lines);
    for thread in pull.threads.iter().rev() {
        draw_thread(pull, thread, &mut lines);
    }
    revisions(state, pull, &mut lines);
    lines.end()
}

fn facts(state: &State, pull: &Pull) -> Vec<(&'static str, String)> {
    let ago = |at| text::ago(state.now - at);
    vec![
        ("closed", pull.closed_why.clone()),
        ("blocked", pull.blocked.clone()),
        ("by", format!("{} · opened {} · changed {}", pull.author, ago(pull.created_at), ago(pull.updated_at))),
        ("branches", format!("{} into {} of {}", pull.head_branch, pull.base_branch, pull.repository)),
        ("head", format!("{} · revision {}", short(&pull.head), pull.revision)),
    ]
}

/// Draws what goes with the next verdict.
fn drafted(pull: &Pull, draft: &Draft, lines: &mut Lines) {
    lines.heading(&format!("{} drafted, not sent yet", text::count(draft.comments.len(), "comment")));
    for comment in &draft.comments {
        let old = match comment.place.head().filter(|head| *head != pull.head) {
            Some(head) => match pull.revision_of(head) {
                Some(number) => format!(" of revision {number}, changed since"),
                None => " of an old revision, changed since".into(),
            },
            None => String::new(),
        };
        let unfinished = if comment.unfinished { " (unfinished)" } else { "" };
        let text = format!("{}{old}{unfinished}  {}", comment.place.name(), comment.body);
        for line in text::wrap(&text, lines.columns()) {
            lines.put(&line, Scope::Text);
        }
    }
    for line in text::wrap(&draft.body, lines.columns()).iter().filter(|_| !draft.body.is_empty()) {
        lines.put(line, Scope::Text);
    }
}

fn checks(pull: &Pull, selected: Option<usize>, lines: &mut Lines) {
    lines.heading(&pull.outcome_text);
    for (at, Check { name, state, required, summary }) in pull.checks.iter().enumerate() {
        let (glyph, scope) = words::check(state);
        let Some(mut line) = lines.next() else { continue };
        line.put(if selected == Some(at) { "▌" } else { " " }, Scope::SelectionMark);
        line.put(glyph, scope).skip(1).column(name, 20, Scope::Text).column(state, 9, scope);
        line.column(if *required { "required" } else { "" }, 8, Scope::Dim);
        let room = line.room().saturating_sub(1);
        line.put(&text::fit(summary, room), Scope::Dim);
    }
}

fn reviews(pull: &Pull, lines: &mut Lines) {
    if pull.reviews.is_empty() {
        return;
    }
    lines.heading("reviews");
    for review in pull.reviews.iter().rev() {
        let scope = match &*review.verdict {
            "approve" => Scope::StateGood,
            "request-changes" => Scope::StateBad,
            _ => Scope::Text,
        };
        let old = if review.revision == pull.revision { "" } else { ", now outdated" };
        let text = format!("{} {} of revision {}{old}", review.who, review.verdict, review.revision);
        lines.put(&text, scope);
        for line in text::wrap(&review.body, lines.columns() - 1).iter().filter(|_| !review.body.is_empty()) {
            lines.put(&format!("  {line}"), Scope::Text);
        }
    }
}

fn draw_thread(pull: &Pull, thread: &Thread, lines: &mut Lines) {
    let place = if thread.line == 0 { thread.path.clone() } else { format!("{}:{}", thread.path, thread.line) };
    let old =
        if thread.revision == pull.revision { String::new() } else { format!(" of revision {}", thread.revision) };
    let settled = match &*thread.resolved_by {
        "" => String::new(),
        who => format!(", resolved by {who}"),
    };
    lines.heading(&format!("{place}{old}{settled}"));
    if thread.line > 0 {
        lines.put(&format!("> {}", thread.quote), Scope::Dim);
    }
    for (who, body) in &thread.comments {
        for (n, line) in text::wrap(body, lines.columns().saturating_sub(2)).iter().enumerate() {
            let text = if n == 0 { format!("{who}: {line}") } else { format!("  {line}") };
            lines.put(&text, Scope::Text);
        }
    }
}

fn revisions(state: &State, pull: &Pull, lines: &mut Lines) {
    lines.heading(&text::count(pull.revisions.len(), "revision"));
    for revision in pull.revisions.iter().rev() {
        let forced = if revision.forced { " · forced" } else { "" };
        let ago = text::ago(state.now - revision.at);
        lines.put(&format!("{:>3}  {}  {ago}{forced}", revision.number, short(&revision.head)), Scope::Text);
    }
}

/// A commit's id, as short as people write it.
fn short(commit: &str) -> String {
    commit.chars().take(10).collect()
}
