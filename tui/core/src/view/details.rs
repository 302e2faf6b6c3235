//! What is known of a session besides its row.

use ratatui::layout::Rect;

use super::{pen::Pen, words};
use crate::{
    State,
    fleet::{Session, SessionKey},
    text,
    theme::Scope,
};

/// One row, and one more for answers. Gives the rows used.
pub(super) fn narrow(state: &State, key: &SessionKey, session: &Session, area: Rect, pen: &mut Pen) -> u16 {
    let (glyph, scope) = words::look(session.word());
    let mut line = pen.line(area, 0);
    line.skip(1).put(glyph, scope).put(" ", scope).put(session.word(), scope);
    let mut parts = vec![session.slug.clone(), session.environment.clone()];
    if state.fleet.several() {
        parts.push(state.fleet.host_name(key.host).to_owned());
    }
    parts.extend([memory(session), start_total(session)]);
    for part in parts.iter().filter(|part| !part.is_empty()) {
        line.put(" · ", Scope::Rule).put(part, Scope::Dim);
    }
    let mut used = 1;
    if !session.choices.is_empty() {
        choices(session, area, used, pen);
        used += 1;
    } else if !session.cause.is_empty() && session.crashed() {
        pen.line(area, used)
            .skip(1)
            .put(&text::fit(&session.cause, usize::from(area.width).saturating_sub(2)), Scope::StateBad);
        used += 1;
    }
    used
}

/// A block of rows. Gives how many.
pub(super) fn wide(state: &State, key: &SessionKey, session: &Session, area: Rect, pen: &mut Pen) -> u16 {
    let (glyph, scope) = words::look(session.word());
    let mut line = pen.line(area, 0);
    line.skip(1).put(&text::fit(session.name(), usize::from(area.width).saturating_sub(16)), Scope::Strong);
    line.put_right(&format!("{glyph} {} ", session.word()), scope);
    let mut used = 1;
    let why = if session.crashed() { &session.cause } else { words::why(session) };
    for row in text::wrap(why, usize::from(area.width).saturating_sub(2)).iter().filter(|r| !r.is_empty()).take(3) {
        pen.line(area, used).skip(1).put(row, if session.crashed() { Scope::StateBad } else { Scope::Text });
        used += 1;
    }
    if !session.choices.is_empty() {
        choices(session, area, used, pen);
        used += 1;
    }
    // The facts stand apart where there is room.
    used += u16::from(area.height > 30);
    for (label, value) in facts(state, key, session).iter().filter(|(_, value)| !value.is_empty()) {
        used += fact(label, value, area, used, pen);
    }
    used
}

/// A fact in one row, or two where there is room for the terminal still. Gives the rows used.
fn fact(label: &str, value: &str, area: Rect, row: u16, pen: &mut Pen) -> u16 {
    if row + 8 > area.height {
        return 0;
    }
    let room = usize::from(area.width).saturating_sub(14);
    let lines = match area.height {
        0..=30 => vec![text::fit(value, room)],
        _ => text::wrap(value, room),
    };
    for (n, line) in (0..).zip(lines.iter().take(2)) {
        let label = if n == 0 { label } else { "" };
        let more = if n == 1 && lines.len() > 2 { "…" } else { "" };
        pen.line(area, row + n).skip(1).column(label, 11, Scope::Dim).put(line, Scope::Text).put(more, Scope::Dim);
    }
    u16::try_from(lines.len().min(2)).unwrap_or(2)
}

fn choices(session: &Session, area: Rect, row: u16, pen: &mut Pen) {
    let mut line = pen.line(area, row);
    line.skip(1);
    for (n, choice) in (1..).zip(session.choices.iter().take(9)) {
        line.put(&format!("{n}"), Scope::Key).skip(1).put(choice, Scope::Text).skip(3);
    }
}

fn facts(state: &State, key: &SessionKey, session: &Session) -> Vec<(&'static str, String)> {
    let now = state.now;
    let join = |parts: &[&str]| parts.iter().filter(|p| !p.is_empty()).copied().collect::<Vec<_>>().join(" · ");
    let host = if state.fleet.several() { state.fleet.host_name(key.host) } else { "" };
    let created = format!("created {} ago", text::age(now - session.created_at));
    let by = if session.owner.is_empty() { created } else { format!("{created} by {}", session.owner) };
    let build = if session.build.is_empty() { String::new() } else { format!("build {}", session.build) };
    let pushes =
        if session.branch_prefix.is_empty() { String::new() } else { format!("pushes to {}*", session.branch_prefix) };
    let repository = if session.repository.is_empty() { String::new() } else { join(&[&session.repository, &pushes]) };
    let cpus = text::count(session.vcpus as usize, "vcpu");
    let generation =
        if session.generation > 1 { format!("start number {}", session.generation) } else { String::new() };
    vec![
        ("session", join(&[&session.slug, &by])),
        ("lifecycle", join(&[&session.lifecycle, &session.activity, &generation])),
        ("environment", join(&[&session.environment, host, &build])),
        ("repository", repository),
        ("agent", session.command.join(" ")),
        ("vm", join(&[&cpus, &memory(session)])),
        ("start", phases(session)),
        ("task", text::one_line(&session.task, 400)),
        ("id", session.id.clone()),
    ]
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

fn start_total(session: &Session) -> String {
    let total: u64 = session.phases.iter().map(|(_, micros)| micros).sum();
    if total == 0 { String::new() } else { format!("started in {}", text::duration(total)) }
}

fn phases(session: &Session) -> String {
    let parts: Vec<_> =
        session.phases.iter().map(|(name, micros)| format!("{name} {}", text::duration(*micros))).collect();
    if parts.is_empty() { String::new() } else { format!("{}: {}", start_total(session), parts.join(", ")) }
}
