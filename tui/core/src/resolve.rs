//! From an event of the terminal to what it means here.

use crate::{
    Keymap, State,
    action::{Action, Event},
    key::{Code, Key},
    keymap::Meaning,
    when::Condition,
};

/// Action that an event of the terminal asks for; `None`: none.
///
/// A key that begins a chord is held in the state until the chord is complete or broken. Where a text field or an attached
/// terminal has the keyboard, keys without a meaning go there.
#[must_use]
pub fn resolve(keymap: &Keymap, state: &State, event: Event) -> Option<Action> {
    match event {
        Event::Key(key) => resolve_key(keymap, state, key.normal()),
        Event::Paste(text) => state.takes_text().then_some(Action::Paste(text)),
        Event::Mouse(mouse) => Some(Action::Mouse(mouse)),
        Event::Resize(columns, rows) => Some(Action::Resized(columns, rows)),
        Event::Focus(has) => Some(Action::Focused(has)),
    }
}

fn resolve_key(keymap: &Keymap, state: &State, key: Key) -> Option<Action> {
    let now = state.conditions();
    let mut keys = state.pending.clone();
    keys.push(key);
    match keymap.meaning(&keys, now) {
        Meaning::Run(command) => Some(Action::Run(command)),
        Meaning::More => Some(Action::Pend(key)),
        Meaning::Nothing if !state.pending.is_empty() => Some(Action::Unbound(keys)),
        Meaning::Nothing if now.has(Condition::Text) || now.has(Condition::Attached) && !now.has(Condition::Scroll) => {
            Some(Action::Type(key))
        }
        // To most terminals these are one key.
        Meaning::Nothing if key.shift && matches!(key.code, Code::Enter | Code::Esc) => {
            resolve_key(keymap, state, Key { shift: false, ..key })
        }
        Meaning::Nothing if key.code == Code::Esc => None,
        Meaning::Nothing => Some(Action::Unbound(keys)),
    }
}
