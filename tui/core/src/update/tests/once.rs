//! Keys that are pressed twice before the host has answered: it is asked once.

use super::*;

/// Presses the keys twice, then has the first call refused, and presses them once more: gives the calls of each time.
fn twice(state: &mut State, keys: &str) -> [usize; 3] {
    let first = press(state, keys);
    let second = calls(&press(state, keys)).len();
    report(state, Report::Answer(ticket(&first), Err("no".into())));
    [calls(&first).len(), second, calls(&press(state, keys)).len()]
}

#[test]
fn a_host_is_asked_once_and_again_after_its_answer() {
    for keys in ["1", "z", "f"] {
        let mut state = fleet(SIZE);
        assert_eq!(twice(&mut state, keys), [1, 0, 1], "{keys}");
    }
    let mut state = fleet(SIZE);
    press(&mut state, "j");
    assert_eq!(twice(&mut state, "r y"), [1, 0, 1]);
    // Each moves to where its keys mean something.
    for (to, keys) in [("g", "x n o enter"), ("j", "r"), ("j j", "M y")] {
        let mut state = samples::review(SIZE);
        press(&mut state, to);
        assert_eq!(twice(&mut state, keys), [1, 0, 1], "{keys}");
    }
}

#[test]
fn the_second_time_is_told() {
    let mut state = fleet(SIZE);
    press(&mut state, "z z");
    assert_eq!(last_notice(&state), "Already asked to suspend pick a database");
    // Another key that would answer the same question, and a message on top of it.
    assert!(calls(&press(&mut state, "1 2")).len() == 1);
    assert_eq!(last_notice(&state), "Already asked to send to pick a database: Postgres");
    press(&mut state, "m");
    type_text(&mut state, "neither");
    assert!(press(&mut state, "enter").is_empty());
    assert!(matches!(&state.dialog, Some(Dialog::Message(m)) if m.field.text() == "neither" && m.sending.is_none()));
}

#[test]
fn only_the_same_of_the_same_is_held_back() {
    let mut state = fleet(SIZE);
    assert_eq!(calls(&press(&mut state, "z f 1")).len(), 3);
    press(&mut state, "j j j j");
    assert_eq!(calls(&press(&mut state, "z f")).len(), 2, "of another session");
}

#[test]
fn a_question_is_answered_once_also_where_news_of_it_are_late() {
    let mut state = fleet(SIZE);
    let effects = press(&mut state, "1");
    report(&mut state, Report::Answer(ticket(&effects), Ok(Answer::Done)));
    assert!(press(&mut state, "1").is_empty(), "the list still has the old state");
    // The agent's next question came before the host's answer.
    let mut state = fleet(SIZE);
    let effects = press(&mut state, "1");
    let mut next = samples::sessions().remove(0);
    next.updated_at += 1;
    report(&mut state, Report::Host(samples::host(0), HostReport::Session(Box::new(next))));
    report(&mut state, Report::Answer(ticket(&effects), Ok(Answer::Done)));
    assert_eq!(calls(&press(&mut state, "1")).len(), 1);
}
