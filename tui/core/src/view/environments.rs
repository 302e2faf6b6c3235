//! The environments: state, build, and how a build goes.

use ratatui::layout::Rect;

use super::{
    pen::{Line, Pen},
    words,
};
use crate::{
    Command, State,
    fleet::{Environment, EnvironmentKey},
    key,
    layout::Layout,
    list::Row,
    state::Building,
    text,
    theme::Scope,
};

pub(super) fn draw(state: &State, area: Rect, pen: &mut Pen) {
    let rows = state.environments.shown(area.height.into());
    if rows.is_empty() {
        let text = match (state.filter().field.is_empty(), state.fleet.hosts.iter().any(|h| h.is_up())) {
            (false, _) => ["Nothing matches", ""],
            (true, true) => ["No environments yet", "`pilothouse env build FILE` registers and builds one"],
            (true, false) => ["No host is up", ""],
        };
        return pen.centered(area, &[(text[0], Scope::Strong), (text[1], Scope::Dim)]);
    }
    for (n, row) in (0..).zip(rows) {
        let Row::Item(key) = row else { continue };
        let selected = state.environments.selected() == Some(key);
        environment_row(state, key, (area, n), selected, pen);
        if selected {
            pen.style(Rect { y: area.y + n, height: 1, ..area }, Scope::Selection);
        }
    }
}

fn environment_row(state: &State, key: &EnvironmentKey, (area, row): (Rect, u16), selected: bool, pen: &mut Pen) {
    let Some(environment) = state.fleet.environment(key) else { return };
    let building = state.builds.get(key).filter(|b| b.failed.is_none());
    let word = if building.is_some() { "building" } else { &environment.state };
    let (glyph, scope) = words::look(word);
    let mut line = pen.line(area, row);
    line.put(if selected { "▌" } else { " " }, Scope::SelectionMark);
    line.put(glyph, scope).skip(1).column(word, 10, scope).found(&environment.name, 16, Scope::Strong, true);
    if state.fleet.several() && area.width >= 70 {
        line.column(state.fleet.host_name(&key.host), 10, Scope::Dim);
    }
    if let Some(building) = building {
        progress(building, &mut line);
        return;
    }
    let age = environment.build.as_ref().map_or_else(String::new, |b| text::age(state.now - b.created_at));
    let size = environment
        .build
        .as_ref()
        .map_or_else(String::new, |b| text::bytes(b.size_bytes + b.base_bytes + b.template_bytes));
    line.column_right(&size, 8, Scope::Text).column_right(&age, 5, Scope::Dim).skip(1);
    line.column(&text::count(environment.sessions as usize, "session"), 12, Scope::Dim);
    line.column(&warm(environment), 9, Scope::Dim);
    let rest = match (environment.build.is_some(), environment.error.is_empty()) {
        (_, false) => (text::one_line(&environment.error, 400), Scope::StateBad),
        (false, true) => ("press b to build it".to_owned(), Scope::Dim),
        (true, true) => (short(&environment.repository).to_owned(), Scope::Dim),
    };
    let room = line.room().saturating_sub(1);
    line.put(&text::fit(&rest.0, room), rest.1);
}

/// Numbers of VMs that stand ready and of those that are wanted; empty where there never are any.
fn warm(environment: &Environment) -> String {
    let Environment { warm_ready: ready, warm_wanted: wanted, warm_max, .. } = environment;
    if *warm_max == 0 { String::new() } else { format!("{ready}/{wanted} warm") }
}

/// Name of a repository, from its URL.
fn short(url: &str) -> &str {
    let name = url.rsplit('/').next().unwrap_or(url);
    name.strip_suffix(".git").unwrap_or(name)
}

fn progress(building: &Building, line: &mut super::pen::Line) {
    let (step, count) = building.step;
    if count > 0 {
        Pen::gauge(line, 12, u64::from(step.saturating_sub(1)), u64::from(count));
        line.skip(1).put(&format!("{step}/{count} "), Scope::StateBusy);
    }
    let room = line.room().saturating_sub(1);
    line.put(&text::fit(&building.name, room), Scope::Text);
}

/// Draws what is known of the selected environment: in short, with the end of what its build said, or all of it from the row
/// that was scrolled to.
pub(super) fn draw_details(state: &State, layout: &Layout, area: Rect, pen: &mut Pen) {
    let selected = state.environments.selected();
    let found = selected.and_then(|key| Some((key, state.fleet.environment(key)?)));
    let in_short = state.details == 0 && super::details_last(state) > 0;
    if !layout.is_wide() {
        pen.rule(
            layout.rule,
            0,
            found.map_or("", |(_, e)| &e.name),
            &if in_short { all_of_it(state) } else { String::new() },
        );
    }
    let Some((key, environment)) = found else { return };
    if in_short {
        summary(state, (key, environment), layout, area, pen);
    } else {
        whole(state, (key, environment), layout, area, pen);
    }
}

/// Number of the last row that the details can be scrolled to; 0 where all of them have room. The first one is the summary.
pub(super) fn details_last(state: &State, layout: &Layout, area: Rect, nowhere: &mut Pen) -> usize {
    let selected = state.environments.selected();
    let Some(found) = selected.and_then(|key| Some((key, state.fleet.environment(key)?))) else { return 0 };
    let (rows, height) = (whole(state, found, layout, area, nowhere), usize::from(area.height));
    if rows <= height { 0 } else { rows - height + 1 }
}

/// The key that shows what the summary leaves out.
fn all_of_it(state: &State) -> String {
    let keys = state.keymap.keys_for(Command::DetailsDown, state.conditions_below()).map(|keys| key::chord(&keys));
    keys.map_or_else(String::new, |keys| format!("{keys} all of it"))
}

