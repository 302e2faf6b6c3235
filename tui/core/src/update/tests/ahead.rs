//! What is typed between attaching and writing.

use super::*;
use crate::attach::Ahead;

fn now(state: &State) -> Ticket {
    state.attach.as_ref().unwrap().viewer.ticket
}

#[test]
fn what_is_typed_before_it_is_there_is_sent_once_it_is() {
    let mut state = fleet(SIZE);
    press(&mut state, "enter");
    let ticket = now(&state);
    assert_eq!(press(&mut state, "l s enter"), []);
    event(&mut state, Event::Paste("a\nb".into()));
    // What keys send depends on what the program wants: known with its screen.
    press(&mut state, "up");
    let contents = b"\x1b[?1h".to_vec();
    assert_eq!(terminal(&mut state, ticket, TerminalReport::Screen { columns: 80, rows: 24, contents }), []);
    assert_eq!(press(&mut state, "x"), [], "nobody is known to write");
    assert_eq!(role(&mut state, true), [Effect::Input(ticket, b"ls\ra\rb\x1bOAx".to_vec())]);
    assert_eq!(press(&mut state, "y"), [Effect::Input(ticket, b"y".to_vec())]);
}

#[test]
fn who_turns_out_to_watch_is_told_that_nothing_was_sent() {
    let mut state = fleet(SIZE);
    press(&mut state, "enter x");
    show_screen(&mut state);
    assert_eq!(role(&mut state, false), []);
    assert_eq!(last_notice(&state), "You only watch; ctrl-] w makes you the writer");
    assert_eq!(role(&mut state, true), [], "not later either");
    // One that never writes keeps nothing.
    let mut state = fleet(SIZE);
    press(&mut state, "o x");
    show_screen(&mut state);
    assert_eq!(role(&mut state, false), []);
}

#[test]
fn what_was_typed_to_one_that_does_not_come_is_given_up() {
    for news in [TerminalReport::Lost("gone".into()), TerminalReport::Refused("it is stopped".into())] {
        let mut state = fleet(SIZE);
        press(&mut state, "enter x");
        let ticket = now(&state);
        terminal(&mut state, ticket, news);
        assert_eq!(last_notice(&state), "What you typed did not reach it");
        show_screen(&mut state);
        let effects = role(&mut state, true);
        assert!(!effects.iter().any(|effect| matches!(effect, Effect::Input(..))), "{effects:?}");
    }
}

#[test]
fn so_much_is_kept_and_no_more() {
    let mut state = fleet(SIZE);
    press(&mut state, "enter a");
    event(&mut state, Event::Paste("b".repeat(Ahead::MAX)));
    assert!(last_notice(&state).contains("some of what you typed was dropped"));
    press(&mut state, "c");
    show_screen(&mut state);
    assert_eq!(role(&mut state, true), [Effect::Input(now(&state), b"ac".to_vec())]);
}
