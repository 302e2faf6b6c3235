//! Permissions that are answered from the list by one key.

use super::*;
use crate::fleet::Permission;

fn tells(state: &mut State, permission: Option<Permission>) {
    let asks = session("fix", Turn::You, "running", "needs-input", "needs a permission: Bash(ls)");
    let asks = crate::fleet::Session { permission, ..asks };
    report(state, Report::Host(samples::host(0), HostReport::Session(Box::new(asks))));
}

fn asks(id: &str) -> Option<Permission> {
    Some(Permission { id: id.into(), text: "Bash(ls)".into(), allow: "y".into(), deny: "Down Enter".into() })
}

/// A console with one session that needs a permission.
fn needs() -> State {
    let mut state = console(&["local"], SIZE);
    report(&mut state, Report::Host(samples::host(0), snapshot("local", vec![])));
    tells(&mut state, asks("first"));
    state
}

fn answer(state: &State, permission: &str, allow: bool) -> Call {
    Call::Answer { id: state.selected_key().unwrap().id.to_string(), permission: permission.into(), allow }
}

#[test]
fn one_key_allows_and_one_denies_what_is_shown() {
    for (key, allow, notice) in [("a", true, "Allowed fix: Bash(ls)"), ("x", false, "Denied fix: Bash(ls)")] {
        let mut state = needs();
        let effects = press(&mut state, key);
        assert_eq!(calls(&effects), [&answer(&state, "first", allow)]);
        assert!(calls(&press(&mut state, "a x")).is_empty(), "a key that bounces does nothing twice");
        report(&mut state, Report::Answer(ticket(&effects), Ok(Answer::Done)));
        assert_eq!((last_notice(&state), state.selected().unwrap().1.permission.is_none()), (notice, true));
        assert!(calls(&press(&mut state, "a x")).is_empty(), "it is answered, though the host's news are on their way");
        tells(&mut state, asks("second"));
        assert_eq!(calls(&press(&mut state, key)), [&answer(&state, "second", allow)]);
    }
}

#[test]
fn a_refusal_of_the_host_leaves_the_next_question_open() {
    let mut state = needs();
    let effects = press(&mut state, "a");
    tells(&mut state, asks("second"));
    report(&mut state, Report::Answer(ticket(&effects), Err("it asks for another one: Bash(rm)".into())));
    assert_eq!(last_notice(&state), "Could not allow fix: Bash(ls): it asks for another one: Bash(rm)");
    assert_eq!(state.selected().unwrap().1.permission, asks("second"));
}

#[test]
fn a_program_that_takes_no_keys_is_answered_on_its_terminal() {
    let mut state = needs();
    let bare = Permission { allow: String::new(), deny: String::new(), ..asks("first").unwrap() };
    tells(&mut state, Some(Permission { deny: "Esc".into(), ..bare.clone() }));
    assert!(calls(&press(&mut state, "a")).is_empty());
    assert_eq!(last_notice(&state), "fix takes no key for that: attach to it and answer there");
    tells(&mut state, Some(bare));
    assert!(calls(&press(&mut state, "x")).is_empty());
    tells(&mut state, None);
    state.run(crate::Command::Allow, &[]);
    assert_eq!(last_notice(&state), "fix needs no permission");
}
