//! The queue of pull requests: its order, verdicts, merges.

use super::*;

fn selected_pull(state: &State) -> u64 {
    state.pulls.selected().map_or(0, |key| key.number)
}

#[test]
fn the_queue_begins_with_what_wants_a_verdict() {
    let mut state = samples::review(SIZE);
    assert_eq!((state.view, state.pulls.items(), selected_pull(&state)), (View::Review, 4, 13));
    press(&mut state, "j");
    assert_eq!(selected_pull(&state), 12);
    // What is merged leaves, and what stood below it takes its place.
    let mut merged = samples::pulls().remove(0);
    merged.state = "merged".into();
    report(&mut state, Report::Host(samples::host(0), HostReport::Pull(Box::new(merged))));
    assert_eq!((state.pulls.items(), selected_pull(&state)), (3, 9));
    press(&mut state, "/ d a r k enter");
    assert_eq!((state.pulls.items(), selected_pull(&state)), (1, 8));
}

#[test]
fn merging_asks_and_says_what_is_missing() {
    let mut state = samples::review(SIZE);
    assert!(press(&mut state, "M").is_empty() && state.dialog.is_none());
    assert!(last_notice(&state).starts_with("#13 Translate the docs cannot be merged: it is not approved"));
    press(&mut state, "j j");
    assert!(calls(&press(&mut state, "M")).is_empty() && matches!(state.dialog, Some(Dialog::Question(_))));
    let head = samples::pulls()[2].head.clone();
    assert_eq!(calls(&press(&mut state, "y")), [&Call::Merge { id: "widgets#9".into(), head }]);
    press(&mut state, "S");
    press(&mut state, ": m e r g e enter");
    assert_eq!(last_notice(&state), "Select a pull request first (in Review)");
}

#[test]
fn closing_asks_and_what_is_closed_is_opened_again() {
    let mut state = samples::review(SIZE);
    assert_eq!(press(&mut state, "X n"), []);
    let effects = press(&mut state, "X y");
    assert_eq!(calls(&effects), [&Call::Close("widgets#13".into())]);
    let mut closed = samples::pulls().into_iter().find(|pull| pull.number == 13).unwrap();
    (closed.state, closed.closed_why) = ("closed".into(), "by anna".into());
    report(&mut state, Report::Host(samples::host(0), HostReport::Pull(Box::new(closed.clone()))));
    report(&mut state, Report::Answer(ticket(&effects), Ok(Answer::Done)));
    assert_eq!(last_notice(&state), "Closed #13 Translate the docs");
    assert_eq!((state.pulls.items(), selected_pull(&state)), (3, 12));
    // One that was closed before this console came is asked for.
    let effects = press(&mut state, "A");
    assert_eq!(calls(&effects), [&Call::ReadClosed]);
    let earlier = crate::pull::Pull { number: 3, updated_at: NOW - 1_000_000_000, ..closed.clone() };
    let merged = crate::pull::Pull { number: 2, state: "merged".into(), ..closed.clone() };
    report(&mut state, Report::Answer(ticket(&effects), Ok(Answer::Pulls(vec![merged, earlier, closed.clone()]))));
    press(&mut state, "G");
    assert_eq!((state.pulls.items(), selected_pull(&state)), (5, 3), "below the open ones, the latest first");
    press(&mut state, "k");
    assert_eq!(calls(&press(&mut state, "X y")), [&Call::Reopen("widgets#13".into())]);
    closed.state = "open".into();
    report(&mut state, Report::Host(samples::host(0), HostReport::Pull(Box::new(closed))));
    assert_eq!((state.pulls.items(), selected_pull(&state)), (5, 13), "it is selected where it is now");
    press(&mut state, "A");
    assert_eq!(state.pulls.items(), 4);
}
