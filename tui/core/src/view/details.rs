//! What is known of a session besides its row.

use ratatui::layout::Rect;

use super::{
    pen::{Lines, Pen},
    words,
};
use crate::{
    Command, Millis, State,
    fleet::{Checkpoint, Part, Permission, Refusal, Session, SessionKey},
    key,
    story::Event,
    text,
    theme::Scope,
};

/// Draws one row, and more for answers and permissions; returns how many rows it used.
pub(super) fn narrow(state: &State, of: &SessionKey, session: &Session, area: Rect, pen: &mut Pen) -> u16 {
    let (glyph, scope) = words::session(session);
    let mut line = pen.line(area, 0);
    line.skip(1).put(glyph, scope).put(" ", scope).put(&words::standing_of(session), scope);
    let mut parts = vec![session.slug.clone(), session.environment.clone()];
    if state.fleet.several() {
        parts.push(state.fleet.host_name(&of.host).to_owned());
    }
    let last = session.last.as_ref().map(|last| last_done(last, state.now));
    parts.extend(last.into_iter().chain([memory(session), start_total(session)]));
    for part in parts.iter().filter(|part| !part.is_empty()) {
        line.put(" · ", Scope::Rule).put(part, Scope::Dim);
    }
    let mut used = 1;
    if let Some(asked) = session.permission.as_ref().filter(|permission| permission.has_keys()) {
        // Its row has seldom room for it, and nobody is to allow what they cannot read.
        for row in text::wrap(&asked.text, usize::from(area.width).saturating_sub(2)).iter().take(2) {
            pen.line(area, used).skip(1).put(row, Scope::Text);
            used += 1;
        }
        used += permission(state, asked, area, used, pen);
    } else if !session.choices.is_empty() {
        used += choices(state, session, area, (used, 1), pen);
    } else if !session.cause.is_empty() && session.crashed() {
        pen.line(area, used)
            .skip(1)
            .put(&text::fit(&session.cause, usize::from(area.width).saturating_sub(2)), Scope::StateBad);
        used += 1;
    }
    used
}

/// Draws a block of rows; returns how many it used.
pub(super) fn wide(state: &State, key: &SessionKey, session: &Session, area: Rect, pen: &mut Pen) -> u16 {
    let (glyph, scope) = words::session(session);
    let standing = format!("{glyph} {} ", words::standing_of(session));
    let mut line = pen.line(area, 0);
    let room = usize::from(area.width).saturating_sub(text::width(&standing) + 4);
    line.skip(1).put(&text::fit(session.name(), room), Scope::Strong);
    line.put_right(&standing, scope);
    let mut used = 1;
    let why = if session.crashed() { &session.cause } else { words::why(session) };
    for row in text::wrap(why, usize::from(area.width).saturating_sub(2)).iter().filter(|r| !r.is_empty()).take(3) {
        pen.line(area, used).skip(1).put(row, if session.crashed() { Scope::StateBad } else { Scope::Text });
        used += 1;
    }
    if let Some(asked) = session.permission.as_ref().filter(|permission| permission.has_keys()) {
        used += permission(state, asked, area, used, pen);
    } else if !session.choices.is_empty() {
        used += choices(state, session, area, (used, 4), pen);
    }
    // The facts stand apart where there is room.
    used += u16::from(area.height > 30);
    for (label, value) in facts(state, key, session).iter().filter(|(_, value)| !value.is_empty()) {
        used += fact(label, &text::one_line(value, 400), area, used, pen);
    }
    used
}

