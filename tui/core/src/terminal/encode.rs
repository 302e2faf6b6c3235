//! Keys, pastes and the mouse as the bytes that programs in a terminal expect, as xterm sends them.

use pilothouse_terminal::keys::Pressed;
use vt100::{MouseProtocolEncoding, MouseProtocolMode, Screen};

use super::Terminal;
use crate::{
    action::{Mouse, MouseKind},
    key::{Code, Key},
};

/// What a key sends, as its program asked for it: kitty's protocol, xterm's modifyOtherKeys, or neither.
#[must_use]
pub fn encode_key(key: Key, terminal: &Terminal) -> Vec<u8> {
    let screen = terminal.screen();
    let modifiers = 1 + u8::from(key.shift) + 2 * u8::from(key.alt) + 4 * u8::from(key.ctrl);
    if let Some(bytes) = told_apart(key, modifiers, terminal.keyboard()) {
        return bytes;
    }
    let Key { code, ctrl, alt, shift } = key;
    Pressed { code, ctrl, alt, shift }.bytes(screen.application_cursor())
}

/// Keys that are the same byte as another one, for a program that asked to have them told apart.
fn told_apart(key: Key, modifiers: u8, (flags, other_keys): (u8, u16)) -> Option<Vec<u8>> {
    let number = match key.code {
        Code::Esc => 27,
        Code::Enter => 13,
        Code::Tab => 9,
        Code::Backspace => 127,
        Code::Char(c) => u32::from(c),
        _ => return None,
    };
    let character = matches!(key.code, Code::Char(_));
    // Shift is part of a character.
    let held = if character { key.ctrl || key.alt } else { modifiers > 1 };
    // At 1 those that are the same byte as another key; at 8 all of them.
    let kitty = if flags & 8 != 0 { true } else { flags & 1 != 0 && (held || key.code == Code::Esc) };
    if kitty {
        let modifiers = if modifiers > 1 { format!(";{modifiers}") } else { String::new() };
        return Some(format!("\x1b[{number}{modifiers}u").into_bytes());
    }
    // At level 1 those that have no meaning of their own.
    let plain_tab = key.code == Code::Tab && key.shift;
    let other = other_keys >= 2 || (other_keys == 1 && !character && key.code != Code::Esc);
    (other && held && !plain_tab).then(|| format!("\x1b[27;{modifiers};{number}~").into_bytes())
}

/// What a paste sends: bracketed where the program asked for it, and never able to end its bracket itself.
#[must_use]
pub fn encode_paste(text: &str, screen: &Screen) -> Vec<u8> {
    let text = text.replace("\r\n", "\r").replace('\n', "\r");
    if !screen.bracketed_paste() {
        return text.into_bytes();
    }
    let inside: String = text.chars().filter(|c| !matches!(c, '\u{1b}' | '\u{80}'..='\u{9f}')).collect();
    format!("\x1b[200~{inside}\x1b[201~").into_bytes()
}

