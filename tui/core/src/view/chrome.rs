//! What frames the lists: header, lines, hints.

use ratatui::layout::Rect;

use super::{pen::Pen, words};
use crate::{Command, State, fleet::Turn, key, layout::Layout, pull::Pull, state::View, theme::Scope};

/// Name of the console, lists with their counts, hosts.
pub(super) fn header(state: &State, layout: &Layout, pen: &mut Pen) {
    let area = layout.header;
    let narrow = area.width < 90;
    let mut line = pen.line(area, 0);
    // Narrow windows have better use for the room.
    if !narrow {
        line.put(" pilothouse ", Scope::Brand);
    }
    for view in View::ALL {
        let count = count(state, view);
        let active = view == state.view;
        let scope = if active { Scope::TabActive } else { Scope::Tab };
        line.put(if narrow { " " } else { "  " }, Scope::Tab);
        line.put(&format!(" {} ", view.title()), scope);
        if view == View::Crashes && count > 0 {
            line.put(&format!("{count}"), Scope::StateBad);
        } else {
            line.put(&format!("{count}"), Scope::Dim);
        }
    }
    hosts(state, area, pen);
    pen.rule(Rect { y: area.bottom(), height: 1, ..area }, 0, "", "");
}

fn count(state: &State, view: View) -> usize {
    match view {
        View::Sessions => state.fleet.hosts.iter().map(|h| h.sessions.len()).sum(),
        View::Review => state.fleet.hosts.iter().map(|h| h.pulls.len()).sum(),
        View::Hosts => state.fleet.hosts.len(),
        View::Environments => state.fleet.hosts.iter().map(|h| h.environments.len()).sum(),
        View::Crashes => state.fleet.sessions().filter(|(_, s)| s.crashed()).count(),
    }
}

/// The host's name and state; of several, how many are in which state.
fn hosts(state: &State, area: Rect, pen: &mut Pen) {
    let hosts = &state.fleet.hosts;
    let simulated = hosts.iter().any(|h| h.info.as_ref().is_some_and(|i| i.vmm == "simulated"));
    let mut parts: Vec<(String, Scope)> = Vec::new();
    if simulated {
        parts.push(("SIMULATED".into(), Scope::StateAsks));
    }
    if let [host] = &hosts[..] {
        let (glyph, word, scope) = words::connection(&host.connection);
        let name = crate::text::fit(host.title(), 24);
        parts.push((if host.is_up() { format!("{glyph} {name}") } else { format!("{glyph} {name} {word}") }, scope));
    } else {
        let up = hosts.iter().filter(|h| h.is_up()).count();
        parts.push((format!("● {up} up"), Scope::StateGood));
        if up < hosts.len() {
            parts.push((format!("✗ {} away", hosts.len() - up), Scope::StateBad));
        }
    }
    let width: usize = parts.iter().map(|(text, _)| crate::text::width(text) + 2).sum();
    let at = usize::from(area.width).saturating_sub(width);
    // The lists' names go first where there is no room for both.
    let free = (at.saturating_sub(1)..usize::from(area.width)).all(|x| {
        u16::try_from(x)
            .ok()
            .and_then(|x| pen.buffer.cell((area.x + x, area.y)))
            .is_some_and(|cell| cell.symbol() == " ")
    });
    if free {
        let mut line = pen.line(area, 0);
        line.skip(at);
        for (text, scope) in parts {
            line.put(&text, scope).skip(2);
        }
    }
}

/// Draws the line between the list and what stands beside it. What stands below has its own line with a heading.
pub(super) fn separator(layout: &Layout, pen: &mut Pen) {
    if layout.is_wide() {
        for row in 0..layout.rule.height {
            pen.line(layout.rule, row).put("│", Scope::Rule);
        }
        pen.line(Rect { y: layout.rule.y - 1, ..layout.rule }, 0).put("┬", Scope::Rule);
    }
}

