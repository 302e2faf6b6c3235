//! The attached terminal: keys, writing, history, the mouse.

use super::*;

#[test]
fn what_is_typed_goes_to_the_program_and_chords_do_not() {
    let mut state = attach(SIZE);
    let ticket = state.attach.as_ref().unwrap().viewer.ticket;
    assert_eq!(press(&mut state, "q"), [Effect::Input(ticket, b"q".to_vec())]);
    assert!(!state.changed(), "a key that only goes to the program draws nothing");
    assert_eq!(press(&mut state, "ctrl-]"), []);
    assert_eq!(press(&mut state, "ctrl-]"), [Effect::Input(ticket, vec![0x1d])]);
    press(&mut state, "ctrl-] x");
    assert!(last_notice(&state).starts_with("ctrl-] x means nothing here"));
    let pasted = event(&mut state, Event::Paste("a\nb".into()));
    assert_eq!(pasted, [Effect::Input(ticket, b"a\rb".to_vec())]);
    let effects = press(&mut state, "ctrl-] d");
    assert_eq!(effects[0], Effect::Close(Slot::Attach));
    assert!(state.attach.is_none() && state.preview.as_ref().unwrap().terminal.is_some());
}

#[test]
fn an_observer_writes_nothing_until_it_takes_the_writing() {
    let mut state = attach(SIZE);
    role(&mut state, false);
    assert_eq!(press(&mut state, "x"), []);
    assert_eq!(last_notice(&state), "You only watch; ctrl-] w makes you the writer");
    let ticket = state.attach.as_ref().unwrap().viewer.ticket;
    assert_eq!(press(&mut state, "ctrl-] w"), [Effect::Take(ticket)]);
    role(&mut state, true);
    assert_eq!(press(&mut state, "x").len(), 1);
}

#[test]
fn one_that_only_observes_opens_another_stream_to_write() {
    let mut state = fleet(SIZE);
    assert!(matches!(press(&mut state, "o")[1], Effect::OpenTerminal { observe: true, .. }));
    show_screen(&mut state);
    role(&mut state, false);
    assert!(matches!(press(&mut state, "ctrl-] w")[0], Effect::OpenTerminal { observe: false, .. }));
    show_screen(&mut state);
    let effects = role(&mut state, false);
    assert!(matches!(effects[..], [Effect::Take(_)]));
}

#[test]
fn the_writers_window_is_told_and_told_again_after_a_break() {
    let mut state = attach(SIZE);
    let ticket = state.attach.as_ref().unwrap().viewer.ticket;
    let resized = |state: &mut State, c, r| update(state, Action::Resized(c, r), NOW);
    assert_eq!(resized(&mut state, 100, 30), [Effect::Resize(ticket, (100, 29))]);
    role(&mut state, false);
    assert_eq!(resized(&mut state, 90, 30), []);
    assert_eq!(role(&mut state, true), [Effect::Resize(ticket, (90, 29))]);
    terminal(&mut state, ticket, TerminalReport::Lost("gone".into()));
    assert_eq!(press(&mut state, "x"), [], "nothing goes into a broken stream");
    terminal(&mut state, ticket, samples::screen());
    assert_eq!(role(&mut state, true), [Effect::Resize(ticket, (90, 29))]);
}

#[test]
fn history_is_looked_at_by_keys_and_left() {
    let mut state = attach((80, 24));
    press(&mut state, "pageup");
    assert_eq!(last_notice(&state), "There is no history yet");
    let ticket = state.attach.as_ref().unwrap().viewer.ticket;
    let lines = (0..100).map(|n| format!("{n}\r\n")).collect::<String>();
    terminal(&mut state, ticket, TerminalReport::Output(lines.into_bytes()));
    let scrolled = |state: &State| {
        let attach = state.attach.as_ref().unwrap();
        (attach.scrolling, attach.viewer.terminal.as_ref().unwrap().scrolled().0)
    };
    press(&mut state, "pageup");
    assert_eq!(scrolled(&state), (true, 22));
    press(&mut state, "j j k");
    assert_eq!(scrolled(&state), (true, 21));
    press(&mut state, "pagedown");
    assert_eq!(scrolled(&state), (false, 0), "past the end is the live screen");
    press(&mut state, "ctrl-] [ g q");
    assert_eq!(scrolled(&state), (false, 0));
    let alternate = TerminalReport::Output(b"\x1b[?1049h".to_vec());
    terminal(&mut state, ticket, alternate);
    assert_eq!(press(&mut state, "pageup"), [Effect::Input(ticket, b"\x1b[5~".to_vec())]);
}

#[test]
fn an_ended_terminal_is_left_by_a_plain_key() {
    let mut state = attach(SIZE);
    let ticket = state.attach.as_ref().unwrap().viewer.ticket;
    terminal(&mut state, ticket, TerminalReport::Ended("the agent has ended".into()));
    press(&mut state, "x");
    assert!(state.attach.is_some());
    press(&mut state, "q");
    assert!(state.attach.is_none());
}

