//! The hosts: how the console stands with each, and what it has left.

use ratatui::layout::Rect;

use super::{pen::Pen, words};
use crate::{
    State,
    fleet::{Connection, Environment, Host, HostInfo},
    layout::Layout,
    list::Row,
    text,
    theme::Scope,
};

pub(super) fn draw(state: &State, area: Rect, pen: &mut Pen) {
    let rows = state.hosts.shown(area.height.into());
    if rows.is_empty() {
        return pen.centered(area, &[("Nothing matches", Scope::Dim)]);
    }
    for (n, row) in (0..).zip(rows) {
        let Row::Item(id) = row else { continue };
        let Some(host) = state.fleet.host(id) else { continue };
        let selected = state.hosts.selected() == Some(id);
        host_row(host, area, n, selected, pen);
        if selected {
            pen.style(Rect { y: area.y + n, height: 1, ..area }, Scope::Selection);
        }
    }
}

fn host_row(host: &Host, area: Rect, row: u16, selected: bool, pen: &mut Pen) {
    let (glyph, word, scope) = words::connection(&host.connection);
    let mut line = pen.line(area, row);
    line.put(if selected { "▌" } else { " " }, Scope::SelectionMark);
    line.put(glyph, scope).skip(1).column(word, 10, scope);
    let (name, gauge) = if area.width >= 78 { (20, 10) } else { (12, 6) };
    line.found(host.title(), name, Scope::Strong, true);
    let Some(info) = &host.info else {
        let why = error(host).unwrap_or_default();
        let room = line.room();
        line.put(&text::fit(why, room), Scope::Dim);
        return;
    };
    line.column_right(&format!("{}/{}", info.running, info.sessions), 7, Scope::Text);
    line.put("run  ", Scope::Dim);
    usage(
        &mut line,
        ("mem", gauge),
        info.memory_total - info.memory_available.min(info.memory_total),
        info.memory_total,
    );
    if line.room() > gauge + 5 {
        usage(&mut line, ("disk", gauge), info.disk_total - info.disk_available.min(info.disk_total), info.disk_total);
    }
    if !info.drained_by.is_empty() {
        line.put(&format!("drained by {}  ", info.drained_by), Scope::StateAsks);
    }
    if !info.problems.is_empty() {
        line.put(&format!("! {}", text::count(info.problems.len(), "problem")), Scope::StateAsks);
    }
}

fn usage(line: &mut super::pen::Line, (label, columns): (&str, usize), used: u64, total: u64) {
    line.put(label, Scope::Dim).skip(1);
    Pen::gauge(line, columns, used, total);
    line.skip(2);
}

fn error(host: &Host) -> Option<&str> {
    match &host.connection {
        Connection::Connecting(error) => error.as_deref(),
        Connection::Lost(_, error) => Some(error),
        Connection::Up(_) => None,
    }
}

/// Draws the details of the selected host; returns how many rows there are.
pub(super) fn draw_details(state: &State, layout: &Layout, area: Rect, pen: &mut Pen) -> usize {
    let host = state.hosts.selected().and_then(|id| state.fleet.host(id));
    let title = host.map_or("", Host::title);
    if !layout.is_wide() {
        pen.rule(layout.rule, 0, title, "");
    }
    let Some(host) = host else { return 0 };
    let mut lines = pen.lines(area, state.details);
    if layout.is_wide() {
        let (glyph, word, scope) = words::connection(&host.connection);
        if let Some(mut line) = lines.next() {
            line.skip(1).put(title, Scope::Strong).put_right(&format!("{glyph} {word} "), scope);
        }
        lines.put("", Scope::Text);
    }
    let columns = lines.columns();
    for line in error(host).into_iter().flat_map(|why| text::wrap(why, columns)) {
        lines.put(&line, Scope::StateBad);
    }
    for (label, value) in facts(state, host) {
        lines.fact(label, &value, 12);
    }
    for problem in host.info.iter().flat_map(|info| &info.problems) {
        for (n, line) in text::wrap(problem, columns.saturating_sub(2)).iter().enumerate() {
            let mark = if n == 0 { "! " } else { "  " };
            lines.put(&format!("{mark}{line}"), Scope::StateAsks);
        }
    }
    lines.end()
}

fn facts(state: &State, host: &Host) -> Vec<(&'static str, String)> {
    let mut facts = Vec::new();
    match host.connection {
        Connection::Up(since) => facts.push(("connected", format!("for {}", text::age(state.now - since)))),
        Connection::Lost(since, _) => facts.push(("lost", format!("{}; trying again", text::ago(state.now - since)))),
        Connection::Connecting(_) => {}
    }
    facts.push(("address", host.name.clone()));
    if let Some(info) = &host.info {
        facts.extend(info_facts(state, info));
        let warm = warm(host);
        facts.extend((warm.1 > 0).then(|| ("warm VMs", format!("{} ready of {} wanted", warm.0, warm.1))));
    }
    facts
}

/// Numbers of warm VMs of all environments of a host: those that are ready, and those that are wanted or there though not
/// wanted.
fn warm(host: &Host) -> (u32, u32) {
    let add = |(ready, wanted), e: &Environment| (ready + e.warm_ready, wanted + e.warm_wanted.max(e.warm_ready));
    host.environments.values().fold((0, 0), add)
}

fn info_facts(state: &State, info: &HostInfo) -> Vec<(&'static str, String)> {
    let left = |available, total| format!("{} free of {}", text::bytes(available), text::bytes(total));
    let known = |text: &str| if text.is_empty() { "not there yet".to_owned() } else { text.to_owned() };
    let accelerator = match &*info.accelerator_reason {
        "" => info.accelerator.clone(),
        why => format!("{} ({why})", info.accelerator),
    };
    vec![
        ("sessions", format!("{} running of {}", info.running, info.sessions)),
        ("memory", left(info.memory_available, info.memory_total)),
        ("disk", format!("{} in {}", left(info.disk_available, info.disk_total), info.data_directory)),
        ("cpus", info.cpus.to_string()),
        ("vmm", format!("{} {}", info.vmm, info.qemu_version)),
        ("accelerator", accelerator),
        ("guest kernel", known(&info.kernel_version)),
        ("hostd", format!("{}, up {}", info.version, text::age(state.now - info.started_at))),
    ]
}
