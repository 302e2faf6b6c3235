//! The form for a new session.

use super::*;

#[test]
fn a_form_loses_nothing() {
    let mut state = fleet(SIZE);
    press(&mut state, "n ctrl-s");
    assert!(matches!(&state.dialog, Some(Dialog::Form(form)) if form.error.is_some()));
    press(&mut state, "tab");
    type_text(&mut state, "Fix it");
    press(&mut state, "enter");
    event(&mut state, Event::Paste("one\ntwo".into()));
    press(&mut state, "esc");
    assert!(state.dialog.is_none());
    press(&mut state, "n");
    let effects = press(&mut state, "alt-enter");
    let create = Call::Create { environment: "demo".into(), title: "Fix it".into(), task: "one\ntwo".into() };
    assert_eq!(calls(&effects), [&create]);
    report(&mut state, Report::Answer(ticket(&effects), Err("no room".into())));
    assert!(matches!(&state.dialog, Some(Dialog::Form(form)) if form.task.text() == "one\ntwo"));
    let effects = press(&mut state, "ctrl-s");
    let created = session("fix-it", Turn::Agent, "queued", "working", "waits for a place to start");
    report(&mut state, Report::Answer(ticket(&effects), Ok(Answer::Created(Box::new(created.clone())))));
    assert!(state.dialog.is_none());
    report(&mut state, Report::Host(samples::host(0), HostReport::Session(Box::new(created))));
    assert_eq!(selected(&state), "fix-it");
    press(&mut state, "n");
    assert!(matches!(&state.dialog, Some(Dialog::Form(form)) if form.title.is_empty()));
}

#[test]
fn a_form_chooses_among_environments() {
    let mut state = fleet(SIZE);
    press(&mut state, "n");
    let chosen = |state: &State| match &state.dialog {
        Some(Dialog::Form(form)) => form.environment().map(|key| key.name.to_string()),
        _ => None,
    };
    assert_eq!(chosen(&state).as_deref(), Some("demo"), "one that is ready");
    press(&mut state, "j");
    assert_eq!(chosen(&state).as_deref(), Some("python"));
    press(&mut state, "k k");
    assert_eq!(chosen(&state).as_deref(), Some("rust"));
    press(&mut state, "esc E j n");
    assert_eq!(chosen(&state).as_deref(), Some("python"), "the selected one is meant");
    assert!(matches!(&state.dialog, Some(Dialog::Form(form)) if form.focus == FormField::Title));
}

#[test]
fn a_form_that_was_opened_early_chooses_what_turns_out_to_be_ready() {
    let mut state = fleet(SIZE);
    let told = |name: &str, word: &str| {
        let all = crate::samples::environments();
        let one = all.into_iter().find(|e| e.name == name).unwrap();
        let one = crate::fleet::Environment { state: word.into(), ..one };
        Report::Host(samples::host(0), HostReport::Environment(Box::new(one)))
    };
    report(&mut state, told("demo", "unbuilt"));
    report(&mut state, told("python", "unbuilt"));
    report(&mut state, told("rust", "unbuilt"));
    press(&mut state, "n");
    let chosen = |state: &State| match &state.dialog {
        Some(Dialog::Form(form)) => form.environment().map(|key| key.name.to_string()),
        _ => None,
    };
    assert_eq!(chosen(&state).as_deref(), Some("demo"));
    report(&mut state, told("rust", "ready"));
    assert_eq!(chosen(&state).as_deref(), Some("rust"));
    report(&mut state, told("demo", "ready"));
    assert_eq!(chosen(&state).as_deref(), Some("rust"), "it stays");
    press(&mut state, "k");
    report(&mut state, told("python", "unbuilt"));
    assert_eq!(chosen(&state).as_deref(), Some("python"), "what was chosen by hand stays, ready or not");
}

#[test]
fn a_new_session_begins_in_the_likely_environment() {
    let chosen = |state: &State| match &state.dialog {
        Some(Dialog::Form(form)) => form.environment().map(|key| key.name.to_string()),
        _ => None,
    };
    let mut state = console(&["local"], SIZE);
    let environment = |name: &str| crate::fleet::Environment {
        name: name.into(),
        state: "ready".into(),
        ..samples::environments().remove(2)
    };
    let mut sessions = samples::sessions();
    sessions[0].environment = "python".into();
    let environments = ["aaa", "demo", "python"].map(environment).into();
    let all = crate::report::Snapshot { info: None, sessions, environments };
    report(&mut state, Report::Host(samples::host(0), HostReport::Snapshot(Box::new(all))));
    press(&mut state, "n");
    assert_eq!(chosen(&state).as_deref(), Some("python"), "the selected session's");
    press(&mut state, "j tab");
    type_text(&mut state, "x");
    let effects = press(&mut state, "ctrl-s");
    report(&mut state, Report::Answer(ticket(&effects), Ok(Answer::Done)));
    press(&mut state, "n");
    assert_eq!(chosen(&state).as_deref(), Some("aaa"), "the one that was used last");
}

#[test]
fn what_is_filled_in_outlives_the_console() {
    let kept = |effects: &[Effect]| {
        let kept = |effect: &Effect| match effect {
            Effect::KeepForm(title, task) => Some((title.clone(), task.clone())),
            _ => None,
        };
        effects.iter().rev().find_map(kept)
    };
    let both = |title: &str, task: &str| Some((title.to_owned(), task.to_owned()));
    let mut state = fleet(SIZE);
    press(&mut state, "n tab");
    type_text(&mut state, "Fix it");
    let at = state.next_change().unwrap();
    assert_eq!(kept(&update(&mut state, Action::Tick, at)), both("Fix it", ""));
    press(&mut state, "tab");
    type_text(&mut state, "all");
    assert_eq!(kept(&press(&mut state, "esc")), both("Fix it", "all"));
    assert_eq!(kept(&press(&mut state, "n esc")), None, "it is kept already");
    let mut next = fleet(SIZE);
    report(&mut next, Report::Form("Fix it".into(), "all".into()));
    let effects = press(&mut next, "n ctrl-s");
    assert!(matches!(calls(&effects)[..], [Call::Create { title, task, .. }] if title == "Fix it" && task == "all"));
    assert_eq!(kept(&report(&mut next, Report::Answer(ticket(&effects), Ok(Answer::Done)))), both("", ""));
}