/// Draws all that is known of a session, as many rows as it takes.
pub(super) fn whole(state: &State, key: &SessionKey, session: &Session, lines: &mut Lines) {
    let (glyph, scope) = words::session(session);
    lines.put(&format!("{glyph} {}", words::standing_of(session)), scope);
    for (why, scope) in [(words::why(session), Scope::Text), (&session.cause, Scope::StateBad)] {
        text::wrap(why, lines.columns()).iter().filter(|_| !why.is_empty()).for_each(|line| lines.put(line, scope));
    }
    for (key, does) in session.permission.iter().flat_map(|asked| permission_keys(state, asked)) {
        lines.fact(&key, &does, 4);
    }
    let by_name = by_name(state);
    for (n, choice) in session.choices.iter().enumerate() {
        lines.fact(&answer_key(n, &by_name), choice, 4);
    }
    lines.put("", Scope::Text);
    for (label, value) in facts(state, key, session).iter().filter(|(_, value)| !value.is_empty()) {
        lines.fact(label, value, 12);
    }
    if session.crashed() && !session.cause_lines.is_empty() {
        lines.heading("Its console");
        let said = session.cause_lines.iter().flat_map(|line| text::wrap(line, lines.columns())).collect::<Vec<_>>();
        said.iter().for_each(|line| lines.put(line, Scope::Text));
    }
    let Some((_, refused)) = state.refused.as_ref().filter(|(of, refused)| of == key && !refused.is_empty()) else {
        return;
    };
    lines.heading(&format!("{} refused", text::count(refused.len(), "destination")));
    for Refusal { destination, why, count, last_at } in refused {
        let times = if *count == 1 { "once".into() } else { format!("{count} times") };
        let line = format!("{destination} {times}, last {}: {why}", text::ago(state.now - last_at));
        text::wrap(&line, lines.columns()).iter().for_each(|line| lines.put(line, Scope::Text));
    }
}

/// Draws a fact in one row, or two where there is room for the terminal still; returns how many rows it used.
fn fact(label: &str, value: &str, area: Rect, row: u16, pen: &mut Pen) -> u16 {
    if row + 8 > area.height {
        return 0;
    }
    let room = usize::from(area.width).saturating_sub(15);
    let lines = match area.height {
        0..=30 => vec![text::fit(value, room)],
        _ => text::wrap(value, room),
    };
    for (n, line) in (0..).zip(lines.iter().take(2)) {
        let label = if n == 0 { label } else { "" };
        let more = if n == 1 && lines.len() > 2 { "…" } else { "" };
        pen.line(area, row + n).skip(1).column(label, 12, Scope::Dim).put(line, Scope::Text).put(more, Scope::Dim);
    }
    u16::try_from(lines.len().min(2)).unwrap_or(2)
}

/// The key that opens the list of all offered answers.
fn by_name(state: &State) -> String {
    let keys = state.keymap.keys_for(Command::Answers, state.conditions_below());
    keys.map_or_else(String::new, |keys| key::chord(&keys))
}

/// Draws the offered answers with their keys, below `row`, in at most `rows` rows; returns how many it used.
fn choices(state: &State, session: &Session, area: Rect, (row, rows): (u16, usize), pen: &mut Pen) -> u16 {
    let by_name = by_name(state);
    let (lines, left) = lay(&session.choices, &by_name, usize::from(area.width).saturating_sub(2), rows);
    let count = u16::try_from(lines.len()).unwrap_or(u16::MAX);
    for (n, choices) in (0..).zip(&lines) {
        let mut line = pen.line(area, row + n);
        line.skip(1);
        for (key, choice) in choices {
            line.put(key, Scope::Key).skip(1).put(choice, Scope::Text).skip(APART);
        }
        if left > 0 && n + 1 == count {
            line.put(&more(left, &by_name), Scope::Dim);
        }
    }
    count
}

/// Draws the keys that answer a permission and what they press, in row `row`; returns how many rows it used.
fn permission(state: &State, asked: &Permission, area: Rect, row: u16, pen: &mut Pen) -> u16 {
    let mut line = pen.line(area, row);
    line.skip(1);
    for (key, does) in permission_keys(state, asked) {
        line.put(&key, Scope::Key).skip(1).put(&does, Scope::Text).skip(APART);
    }
    1
}

