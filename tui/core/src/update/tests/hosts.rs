use super::*;
use crate::{draft::Draft, fleet::SessionKey, pull::PullKey};

/// Two hosts that look the same, with one session and one pull request each.
fn two() -> State {
    let mut state = console(&["near", "far"], SIZE);
    for host in [samples::host(0), samples::host(1)] {
        let one = session("fix-it", Turn::Agent, "running", "working", "working");
        report(&mut state, Report::Host(host.clone(), snapshot("same", vec![one])));
        report(&mut state, Report::Host(host, HostReport::Queue(samples::pulls())));
    }
    state
}

fn draft(body: &str) -> Draft {
    Draft { body: body.into(), ..Draft::default() }
}

fn on(host: usize) -> PullKey {
    PullKey { host: samples::host(host), repository: "widgets".into(), number: 12 }
}

/// The name of the host of the session that commands are about.
fn selected_host(state: &State) -> String {
    state.selected_key().map_or_else(String::new, |key| state.fleet.host(&key.host).unwrap().name.clone())
}

#[test]
fn whatever_becomes_of_other_hosts_what_is_selected_drafted_and_written_stays_with_its_own() {
    let mut state = two();
    let id = state.selected_key().unwrap().id.clone();
    state.sessions.select(SessionKey { host: samples::host(1), id });
    report(&mut state, Report::Drafts(samples::host(1), vec![("widgets".into(), 12, draft("of far"))]));
    press(&mut state, "m");
    type_text(&mut state, "to far");
    press(&mut state, "esc");
    state.fleet.hosts.reverse();
    report(&mut state, Report::Host(samples::host(0), HostReport::Resumed));
    assert_eq!((selected_host(&state).as_str(), state.drafts[&on(1)].body.as_str()), ("far", "of far"));
    state.fleet.hosts.retain(|host| host.id != samples::host(0));
    report(&mut state, Report::Host(samples::host(1), HostReport::Resumed));
    assert_eq!((selected_host(&state).as_str(), state.drafts[&on(1)].body.as_str()), ("far", "of far"));
    press(&mut state, "m");
    assert!(matches!(&state.dialog, Some(Dialog::Message(message)) if message.field.text() == "to far"));
    let effects = press(&mut state, "enter");
    assert!(matches!(&effects[..], [Effect::Call(_, host, Call::Send(..))] if *host == samples::host(1)));
}

#[test]
fn what_was_of_a_host_that_is_gone_is_no_other_hosts() {
    let mut state = two();
    report(&mut state, Report::Drafts(samples::host(0), vec![("widgets".into(), 12, draft("of near"))]));
    press(&mut state, "H /");
    type_text(&mut state, "near");
    press(&mut state, "enter");
    assert_eq!(state.hosts.selected(), Some(&samples::host(0)));
    state.fleet.hosts.retain(|host| host.id != samples::host(0));
    // Its news are late.
    let late = session("late", Turn::You, "running", "needs-input", "asks");
    report(&mut state, Report::Host(samples::host(0), HostReport::Session(Box::new(late))));
    report(&mut state, Report::Host(samples::host(1), HostReport::Resumed));
    assert_eq!((state.hosts.selected(), state.sessions.items()), (None, 1), "the filter is not far's");
    assert!(state.drafts.contains_key(&on(0)) && !state.drafts.contains_key(&on(1)));
    assert!(state.fleet.pull(&on(0)).is_none() && state.fleet.pull(&on(1)).is_some());
}
