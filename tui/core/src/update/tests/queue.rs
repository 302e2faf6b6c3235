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
    report(&mut state, Report::Host(0, HostReport::Pull(Box::new(merged))));
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