/// Keys that answer a permission, and what each does.
fn permission_keys(state: &State, asked: &Permission) -> Vec<(String, String)> {
    let of = |(command, what, presses): (Command, &str, &String)| {
        let keys = state.keymap.keys_for(command, state.conditions_below()).filter(|_| !presses.is_empty())?;
        Some((key::chord(&keys), format!("{what}: presses {presses}")))
    };
    let both = [(Command::Allow, "allows", &asked.allow), (Command::Deny, "denies", &asked.deny)];
    both.into_iter().filter_map(of).collect()
}

/// Columns between two answers in a row.
const APART: usize = 3;

/// Text of an offered answer, and the key that sends it.
type Choice = (String, String);

/// Lays offered answers out in rows of `columns` columns, as many as fit in `rows` rows; returns also how many are left.
/// `by_name` is the key that shows all of them.
fn lay(choices: &[String], by_name: &str, columns: usize, rows: usize) -> (Vec<Vec<Choice>>, usize) {
    let mut lines: Vec<Vec<Choice>> = vec![vec![]];
    let mut used = 0;
    for (n, choice) in choices.iter().enumerate() {
        let key = answer_key(n, by_name);
        let beside = text::width(&key) + 1;
        let wide = beside + text::width(choice) + APART;
        // Where more follow on the last row, there must be room to say so.
        let last = |lines: usize| lines == rows && n + 1 < choices.len();
        let reserve = |lines: usize| if last(lines) { text::width(&more(choices.len() - n - 1, by_name)) } else { 0 };
        let limit = if last(lines.len()) { columns } else { columns + APART };
        if used > 0 && used + wide + reserve(lines.len()) > limit {
            if lines.len() == rows {
                return (lines, choices.len() - n);
            }
            lines.push(vec![]);
            used = 0;
        }
        let room =
            columns.saturating_sub(used + beside + if last(lines.len()) { APART + reserve(lines.len()) } else { 0 });
        lines.last_mut().into_iter().for_each(|line| line.push((key.clone(), text::fit(choice, room))));
        used += wide;
    }
    (lines, 0)
}

/// The key that sends this answer, counted from 0; of those that have none, what is typed to find them.
fn answer_key(n: usize, by_name: &str) -> String {
    match n {
        0..=8 => (n + 1).to_string(),
        9 => "0".into(),
        _ => format!("{by_name}{}", n + 1),
    }
}

fn more(left: usize, by_name: &str) -> String {
    format!("… {left} more: {by_name}")
}

fn facts(state: &State, key: &SessionKey, session: &Session) -> Vec<(&'static str, String)> {
    let now = state.now;
    let join = |parts: &[&str]| parts.iter().filter(|p| !p.is_empty()).copied().collect::<Vec<_>>().join(" · ");
    let host = if state.fleet.several() { state.fleet.host_name(&key.host) } else { "" };
    let created = format!("created {}", text::ago(now - session.created_at));
    let by = if session.owner.is_empty() { created } else { format!("{created} by {}", session.owner) };
    let build = if session.build.is_empty() { String::new() } else { format!("build {}", session.build) };
    let pushes =
        if session.branch_prefix.is_empty() { String::new() } else { format!("pushes to {}*", session.branch_prefix) };
    let repository = if session.repository.is_empty() { String::new() } else { join(&[&session.repository, &pushes]) };
    let cpus = text::count(session.vcpus as usize, "vcpu");
    let generation =
        if session.generation > 1 { format!("start number {}", session.generation) } else { String::new() };
    let source = if session.source.is_empty() { String::new() } else { format!("by {}", session.source) };
    let last = session.last.as_ref().map(|last| format!("{} {}", last_done(last, now), last.text)).unwrap_or_default();
    let mut facts = vec![
        ("session", join(&[&session.slug, &by])),
        ("last done by", last),
        ("turn since", text::ago(now - session.since())),
        ("lifecycle", join(&[&session.lifecycle, session.doing(), &source, &generation])),
    ];
    let part = |Part { id, state, text }: &Part| {
        let said = if text.is_empty() { String::new() } else { format!(": {text}") };
        ("part", format!("{id}: {state}{said}"))
    };
    facts.extend(session.parts.iter().map(part));
    facts.extend([
        ("notice", session.notice.clone()),
        ("environment", join(&[&session.environment, host, &build])),
        ("repository", repository),
        ("its clone", session.repository_state.clone()),
        ("agent", session.command.join(" ")),
        ("vm", join(&[&cpus, &memory(session)])),
        ("guest", join(&[&left("memory", session.guest_memory), &left("disk", session.guest_disk)])),
        ("disk", disk(session)),
        ("checkpoints", checkpoints(session, now)),
        ("models", models(session)),
        ("start", phases(session)),
        ("task", session.task.clone()),
        ("id", session.id.clone()),
    ]);
    facts
}

