//! All keys, made from the commands and the keymap.

use ratatui::{Frame, layout::Rect};

use super::pen::Pen;
use crate::{
    Command, Keymap, State, Theme,
    command::{Danger, Group},
    key,
    keymap::{Binding, Meaning},
    text,
    theme::Scope,
    when::When,
};

const ANSWERS: &str = "Send the answer of this number, where the agent offers some";

/// A line of the help.
enum Entry {
    Heading(&'static str),
    Command(Command, String),
    Gap,
}

/// Number of the last line that the help can begin with.
pub(crate) fn last(keymap: &Keymap, size: (u16, u16)) -> usize {
    entries(keymap, Group::Session).len().saturating_sub(inside(size).height.into())
}

pub(super) fn place(size: (u16, u16)) -> Rect {
    let (width, height) = (size.0.min(96), size.1);
    let margin = if height > 30 { 2 } else { 0 };
    Rect { x: (size.0 - width) / 2, y: margin, width, height: height.saturating_sub(2 * margin) }
}

pub(super) fn inside(size: (u16, u16)) -> Rect {
    let place = place(size);
    Rect { height: place.height.saturating_sub(2), ..place }
}

pub(super) fn draw(state: &State, (top, group): (usize, Group), theme: &Theme, frame: &mut Frame) {
    let mut pen = Pen::new(frame.buffer_mut(), theme);
    let area = pen.boxed(place(state.size), "Keys", Scope::DialogBorder, Scope::DialogTitle);
    let entries = entries(&state.keymap, group);
    let height: usize = area.height.into();
    let top = top.min(entries.len().saturating_sub(height));
    let keys_width = usize::from(area.width) / 4;
    let name_width = if area.width >= 88 { 15 } else { 0 };
    for (n, entry) in (0..).zip(entries.iter().skip(top).take(height)) {
        let mut line = pen.line(area, n);
        match entry {
            Entry::Gap => {}
            Entry::Heading(title) => {
                line.put(title, Scope::DialogTitle);
            }
            Entry::Command(command, keys) => {
                line.column(keys, keys_width, Scope::Key).column(command.name(), name_width, Scope::Dim);
                let room = line.room();
                let doc = if command.answer().is_some() { ANSWERS } else { command.doc() };
                line.put(&text::fit(doc, room), Scope::Dialog);
                if command.danger() == Danger::Asks {
                    line.put(" (asks)", Scope::StateAsks);
                }
            }
        }
    }
    if entries.len() > height {
        let place = place(state.size);
        let part = format!(" {} of {} · esc closes ", (top + height).min(entries.len()), entries.len());
        let bottom =
            Rect { y: place.bottom().saturating_sub(1), height: 1, width: place.width.saturating_sub(2), ..place };
        pen.line(bottom, 0).put_right(&part, Scope::Dim);
    }
}

/// Lines of the help; the chapter `first` comes first.
fn entries(keymap: &Keymap, first: Group) -> Vec<Entry> {
    let bindings = keymap.bindings();
    let mut entries = Vec::new();
    for group in std::iter::once(first).chain(Group::ALL.into_iter().filter(|group| *group != first)) {
        if !entries.is_empty() {
            entries.push(Entry::Gap);
        }
        entries.push(Entry::Heading(group.title()));
        // The nine answers are one line.
        for command in Command::ALL.iter().filter(|c| c.group() == group && c.answer().is_none_or(|n| n == 0)) {
            let keys = keys_of(keymap, &bindings, *command);
            let keys = match (&keys[..], command.answer()) {
                ([first, .., last], Some(_)) => format!("{first} to {last}"),
                _ => keys.into_iter().take(3).collect::<Vec<_>>().join(", "),
            };
            entries.push(Entry::Command(*command, keys));
        }
    }
    entries
}

/// Keys of a command where it is bound first, without those that a later layer takes away.
fn keys_of(keymap: &Keymap, bindings: &[Binding], command: Command) -> Vec<String> {
    let same = |c: Command| c == command || (c.answer().is_some() && command.answer().is_some());
    let mut place: Option<&When> = None;
    let mut keys: Vec<String> = Vec::new();
    for binding in bindings.iter().filter(|b| same(b.command)) {
        let here = **place.get_or_insert(binding.when) == *binding.when;
        let holds = keymap.meaning(&binding.keys, binding.when.example()) == Meaning::Run(binding.command);
        let written = key::chord(&binding.keys);
        if here && holds && !keys.contains(&written) {
            keys.push(written);
        }
    }
    keys.sort_by_key(String::len);
    keys
}