fn summary(
    state: &State,
    (key, environment): (&EnvironmentKey, &Environment),
    layout: &Layout,
    area: Rect,
    pen: &mut Pen,
) {
    let mut row = 0;
    if layout.is_wide() {
        heading(environment, &mut pen.line(area, 0));
        pen.line(area, 1).put_right(&all_of_it(state), Scope::Hint);
        row = 2;
    }
    for (label, value) in facts(state, environment).iter().filter(|(_, value)| !value.is_empty()) {
        let mut line = pen.line(area, row);
        line.skip(1).column(label, 11, Scope::Dim);
        let room = line.room().saturating_sub(1);
        line.put(&text::fit(value, room), Scope::Text);
        row += 1;
    }
    let area = Rect { y: area.y + row.min(area.height), height: area.height.saturating_sub(row), ..area };
    let Some((title, said)) = said(state, key, environment, area) else { return };
    pen.rule(area, 0, &title, "");
    // What went wrong stands at the end of a long output.
    let room = usize::from(area.height.saturating_sub(1));
    for (n, (line, scope)) in (1..).zip(said.iter().skip(said.len().saturating_sub(room))) {
        pen.line(area, n).skip(1).put(line, *scope);
    }
}

/// Draws everything that is known of an environment; returns how many rows there are.
fn whole(
    state: &State,
    (key, environment): (&EnvironmentKey, &Environment),
    layout: &Layout,
    area: Rect,
    pen: &mut Pen,
) -> usize {
    let mut lines = pen.lines(area, state.details.saturating_sub(1));
    if layout.is_wide() {
        lines.next().iter_mut().for_each(|line| heading(environment, line));
        lines.put("", Scope::Text);
    }
    for (label, value) in facts(state, environment).iter().filter(|(_, value)| !value.is_empty()) {
        lines.fact(label, value, 11);
    }
    if let Some((title, said)) = said(state, key, environment, area) {
        lines.heading(&title);
        said.iter().for_each(|(line, scope)| lines.put(line, *scope));
    }
    lines.end()
}

fn heading(environment: &Environment, line: &mut Line) {
    let (glyph, scope) = words::look(&environment.state);
    let state_word = format!("{glyph} {} ", environment.state);
    line.skip(1).put(&environment.name, Scope::Strong).put_right(&state_word, scope);
}

/// What its build says, or said last where that failed: a title, and lines that are not wider than the area.
fn said(
    state: &State,
    key: &EnvironmentKey,
    environment: &Environment,
    area: Rect,
) -> Option<(String, Vec<(String, Scope)>)> {
    let wrapped = |text: &str, scope: Scope| {
        text::wrap(text, usize::from(area.width).saturating_sub(2)).into_iter().map(move |line| (line, scope))
    };
    let Some(building) = state.builds.get(key) else {
        let error = &environment.error;
        return (!error.is_empty())
            .then(|| ("the last build failed".into(), wrapped(error, Scope::StateBad).collect()));
    };
    let (step, count) = building.step;
    let title = match (&building.failed, count) {
        (Some(_), _) => "the build failed".to_owned(),
        (None, 0) => "building".to_owned(),
        (None, _) => format!("building: step {step} of {count}: {}", building.name),
    };
    let output = building.output.iter().flat_map(|line| wrapped(line, Scope::Dim));
    Some((title, output.chain(building.failed.iter().flat_map(|why| wrapped(why, Scope::StateBad))).collect()))
}

fn facts(state: &State, e: &Environment) -> Vec<(&'static str, String)> {
    let size = format!(
        "{} · {} memory · {} disk",
        text::count(e.vcpus as usize, "vcpu"),
        text::bytes(e.memory_bytes),
        text::bytes(e.disk_bytes)
    );
    let build = e.build.as_ref().map_or_else(
        || "none yet: press b".to_owned(),
        |b| {
            let commit =
                if b.commit.is_empty() { String::new() } else { format!(" · commit {}", text::fit(&b.commit, 13)) };
            let own = text::bytes(b.size_bytes + b.template_bytes);
            let disk = format!("{own} and {} shared", text::bytes(b.base_bytes));
            format!("{} · {}{commit} · {disk}", b.id, text::ago(state.now - b.created_at))
        },
    );
    let older = e.older.iter().map(|b| {
        let (age, users) = (text::ago(state.now - b.created_at), text::count(b.sessions as usize, "session"));
        let build = format!("{} · {age} · {users} · {}", b.id, text::bytes(b.size_bytes + b.template_bytes));
        ("older build", build)
    });
    let warm = match e.warm_max {
        0 => String::new(),
        max => format!("{} ready of {} wanted, at most {max}", e.warm_ready, e.warm_wanted),
    };
    let mut facts = vec![("build", build)];
    let image = e.build.as_ref().map(|build| &build.image).filter(|image| !image.is_empty());
    facts.extend(image.map(|image| ("image", image.clone())));
    let ports = e.build.iter().flat_map(|build| &build.forward_ports).map(u32::to_string).collect::<Vec<_>>();
    if !ports.is_empty() {
        facts.push(("ports", format!("{}: `pilothouse forward` reaches them", ports.join(", "))));
    }
    if let Some(count) = e.build.as_ref().map(|build| build.not_honoured).filter(|count| *count > 0) {
        let things = text::count(count, "thing");
        facts.push(("left out", format!("{things} of devcontainer.json; `pilothouse env show {}` lists them", e.name)));
    }
    facts.extend(older);
    facts.extend([
        ("sessions", e.sessions.to_string()),
        ("warm", warm),
        ("size", size),
        ("repository", e.repository.clone()),
        ("agent", e.agent.join(" ")),
        ("recipe", e.source.clone()),
    ]);
    facts
}
