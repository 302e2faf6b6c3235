//! Messages to agents.

use super::*;

fn text(state: &State) -> Option<&str> {
    match &state.dialog {
        Some(Dialog::Message(message)) => Some(message.field.text()),
        _ => None,
    }
}

#[test]
fn a_message_has_lines_and_is_still_there_after_esc() {
    let mut state = fleet(SIZE);
    press(&mut state, "m");
    type_text(&mut state, "one");
    press(&mut state, "alt-enter");
    type_text(&mut state, "two");
    press(&mut state, "ctrl-j esc");
    assert!(state.dialog.is_none());
    press(&mut state, "j m");
    assert_eq!(text(&state), Some(""), "it is of the other session");
    press(&mut state, "esc k m");
    assert_eq!(text(&state), Some("one\ntwo\n"));
    let effects = press(&mut state, "enter");
    assert!(matches!(calls(&effects)[..], [Call::Send(_, text)] if text == "one\ntwo\n"), "{effects:?}");
    // What is put away while it is on its way is not there once it has arrived.
    press(&mut state, "esc");
    report(&mut state, Report::Answer(ticket(&effects), Ok(Answer::Done)));
    press(&mut state, "m");
    assert_eq!(text(&state), Some(""));
}

#[test]
fn offered_answers_are_chosen_with_up_and_down() {
    let mut state = fleet(SIZE);
    press(&mut state, "m down");
    assert_eq!(text(&state), Some("Postgres"));
    press(&mut state, "down down down up");
    assert_eq!(text(&state), Some("Let me think about it"));
    type_text(&mut state, "!");
    press(&mut state, "down");
    assert_eq!(text(&state), Some("Let me think about it!"), "what is written is not replaced");
}

#[test]
fn the_tenth_answer_has_a_key() {
    let mut state = fleet(SIZE);
    let (key, session) = state.selected().map(|(key, session)| (key.clone(), session.clone())).unwrap();
    let choices = (1..=12).map(|n| format!("answer {n}")).collect();
    let session = crate::fleet::Session { choices, ..session };
    report(&mut state, Report::Host(key.host, HostReport::Session(Box::new(session))));
    let effects = press(&mut state, "0");
    assert!(matches!(calls(&effects)[..], [Call::Send(_, text)] if text == "answer 10"), "{effects:?}");
}

#[test]
fn keys_go_to_the_agent_in_order_and_esc_is_one_of_them() {
    let mut state = fleet(SIZE);
    press(&mut state, "t");
    let first = press(&mut state, "esc");
    let key = |call: &Call| match call {
        Call::Press(_, keys) => keys.join(" "),
        other => panic!("{other:?}"),
    };
    assert_eq!(calls(&first).into_iter().map(key).collect::<Vec<_>>(), ["esc"]);
    assert!(calls(&press(&mut state, "down ctrl-c")).is_empty(), "after the one that is on its way");
    let rest = report(&mut state, Report::Answer(ticket(&first), Ok(Answer::Done)));
    assert_eq!(calls(&rest).into_iter().map(key).collect::<Vec<_>>(), ["down ctrl-c"]);
    report(&mut state, Report::Answer(ticket(&rest), Err("its agent has ended".into())));
    assert!(matches!(&state.dialog, Some(Dialog::Keys(keys)) if keys.error.is_some()));
    press(&mut state, "ctrl-]");
    assert!(state.dialog.is_none());
}
