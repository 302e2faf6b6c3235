//! Filters: what stands under the cursor is what was meant.

use super::*;

/// A fleet in which `logger` is a title, a word of a reason, and letters here and there.
fn loggers() -> State {
    let mut state = console(&["local"], SIZE);
    let mut asks =
        session("pick-a-database", Turn::You, "running", "needs-input", "asks: long ago it was bigger, why?");
    asks.choices = vec!["yes".into(), "no".into()];
    let told = session("b", Turn::You, "running", "needs-input", "asks: keep the logger?");
    let named = session("rotate-the-logger", Turn::Agent, "running", "working", "working");
    let second = session("logger-levels-for-tests", Turn::Agent, "running", "working", "working");
    report(&mut state, Report::Host(samples::host(0), snapshot("local", vec![asks, told, named, second])));
    state
}

#[test]
fn what_matches_best_is_selected_and_reasons_match_as_they_are_typed() {
    let mut state = loggers();
    press(&mut state, "/");
    type_text(&mut state, "logger");
    assert_eq!((state.sessions.items(), selected(&state)), (3, "rotate-the-logger"));
    type_text(&mut state, " lev");
    assert_eq!((state.sessions.items(), selected(&state)), (1, "logger-levels-for-tests"));
    // What was chosen by hand stays, also when news make the list anew.
    press(&mut state, "backspace backspace backspace backspace up up");
    assert_eq!(selected(&state), "b");
    report(
        &mut state,
        Report::Host(
            samples::host(0),
            HostReport::Session(Box::new(session("c", Turn::You, "running", "idle", "logger"))),
        ),
    );
    assert_eq!(selected(&state), "b");
    press(&mut state, "enter esc /");
    type_text(&mut state, "lggr");
    assert_eq!(state.sessions.items(), 2, "a title may have the letters near each other");
}

#[test]
fn pull_requests_are_found_by_number_and_title() {
    let mut state = samples::review(SIZE);
    press(&mut state, "/");
    type_text(&mut state, "#9");
    assert_eq!(state.pulls.selected().map(|key| key.number), Some(9));
    press(&mut state, "ctrl-u");
    type_text(&mut state, "dark");
    assert_eq!((state.pulls.items(), state.pulls.selected().map(|key| key.number)), (1, Some(8)));
}

#[test]
fn an_answer_in_a_filtered_list_names_whom_it_answers() {
    let mut state = loggers();
    press(&mut state, "/");
    type_text(&mut state, "pick");
    assert_eq!(press(&mut state, "enter 1"), []);
    let Some(Dialog::Question(question)) = &state.dialog else { panic!("nothing is asked") };
    assert_eq!(
        (&*question.title, &*question.text),
        ("Answer pick a database?", "Answer 1 goes to pick a database: yes")
    );
    press(&mut state, "n");
    let effects = press(&mut state, "2 y");
    let id = state.selected_key().unwrap().id.to_string();
    assert_eq!(calls(&effects), [&Call::Send(id, "no".into())]);
    report(&mut state, Report::Answer(ticket(&effects), Ok(Answer::Done)));
    assert!(state.selected().unwrap().1.choices.is_empty(), "it is answered");
}

#[test]
fn a_command_is_not_found_by_letters_spread_over_its_description() {
    let mut state = fleet(SIZE);
    press(&mut state, ":");
    type_text(&mut state, "stsk");
    let Some(Dialog::Palette(palette)) = &state.dialog else { panic!() };
    assert_eq!(palette.matches, []);
}