/// Hints, or the filter being typed; then where its cursor is.
pub(super) fn footer(state: &State, area: Rect, pen: &mut Pen) -> Option<(u16, u16)> {
    let filter = state.filter();
    if filter.typing {
        let shown = state.rows_wanted();
        let mut line = pen.line(area, 0);
        line.put(" / ", Scope::Key);
        let (rows, (_, column)) = filter.field.rows(usize::from(area.width).saturating_sub(24));
        line.put(&rows.concat(), Scope::Strong);
        let what = if shown == 0 { "nothing matches" } else { "" };
        line.skip(3).put(what, Scope::StateBad);
        let x = area.x + 3 + u16::try_from(column).unwrap_or(0);
        pen.line(area, 0)
            .skip(usize::from(area.width).saturating_sub(26))
            .put_right("enter keep  esc clear ", Scope::Hint);
        return Some((x.min(area.right().saturating_sub(1)), area.y));
    }
    if !state.pending.is_empty() {
        pen.line(area, 0).put(&format!(" {} …", key::chord(&state.pending)), Scope::Key);
        return None;
    }
    let mut hints = list_hints(state);
    if !filter.field.is_empty() {
        hints.insert(0, (Command::FilterClear, "show all"));
    }
    draw_hints(state, area, &hints, pen);
    None
}

fn list_hints(state: &State) -> Vec<(Command, &'static str)> {
    use Command as C;
    let session = state.selected().map(|(_, session)| session);
    let closed = state.pulls.selected().and_then(|key| state.fleet.pull(key)).is_some_and(Pull::is_closed);
    let mut hints: Vec<(C, &str)> = Vec::new();
    let story = (C::Story, if state.story_shown { "terminal" } else { "story" });
    match (state.view, session) {
        (View::Sessions, Some(session)) => {
            // As conditions say: those that no key means are not shown.
            hints.extend([(C::Allow, "allow"), (C::Deny, "deny"), (C::Attach, "attach")]);
            if !session.choices.is_empty() {
                hints.push((if session.choices.len() > 10 { C::Answers } else { C::Answer1 }, "answer"));
            }
            hints.extend([(C::Message, "message"), (C::New, "new"), story, (C::DetailsDown, "details")]);
            if session.can_restart() && &*session.lifecycle != "suspended" {
                hints.push((C::Restart, "restart"));
            }
            hints.extend([(C::Log, "log"), (C::Delete, "delete")]);
            if session.turn != Turn::You && state.fleet.sessions().any(|(_, s)| s.turn == Turn::You) {
                hints.push((C::NextYours, "your turn"));
            }
        }
        (View::Crashes, Some(_)) => {
            hints.extend([
                (C::SerialLog, "serial console"),
                (C::Log, "log"),
                (C::Restart, "restart"),
                (C::Delete, "delete"),
                story,
                (C::DetailsDown, "details"),
            ]);
        }
        (View::Review, _) if state.pulls.items() > 0 => hints.extend([
            (C::Diff, "changes"),
            (C::Approve, "approve"),
            (C::RequestChanges, "request changes"),
            (C::Comment, "comment"),
            (C::Merge, "merge"),
            (C::CheckLog, "check's log"),
            (C::Rerun, "run it again"),
            (C::DetailsDown, "details"),
            (C::Close, if closed { "open again" } else { "close" }),
            (C::Closed, if state.closed_shown { "only open ones" } else { "closed ones" }),
        ]),
        (View::Environments, _) => {
            hints.extend([(C::Build, "build"), (C::New, "new session"), (C::DetailsDown, "details")]);
        }
        (View::Hosts, _) => hints.push((C::DetailsDown, "details")),
        (View::Sessions, None) => hints.push((C::New, "new")),
        (View::Review, _) => hints.push((C::Closed, if state.closed_shown { "only open ones" } else { "closed ones" })),
        (View::Crashes, None) => {}
    }
    hints.extend([
        (C::Filter, "filter"),
        (C::NextView, "next list"),
        (C::Palette, "commands"),
        (C::Help, "help"),
        (C::Quit, "quit"),
    ]);
    hints
}

/// Keys and what they do, as many as fit. Help always does: it tells the others.
pub(super) fn draw_hints(state: &State, area: Rect, hints: &[(Command, &str)], pen: &mut Pen) {
    let now = state.conditions();
    let text = |command: Command| state.keymap.keys_for(command, now).map(|keys| key::chord(&keys));
    let width = |keys: &str, label: &str| crate::text::width(keys) + crate::text::width(label) + 3;
    let help = text(Command::Help).map_or(0, |keys| width(&keys, "help"));
    let mut line = pen.line(area, 0);
    line.skip(1);
    for (command, label) in hints {
        let Some(keys) = text(*command) else { continue };
        let kept = if *command == Command::Help { 0 } else { help };
        if width(&keys, label) + kept > line.room() {
            continue;
        }
        line.put(&keys, Scope::Key).skip(1).put(label, Scope::Hint).skip(2);
    }
}
