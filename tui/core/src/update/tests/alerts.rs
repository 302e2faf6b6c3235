//! Whose turn it becomes: told once, and not of what is being looked at.

use super::*;

fn alerts(effects: &[Effect]) -> Vec<String> {
    let told =
        effects.iter().filter_map(|effect| if let Effect::Alert(texts) = effect { Some(texts.clone()) } else { None });
    told.flatten().collect()
}

/// The session at work that is fifth in the list, with this turn.
fn turn(state: &mut State, turn: Turn, reason: &str) -> Vec<String> {
    let mut session = samples::sessions().remove(4);
    (session.turn, session.reason) = (turn, reason.into());
    alerts(&report(state, Report::Host(samples::host(0), HostReport::Session(Box::new(session)))))
}

#[test]
fn a_persons_turn_is_told_once_for_each_time_that_it_comes() {
    let mut state = fleet(SIZE);
    assert_eq!(turn(&mut state, Turn::You, "asks: which?"), ["add dark mode: asks: which?"]);
    assert_eq!(turn(&mut state, Turn::You, "asks: which one?"), Vec::<String>::new(), "it is the same turn");
    assert!(turn(&mut state, Turn::Agent, "working").is_empty() && turn(&mut state, Turn::Checks, "waits").is_empty());
    assert_eq!(turn(&mut state, Turn::Other, "waits for review"), ["add dark mode: waits for review"]);
    assert_eq!(turn(&mut state, Turn::You, "bert requested changes").len(), 1);
}

#[test]
fn what_is_looked_at_is_not_told_unless_the_window_is_not() {
    // Attached, and previewed.
    for attached in [true, false] {
        let mut state = fleet(SIZE);
        let id = samples::sessions()[4].id.as_str().into();
        state.sessions.select(crate::fleet::SessionKey { host: samples::host(0), id });
        update(&mut state, Action::Tick, NOW);
        if attached {
            press(&mut state, "enter");
        }
        let shown = state.attach.as_ref().map(|a| &a.viewer).or(state.preview.as_ref()).map(|v| v.session.id.clone());
        assert_eq!(shown.as_deref(), Some(&*samples::sessions()[4].id));
        assert!(turn(&mut state, Turn::You, "asks").is_empty());
        turn(&mut state, Turn::Agent, "working");
        event(&mut state, Event::Focus(false));
        assert_eq!(turn(&mut state, Turn::You, "asks").len(), 1);
    }
}

#[test]
fn a_host_that_is_back_tells_what_was_missed_and_not_too_much() {
    let mut state = console(&["local"], SIZE);
    let many =
        |turn: Turn| (0..9).map(|n| session(&format!("s{n}"), turn, "running", "working", "r")).collect::<Vec<_>>();
    let first = report(&mut state, Report::Host(samples::host(0), snapshot("local", many(Turn::You))));
    assert_eq!(alerts(&first), Vec::<String>::new(), "what is there at the start is no news");
    report(&mut state, Report::Host(samples::host(0), snapshot("local", many(Turn::Agent))));
    let told = alerts(&report(&mut state, Report::Host(samples::host(0), snapshot("local", many(Turn::You)))));
    // One of them is in the preview.
    assert_eq!((told.len(), &*told[3]), (4, "and 5 more sessions"));
}

/// Of the fifth session, attached; `focused`: its window is looked at.
fn attached(focused: bool) -> State {
    let mut state = fleet(SIZE);
    let id = samples::sessions()[4].id.as_str().into();
    state.sessions.select(crate::fleet::SessionKey { host: samples::host(0), id });
    update(&mut state, Action::Tick, NOW);
    press(&mut state, "enter");
    let ticket = state.attach.as_ref().unwrap().viewer.ticket;
    terminal(&mut state, ticket, TerminalReport::Screen { columns: 80, rows: 24, contents: vec![] });
    event(&mut state, Event::Focus(focused));
    state
}

#[test]
fn a_programs_bell_and_the_turn_that_it_makes_are_one_bell() {
    let bells = |effects: &[Effect]| effects.iter().filter(|effect| **effect == Effect::Bell).count();
    let rings = |state: &mut State| {
        let ticket = state.attach.as_ref().unwrap().viewer.ticket;
        bells(&terminal(state, ticket, TerminalReport::Output(b"\x07".to_vec())))
    };
    let turns = |state: &mut State, index: usize, at: crate::Millis| {
        let mut session = samples::sessions().remove(index);
        let news =
            |session| Action::Reports(vec![Report::Host(samples::host(0), HostReport::Session(Box::new(session)))]);
        session.turn = Turn::Agent;
        update(state, news(session.clone()), at);
        session.turn = Turn::You;
        let effects = update(state, news(session), at);
        (alerts(&effects).len(), bells(&effects))
    };
    // Looked at: the program's alone, each time.
    let mut state = attached(true);
    assert_eq!((rings(&mut state), turns(&mut state, 4, NOW), rings(&mut state)), (1, (0, 0), 1));
    // Not looked at: told, and rung once, whichever comes first.
    let mut state = attached(false);
    assert_eq!((rings(&mut state), turns(&mut state, 4, NOW)), (1, (1, 0)));
    let mut state = attached(false);
    assert_eq!((turns(&mut state, 4, NOW), rings(&mut state), rings(&mut state)), ((1, 1), 0, 1));
    // Another session's is another bell, and so is a later one.
    let mut state = attached(false);
    assert_eq!((rings(&mut state), turns(&mut state, 5, NOW)), (1, (1, 1)));
    assert_eq!(turns(&mut state, 4, NOW + 5_000), (1, 1));
    // Without a bell of the console's own the program's is heard.
    let mut state = attached(false);
    state.bell = false;
    assert_eq!((turns(&mut state, 4, NOW), rings(&mut state)), ((1, 0), 1));
}
