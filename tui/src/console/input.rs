//! Events of the real terminal as the core knows them.

use crossterm::event::{
    Event as Raw, KeyCode, KeyEvent, KeyEventKind, KeyModifiers, MouseButton, MouseEvent, MouseEventKind,
};
use tui_core::{
    action::{Event, Mouse, MouseKind},
    key::{Code, Key},
};

/// Converts an event of the terminal; `None`: the console does not care about it.
pub(super) fn event(raw: Raw) -> Option<Event> {
    match raw {
        Raw::Key(key) => self::key(key).map(Event::Key),
        Raw::Paste(text) => Some(Event::Paste(text)),
        Raw::Mouse(mouse) => self::mouse(mouse).map(Event::Mouse),
        Raw::Resize(columns, rows) => Some(Event::Resize(columns, rows)),
        Raw::FocusGained => Some(Event::Focus(true)),
        Raw::FocusLost => Some(Event::Focus(false)),
    }
}

fn key(raw: KeyEvent) -> Option<Key> {
    if raw.kind == KeyEventKind::Release {
        return None;
    }
    let code = match raw.code {
        KeyCode::Char(c) => Code::Char(c),
        KeyCode::Enter => Code::Enter,
        KeyCode::Esc => Code::Esc,
        KeyCode::Tab | KeyCode::BackTab => Code::Tab,
        KeyCode::Backspace => Code::Backspace,
        KeyCode::Delete => Code::Delete,
        KeyCode::Insert => Code::Insert,
        KeyCode::Up => Code::Up,
        KeyCode::Down => Code::Down,
        KeyCode::Left => Code::Left,
        KeyCode::Right => Code::Right,
        KeyCode::Home => Code::Home,
        KeyCode::End => Code::End,
        KeyCode::PageUp => Code::PageUp,
        KeyCode::PageDown => Code::PageDown,
        KeyCode::F(number) => Code::F(number),
        KeyCode::Null => return Some(Key::ctrl(' ')),
        _ => return None,
    };
    let held = |modifier| raw.modifiers.contains(modifier);
    let shift = held(KeyModifiers::SHIFT) || raw.code == KeyCode::BackTab;
    Some(Key { code, ctrl: held(KeyModifiers::CONTROL), alt: held(KeyModifiers::ALT), shift }.normal())
}

fn mouse(raw: MouseEvent) -> Option<Mouse> {
    let button = |button| match button {
        MouseButton::Left => 0,
        MouseButton::Middle => 1,
        MouseButton::Right => 2,
    };
    let kind = match raw.kind {
        MouseEventKind::Down(b) => MouseKind::Down(button(b)),
        MouseEventKind::Up(b) => MouseKind::Up(button(b)),
        MouseEventKind::Drag(b) => MouseKind::Drag(button(b)),
        MouseEventKind::Moved => MouseKind::Moved,
        MouseEventKind::ScrollUp => MouseKind::WheelUp,
        MouseEventKind::ScrollDown => MouseKind::WheelDown,
        MouseEventKind::ScrollLeft | MouseEventKind::ScrollRight => return None,
    };
    let held = |modifier| raw.modifiers.contains(modifier);
    Some(Mouse {
        kind,
        column: raw.column,
        row: raw.row,
        ctrl: held(KeyModifiers::CONTROL),
        alt: held(KeyModifiers::ALT),
        shift: held(KeyModifiers::SHIFT),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_under_the_names_of_keymaps() {
        let key = |code, modifiers| key(KeyEvent::new(code, modifiers)).unwrap().to_string();
        assert_eq!(key(KeyCode::Char('5'), KeyModifiers::CONTROL), "ctrl-]");
        assert_eq!(key(KeyCode::BackTab, KeyModifiers::SHIFT), "shift-tab");
        assert_eq!(key(KeyCode::Char('G'), KeyModifiers::SHIFT), "G");
        assert_eq!(key(KeyCode::Null, KeyModifiers::NONE), "ctrl-space");
        assert_eq!(key(KeyCode::Enter, KeyModifiers::ALT), "alt-enter");
    }
}