#[test]
fn the_mouse_goes_to_a_program_that_asked() {
    let mut state = attach(SIZE);
    let click = Mouse { kind: MouseKind::Down(0), column: 3, row: 4, ctrl: false, alt: false, shift: false };
    assert!(!state.wants_mouse());
    assert_eq!(event(&mut state, Event::Mouse(click)), []);
    let ticket = state.attach.as_ref().unwrap().viewer.ticket;
    terminal(&mut state, ticket, TerminalReport::Output(b"\x1b[?1000h\x1b[?1006h".to_vec()));
    assert!(state.wants_mouse());
    assert_eq!(event(&mut state, Event::Mouse(click)), [Effect::Input(ticket, b"\x1b[<0;4;5M".to_vec())]);
}

fn writes(state: &mut State, text: &str) -> Vec<Effect> {
    let ticket = state.attach.as_ref().unwrap().viewer.ticket;
    terminal(state, ticket, TerminalReport::Output(text.as_bytes().to_vec()))
}

#[test]
fn bell_and_title_pass_and_a_copy_is_the_users_to_decide() {
    use crate::copy::Policy;
    const COPY: &str = "\x1b]52;c;aGVsbG8=\x07";
    let copied = |effects: &[Effect]| {
        let copies =
            effects.iter().filter_map(|e| if let Effect::Copy(copy) = e { Some(copy.text.clone()) } else { None });
        copies.collect::<Vec<_>>()
    };
    let mut state = attach(SIZE);
    let effects = writes(&mut state, "\x07\x1b]2;build\x07");
    assert!(effects.contains(&Effect::Bell) && effects.contains(&Effect::Title("build".into())), "{effects:?}");
    assert!(copied(&writes(&mut state, COPY)).is_empty());
    assert_eq!(last_notice(&state), "The program offers text to copy (5 bytes); ctrl-] c copies it");
    press(&mut state, "ctrl-]");
    assert_eq!(copied(&press(&mut state, "c")), [b"hello"]);
    press(&mut state, "ctrl-]");
    assert!(copied(&press(&mut state, "c")).is_empty(), "once");
    state.copy = Policy::Allow;
    assert_eq!(copied(&writes(&mut state, COPY)), [b"hello"]);
    state.copy = Policy::Deny;
    let before = last_notice(&state).to_owned();
    assert!(copied(&writes(&mut state, COPY)).is_empty() && last_notice(&state) == before);
    press(&mut state, "ctrl-]");
    assert!(press(&mut state, "d").contains(&Effect::Title(String::new())), "the window's own title comes back");
}

#[test]
fn shift_enter_and_shift_esc_are_enter_and_esc_where_nothing_is_typed() {
    let mut state = fleet(SIZE);
    let id = samples::sessions()[4].id.as_str().into();
    state.sessions.select(crate::fleet::SessionKey { host: samples::host(0), id });
    press(&mut state, "shift-enter");
    assert!(state.attach.is_some());
    let mut state = fleet(SIZE);
    press(&mut state, "?");
    assert!(state.dialog.is_some());
    press(&mut state, "shift-esc");
    assert!(state.dialog.is_none());
}

#[test]
fn a_program_hears_of_the_focus_where_it_asked() {
    let mut state = attach(SIZE);
    let ticket = state.attach.as_ref().unwrap().viewer.ticket;
    assert_eq!(event(&mut state, Event::Focus(false)), [], "nobody asked");
    terminal(&mut state, ticket, TerminalReport::Output(b"\x1b[?1004h".to_vec()));
    let told = |effects: Vec<Effect>| match &effects[..] {
        [Effect::Input(of, bytes)] if *of == ticket => bytes.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(told(event(&mut state, Event::Focus(true))), b"\x1b[I");
    assert_eq!(told(event(&mut state, Event::Focus(false))), b"\x1b[O");
    role(&mut state, false);
    assert_eq!(event(&mut state, Event::Focus(true)), [], "who watches says nothing");
    assert!(state.focused);
}

#[test]
fn a_screen_is_drawn_with_what_is_struck() {
    use ratatui::{Terminal, backend::TestBackend, style::Modifier};
    let mut state = attach(SIZE);
    let ticket = state.attach.as_ref().unwrap().viewer.ticket;
    let contents = b"\x1b[9mx\x1b[29;5my\x1b[m".to_vec();
    terminal(&mut state, ticket, TerminalReport::Screen { columns: 20, rows: 5, contents });
    let mut screen = Terminal::new(TestBackend::new(SIZE.0, SIZE.1)).unwrap();
    screen.draw(|frame| crate::view(&state, &crate::Theme::plain(), frame)).unwrap();
    let modifier = |column| screen.backend().buffer()[(column, 0)].modifier;
    assert!(modifier(0).contains(Modifier::CROSSED_OUT) && modifier(1).contains(Modifier::SLOW_BLINK));
    assert!(!modifier(2).intersects(Modifier::CROSSED_OUT | Modifier::SLOW_BLINK));
}
