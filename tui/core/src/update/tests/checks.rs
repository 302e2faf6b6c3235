//! The checks of a pull request: chosen, read, run again.

use super::*;
use crate::{
    log::{Reading, Source},
    report::LogReport,
};

fn open_log(effects: &[Effect]) -> (Ticket, String, String) {
    match effects {
        [Effect::OpenLog { ticket, source: Source::Check { pull, commit, name } }] => {
            assert_eq!((&*pull.repository, pull.number), ("widgets", 12));
            (*ticket, commit.clone(), name.clone())
        }
        other => panic!("{other:?}"),
    }
}

fn chosen(state: &State) -> String {
    let pull = state.fleet.pull(state.pulls.selected().unwrap()).unwrap();
    pull.checks[state.selected_check().unwrap()].name.clone()
}

#[test]
fn a_check_is_chosen_and_its_log_followed() {
    let mut state = samples::review(SIZE);
    press(&mut state, "j");
    let head = samples::pulls()[0].head.clone();
    // The one that failed comes to mind first.
    assert_eq!(chosen(&state), "integration");
    press(&mut state, "] ]");
    assert_eq!(chosen(&state), "unit");
    press(&mut state, "] [");
    assert_eq!(chosen(&state), "lint");
    let (ticket, commit, name) = open_log(&press(&mut state, "l"));
    assert_eq!((commit, name.as_str()), (head, "lint"));
    for news in [LogReport::Data(b"one\ntwo\n".to_vec()), LogReport::Data(b"three\n".to_vec())] {
        report(&mut state, Report::Log(ticket, news));
    }
    let log = state.log.as_ref().unwrap();
    assert_eq!((log.shown(10).collect::<Vec<_>>(), &log.reading), (vec!["one", "two", "three"], &Reading::Going));
    report(&mut state, Report::Log(ticket, LogReport::End));
    assert_eq!(state.log.as_ref().unwrap().reading, Reading::Done);
    assert_eq!(press(&mut state, "q"), [Effect::Close(Slot::Log)]);
    assert!(state.log.is_none() && state.view == View::Review);
}

#[test]
fn a_check_runs_again_of_the_head_that_is_shown() {
    let mut state = samples::review(SIZE);
    press(&mut state, "j");
    let commit = samples::pulls()[0].head.clone();
    let again = Call::Rerun { repository: "widgets".into(), commit, name: "integration".into() };
    assert_eq!(calls(&press(&mut state, "r")), [&again]);
    // Without checks there is nothing to run, and elsewhere the key means something else.
    press(&mut state, "G");
    assert!(press(&mut state, "r").is_empty() && press(&mut state, "l").is_empty());
    assert_eq!(last_notice(&state), "It has no checks");
}
