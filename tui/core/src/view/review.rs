//! The queue of pull requests, and all that is known of the selected one.

use ratatui::layout::Rect;

use super::{pen::Pen, words};
use crate::{
    State,
    layout::Layout,
    list::Row,
    pull::{Check, Draft, Pull, PullKey, Thread},
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
    for (n, row) in (0..).zip(rows) {
        let Row::Item(key) = row else { continue };
        let selected = state.pulls.selected() == Some(key);
        pull_row(state, key, (area, n), selected, pen);
        if selected {
            pen.style(Rect { y: area.y + n, height: 1, ..area }, Scope::Selection);
        }
    }
}

fn pull_row(state: &State, key: &PullKey, (area, row): (Rect, u16), selected: bool, pen: &mut Pen) {
    let Some(pull) = state.fleet.pull(key) else { return };
    let mut line = pen.line(area, row);
    line.put(if selected { "▌" } else { " " }, Scope::SelectionMark);
    let (glyph, scope) = words::standing(&pull.standing);
    line.put(glyph, scope).skip(1).column(words::standing_word(&pull.standing), 8, scope);
    let (glyph, scope) = words::outcome(&pull.outcome);
    line.put(glyph, scope).skip(1).column(&pull.outcome, 7, scope);
    line.column_right(&format!("#{}", pull.number), 5, Scope::Dim);
    let wide = area.width >= 76;
    let aside = if wide { 33 } else { 5 };
    let title = line.room().saturating_sub(aside + 1).max(8);
    line.column(&pull.title, title, Scope::Strong);
    if wide {
        line.column(&pull.repository, 10, Scope::Dim).column(&pull.author, 15, Scope::Dim);
    }
    line.column_right(&text::age(state.now - pull.created_at), 4, Scope::Dim);
}

pub(super) fn draw_details(state: &State, layout: &Layout, area: Rect, pen: &mut Pen) {
    let pull = state.pulls.selected().and_then(|key| state.fleet.pull(key));
    let title = pull.map(Pull::name).unwrap_or_default();
    if !layout.is_wide() {
        pen.rule(layout.rule, 0, &title, "");
    }
    let Some(pull) = pull else { return };
    let mut lines = Lines { pen, area, row: 0 };
    if layout.is_wide() {
        lines.put(&title, Scope::Strong);
        lines.row += 1;
    }
    for (label, value) in facts(state, pull).iter().filter(|(_, value)| !value.is_empty()) {
        lines.fact(label, value);
    }
    for line in text::wrap(&pull.body, lines.columns()).iter().take(6).filter(|_| !pull.body.is_empty()) {
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
}

/// Lines below each other, as many as there is room for.
struct Lines<'p, 'a> {
    pen: &'p mut Pen<'a>,
    area: Rect,
    row: u16,
}

impl Lines<'_, '_> {
    fn columns(&self) -> usize {
        usize::from(self.area.width).saturating_sub(2).max(1)
    }

    fn put(&mut self, text: &str, scope: Scope) {
        self.pen.line(self.area, self.row).skip(1).put(text, scope);
        self.row = self.row.saturating_add(1);
    }

    fn fact(&mut self, label: &str, value: &str) {
        let mut line = self.pen.line(self.area, self.row);
        line.skip(1).column(label, 10, Scope::Dim);
        let room = line.room().saturating_sub(1);
        line.put(&text::fit(value, room), Scope::Text);
        self.row = self.row.saturating_add(1);
    }

    fn heading(&mut self, title: &str) {
        if self.row < self.area.height {
            self.pen.rule(self.area, self.row, title, "");
        }
        self.row = self.row.saturating_add(1);
    }
}

fn facts(state: &State, pull: &Pull) -> Vec<(&'static str, String)> {
    let age = |at| text::age(state.now - at);
    vec![
        ("blocked", pull.blocked.clone()),
        ("by", format!("{} · opened {} ago · changed {} ago", pull.author, age(pull.created_at), age(pull.updated_at))),
        ("branches", format!("{} into {} of {}", pull.head_branch, pull.base_branch, pull.repository)),
        ("head", format!("{} · revision {}", short(&pull.head), pull.revision)),
    ]
}

/// What goes with the next verdict.
fn drafted(pull: &Pull, draft: &Draft, lines: &mut Lines) {
    let old = if draft.head == pull.head { "" } else { ", on an older revision: no verdict can take them along" };
    lines.heading(&format!("{} drafted, not sent yet{old}", text::count(draft.comments.len(), "comment")));
    for comment in &draft.comments {
        let place = format!("{}:{}", text::one_line(&comment.path, 1024), comment.line);
        for line in text::wrap(&format!("{place}  {}", comment.body), lines.columns()) {
            lines.put(&line, Scope::Text);
        }
    }
}

fn checks(pull: &Pull, selected: Option<usize>, lines: &mut Lines) {
    lines.heading(&pull.outcome_text);
    for (at, Check { name, state, required, summary }) in pull.checks.iter().enumerate() {
        let (glyph, scope) = words::check(state);
        let mut line = lines.pen.line(lines.area, lines.row);
        line.put(if selected == Some(at) { "▌" } else { " " }, Scope::SelectionMark);
        line.put(glyph, scope).skip(1).column(name, 20, Scope::Text).column(state, 9, scope);
        line.column(if *required { "required" } else { "" }, 8, Scope::Dim);
        let room = line.room().saturating_sub(1);
        line.put(&text::fit(summary, room), Scope::Dim);
        lines.row = lines.row.saturating_add(1);
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
    lines.heading(&format!("{place}{old}"));
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
        let age = text::age(state.now - revision.at);
        lines.put(&format!("{:>3}  {}  {age} ago{forced}", revision.number, short(&revision.head)), Scope::Text);
    }
}

/// A commit's id, as short as people write it.
fn short(commit: &str) -> String {
    commit.chars().take(10).collect()
}