/// What the mouse sends, at this column and row of the terminal (from 0); `None` where the program did not ask, or asked for
/// pixels.
#[must_use]
pub fn encode_mouse(mouse: Mouse, column: u16, row: u16, terminal: &Terminal) -> Option<Vec<u8>> {
    let screen = terminal.screen();
    let (button, release) = match mouse.kind {
        MouseKind::Down(button) => (button, false),
        MouseKind::Up(button) => (button, true),
        MouseKind::Drag(button) => (button + 32, false),
        MouseKind::Moved => (3 + 32, false),
        MouseKind::WheelUp => (64, false),
        MouseKind::WheelDown => (65, false),
    };
    let wanted = match screen.mouse_protocol_mode() {
        MouseProtocolMode::None => false,
        MouseProtocolMode::Press => matches!(mouse.kind, MouseKind::Down(_)),
        MouseProtocolMode::PressRelease => !matches!(mouse.kind, MouseKind::Drag(_) | MouseKind::Moved),
        MouseProtocolMode::ButtonMotion => mouse.kind != MouseKind::Moved,
        MouseProtocolMode::AnyMotion => true,
    };
    if !wanted || !terminal.wants_mouse() {
        return None;
    }
    let held = 4 * u8::from(mouse.shift) + 8 * u8::from(mouse.alt) + 16 * u8::from(mouse.ctrl);
    let code = button + held;
    if screen.mouse_protocol_encoding() == MouseProtocolEncoding::Sgr {
        let end = if release { 'm' } else { 'M' };
        return Some(format!("\x1b[<{code};{};{}{end}", u32::from(column) + 1, u32::from(row) + 1).into_bytes());
    }
    let code = if release { 3 + held } else { code };
    let place = |at: u16| u8::try_from(at + 33).ok();
    Some(vec![0x1b, b'[', b'M', code + 32, place(column)?, place(row)?])
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn terminal(modes: &str) -> Terminal {
        let mut terminal = Terminal::new(80, 24, 0);
        terminal.output(modes.as_bytes());
        terminal
    }

    #[rstest]
    #[case("a", "a")]
    #[case("é", "é")]
    #[case("ctrl-c", "\x03")]
    #[case("ctrl-]", "\x1d")]
    #[case("ctrl-space", "\0")]
    #[case("alt-x", "\x1bx")]
    #[case("ctrl-alt-a", "\x1b\x01")]
    #[case("enter", "\r")]
    #[case("alt-enter", "\x1b\r")]
    #[case("backspace", "\x7f")]
    #[case("shift-tab", "\x1b[Z")]
    #[case("up", "\x1b[A")]
    #[case("ctrl-right", "\x1b[1;5C")]
    #[case("delete", "\x1b[3~")]
    #[case("shift-pageup", "\x1b[5;2~")]
    #[case("f1", "\x1bOP")]
    #[case("f5", "\x1b[15~")]
    #[case("f12", "\x1b[24~")]
    fn keys_are_sent_as_xterm_does(#[case] key: &str, #[case] bytes: &str) {
        assert_eq!(encode_key(key.parse().unwrap(), &terminal("")), bytes.as_bytes());
    }

    #[rstest]
    #[case::submits_nothing("", "shift-enter", "\x1b\r")]
    #[case::kitty("\x1b[>1u", "shift-enter", "\x1b[13;2u")]
    #[case::kitty_plain("\x1b[>1u", "enter", "\r")]
    #[case::kitty_escape("\x1b[>1u", "esc", "\x1b[27u")]
    #[case::kitty_control("\x1b[>1u", "ctrl-c", "\x1b[99;5u")]
    #[case::kitty_text("\x1b[>1u", "G", "G")]
    #[case::kitty_arrow("\x1b[>1u", "ctrl-right", "\x1b[1;5C")]
    #[case::kitty_all("\x1b[>9u", "a", "\x1b[97u")]
    #[case::kitty_popped("\x1b[>1u\x1b[<u", "ctrl-c", "\x03")]
    #[case::other_keys("\x1b[>4;2m", "shift-enter", "\x1b[27;2;13~")]
    #[case::other_keys_control("\x1b[>4;2m", "ctrl-i", "\x1b[27;5;105~")]
    #[case::other_keys_some("\x1b[>4;1m", "ctrl-i", "\t")]
    #[case::other_keys_enter("\x1b[>4;1m", "shift-enter", "\x1b[27;2;13~")]
    #[case::back_tab("\x1b[>4;2m", "shift-tab", "\x1b[Z")]
    fn keys_are_told_apart_where_asked_for(#[case] modes: &str, #[case] key: &str, #[case] bytes: &str) {
        assert_eq!(encode_key(key.parse().unwrap(), &terminal(modes)), bytes.as_bytes());
    }

    #[test]
    fn arrows_follow_the_application_cursor_mode() {
        assert_eq!(encode_key(Key::plain(Code::Up), &terminal("\x1b[?1h")), b"\x1bOA");
    }

    #[test]
    fn a_paste_cannot_end_its_own_bracket() {
        assert_eq!(encode_paste("a\nb", terminal("").screen()), b"a\rb");
        let bracketed = encode_paste("a\x1b[201~\nrm", terminal("\x1b[?2004h").screen());
        assert_eq!(bracketed, b"\x1b[200~a[201~\rrm\x1b[201~");
    }

    #[test]
    fn the_mouse_is_sent_only_where_asked_for() {
        let click = Mouse { kind: MouseKind::Down(0), column: 0, row: 0, ctrl: false, alt: false, shift: false };
        assert_eq!(encode_mouse(click, 4, 2, &terminal("")), None);
        assert_eq!(encode_mouse(click, 4, 2, &terminal("\x1b[?1000h\x1b[?1006h")).unwrap(), b"\x1b[<0;5;3M");
        assert_eq!(encode_mouse(click, 4, 2, &terminal("\x1b[?1000h")).unwrap(), b"\x1b[M %#");
        // Cells that a program takes for pixels would be wrong places.
        assert_eq!(encode_mouse(click, 4, 2, &terminal("\x1b[?1000h\x1b[?1006h\x1b[?1016h")), None);
    }
}
