//! Destinations that a session was refused, and that it may reach from now on.

use super::*;
use crate::fleet::Refusal;

fn refusal(destination: &str, why: &str) -> Refusal {
    Refusal { destination: destination.into(), why: why.into(), count: 2, last_at: NOW }
}

/// A console whose one session was refused these, and that was asked which of them it may reach.
fn asked(refused: Vec<Refusal>) -> State {
    let mut state = console(&["local"], SIZE);
    let fix = session("fix", Turn::Agent, "running", "working", "working");
    report(&mut state, Report::Host(samples::host(0), snapshot("local", vec![fix])));
    let effects = press(&mut state, "A");
    assert!(matches!(calls(&effects)[..], [Call::ReadRefused(_)]), "hosts tell it with nothing else");
    report(&mut state, Report::Answer(ticket(&effects), Ok(Answer::Refused(refused))));
    state
}

fn allow(state: &State, destination: &str, private: bool, recipe: bool) -> Call {
    let id = state.selected_key().unwrap().id.to_string();
    Call::Allow { id, destination: destination.into(), private, recipe }
}

#[test]
fn what_was_refused_last_is_allowed_by_two_keys() {
    let refused = || vec![refusal("api.example:443", "not in egress"), refusal("db.lan:5432", "a private address")];
    let mut state = asked(refused());
    let effects = press(&mut state, "enter");
    assert_eq!(calls(&effects), [&allow(&state, "api.example:443", false, false)]);
    report(&mut state, Report::Answer(ticket(&effects), Ok(Answer::Done)));
    assert_eq!(last_notice(&state), "Allowed api.example:443 to fix");
    assert_eq!(
        state.refused.as_ref().unwrap().1,
        [refusal("db.lan:5432", "a private address")],
        "it is refused no more"
    );
    for (keys, destination, private, recipe) in [
        ("down enter", "api.example:443", false, true),
        ("d b enter", "db.lan:5432", true, false),
        ("4 enter", "db.lan:5432", true, true),
    ] {
        let mut state = asked(refused());
        let effects = press(&mut state, keys);
        assert_eq!(calls(&effects), [&allow(&state, destination, private, recipe)], "{keys}");
        assert!(state.dialog.is_none());
    }
    let mut state = asked(refused());
    assert!(calls(&press(&mut state, "esc")).is_empty() && state.dialog.is_none());
    let mut state = asked(refused());
    assert!(calls(&press(&mut state, "x x x enter")).is_empty() && state.dialog.is_some(), "nothing matches");
}

#[test]
fn a_private_address_is_shown_to_whoever_allows_it() {
    for why in ["a private address, 10.0.0.5", "not in egress, a private address"] {
        let mut state = asked(vec![refusal("db.lan:5432", why)]);
        let Some(Dialog::Reach(reach)) = &state.dialog else { panic!("{why}") };
        assert_eq!(reach.list.lines[0], format!("db.lan:5432 ({why}): this session"));
        let effects = press(&mut state, "enter");
        assert_eq!(calls(&effects), [&allow(&state, "db.lan:5432", true, false)]);
    }
    let state = asked(vec![refusal("meta:80", "of this host or its cloud: 169.254.169.254")]);
    assert!(state.dialog.is_none());
}

#[test]
fn an_answer_that_comes_late_opens_nothing_over_another_session() {
    let mut state = console(&["local"], SIZE);
    let [fix, other] = ["fix", "other"].map(|slug| session(slug, Turn::Agent, "running", "working", "working"));
    report(&mut state, Report::Host(samples::host(0), snapshot("local", vec![fix, other])));
    let effects = press(&mut state, "A");
    let before = state.selected_key().cloned();
    press(&mut state, "j");
    assert_ne!(state.selected_key().cloned(), before);
    let read = Ok(Answer::Refused(vec![refusal("api.example:443", "not in egress")]));
    report(&mut state, Report::Answer(ticket(&effects), read));
    assert!(state.dialog.is_none(), "enter would be meant for the session that is looked at now");
}

#[test]
fn nothing_is_asked_where_nothing_can_be_allowed() {
    for refused in [vec![], vec![refusal("127.0.0.1:80", "the VM itself")]] {
        let state = asked(refused);
        assert!(state.dialog.is_none());
        assert_eq!(last_notice(&state), "fix was refused nothing that could be allowed");
    }
}

#[test]
fn an_answer_that_comes_late_opens_nothing_over_something_else() {
    let mut state = console(&["local"], SIZE);
    let fix = session("fix", Turn::Agent, "running", "working", "working");
    report(&mut state, Report::Host(samples::host(0), snapshot("local", vec![fix])));
    let effects = press(&mut state, "A");
    press(&mut state, "?");
    let read = Ok(Answer::Refused(vec![refusal("api.example:443", "not in egress")]));
    report(&mut state, Report::Answer(ticket(&effects), read));
    assert!(matches!(state.dialog, Some(Dialog::Help(..))));
    press(&mut state, "esc");
    let effects = press(&mut state, "A");
    report(&mut state, Report::Answer(ticket(&effects), Err("it hangs".into())));
    assert_eq!(last_notice(&state), "Could not read refused destinations: it hangs");
    // Details are looked at: that asks nothing.
    state.read_refused();
    assert!(state.reaches.is_none());
}