/// Words for who did the last thing to a session, when, and the word for what it was.
fn last_done(Event { at, who, what, .. }: &Event, now: Millis) -> String {
    format!("{who}, {}: {what}", text::ago(now - at))
}

fn memory(session: &Session) -> String {
    match (session.memory_bytes, session.used_bytes) {
        (0, _) => String::new(),
        (all, 0) if session.suspended_bytes > 0 => {
            format!("{} on disk of {}", text::bytes(session.suspended_bytes), text::bytes(all))
        }
        (all, 0) => text::bytes(all),
        // QEMU's own included, so that it may be more than the guest ever has.
        (all, used) => format!("{} (takes {})", text::bytes(all), text::bytes(used)),
    }
}

/// Words for what the guest has left of its memory or its disk; empty: not known.
fn left(what: &str, (free, total): (u64, u64)) -> String {
    if total == 0 { String::new() } else { format!("{what} {} free of {}", text::bytes(free), text::bytes(total)) }
}

fn disk(session: &Session) -> String {
    if session.host_disk_bytes == 0 {
        String::new()
    } else {
        format!("{} of the host's", text::bytes(session.host_disk_bytes))
    }
}

/// Words for what the session can go back to, the newest first.
fn checkpoints(session: &Session, now: Millis) -> String {
    let words =
        |known: &Checkpoint| format!("{} {} ({})", known.number, text::ago(now - known.at), text::bytes(known.bytes));
    session.checkpoints.iter().rev().map(words).collect::<Vec<_>>().join(", ")
}

/// Words for what models took, and for what they may cost.
fn models(session: &Session) -> String {
    let budget = session.budget_micros.map(|micros| format!("budget {}", text::dollars(micros))).unwrap_or_default();
    [budget, session.usage.words()].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" · ")
}

fn start_total(session: &Session) -> String {
    let total: u64 = session.phases.iter().map(|(_, micros)| micros).sum();
    if total == 0 { String::new() } else { format!("started in {}", text::duration(total)) }
}

fn phases(session: &Session) -> String {
    let parts: Vec<_> =
        session.phases.iter().map(|(name, micros)| format!("{name} {}", text::duration(*micros))).collect();
    if parts.is_empty() { String::new() } else { format!("{}: {}", start_total(session), parts.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_laid_in_rows_and_what_is_left_out_is_told() {
        let all: Vec<_> = (1..=12).map(|n| format!("answer {n}")).collect();
        let (rows, left) = lay(&all, "a", 40, 8);
        let shown: Vec<_> = rows.iter().flatten().map(|(key, choice)| format!("{key}={choice}")).collect();
        assert_eq!((shown.len(), left), (12, 0));
        assert_eq!(
            [&*shown[0], &*shown[8], &*shown[9], &*shown[10]],
            ["1=answer 1", "9=answer 9", "0=answer 10", "a11=answer 11"]
        );
        let (rows, left) = lay(&all, "a", 60, 1);
        assert_eq!((rows.len(), rows[0].len() + left), (1, 12));
        let wide: usize = rows[0].iter().map(|(_, choice)| 2 + choice.len() + APART).sum();
        assert!(left > 0 && wide + more(left, "a").chars().count() <= 60, "{rows:?}");
        let (rows, left) = lay(&["x".repeat(100)], "a", 20, 1);
        assert_eq!((rows[0][0].1.chars().count(), left), (18, 0), "cut with a mark");
        assert!(rows[0][0].1.ends_with('…'));
    }
}
