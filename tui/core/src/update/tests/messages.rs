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

fn offers_sixteen(state: &mut State) {
    let (key, session) = state.selected().map(|(key, session)| (key.clone(), session.clone())).unwrap();
    let choices = (1..=16).map(|n| format!("answer {n}, {}", ["yes", "no"][n % 2])).collect();
    let session = crate::fleet::Session { choices, ..session };
    report(state, Report::Host(key.host.clone(), HostReport::Session(Box::new(session))));
}

#[test]
fn the_tenth_answer_has_a_key() {
    let mut state = fleet(SIZE);
    offers_sixteen(&mut state);
    let effects = press(&mut state, "0");
    assert!(matches!(calls(&effects)[..], [Call::Send(_, text)] if text == "answer 10, yes"), "{effects:?}");
}

#[test]
fn every_answer_is_found_by_its_number_or_its_words() {
    for (typed, found) in
        [("1", "answer 1, no"), ("11", "answer 11, no"), ("16", "answer 16, yes"), ("yes 4", "answer 4, yes")]
    {
        let mut state = fleet(SIZE);
        offers_sixteen(&mut state);
        press(&mut state, "a");
        type_text(&mut state, typed);
        let effects = press(&mut state, "enter");
        assert!(matches!(calls(&effects)[..], [Call::Send(_, text)] if text == found), "{typed}: {effects:?}");
        assert!(state.dialog.is_none());
    }
    let mut state = fleet(SIZE);
    offers_sixteen(&mut state);
    let effects = press(&mut state, "a down down up enter");
    assert!(matches!(calls(&effects)[..], [Call::Send(_, text)] if text == "answer 2, yes"), "{effects:?}");
}

#[test]
fn an_answer_goes_to_no_other_question_than_that_which_was_read() {
    let mut state = fleet(SIZE);
    offers_sixteen(&mut state);
    press(&mut state, "a");
    let (key, session) = state.selected().map(|(key, session)| (key.clone(), session.clone())).unwrap();
    let session = crate::fleet::Session { choices: vec!["delete all".into()], ..session };
    report(&mut state, Report::Host(key.host.clone(), HostReport::Session(Box::new(session))));
    assert!(calls(&press(&mut state, "enter")).is_empty());
    assert_eq!(last_notice(&state), "Not sent: pick a database does not ask this any more");
    press(&mut state, "a z z enter");
    assert!(
        matches!(&state.dialog, Some(Dialog::Answers(answers)) if answers.list.matches.is_empty()),
        "nothing matches"
    );
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
