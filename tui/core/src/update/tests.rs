use crate::{
    Action, Effect, Report, State,
    action::{Event, Mouse, MouseKind},
    attach::Link,
    dialog::{Dialog, FormField},
    diff::{DiffReport, Reading, Subject},
    effect::Call,
    fleet::{Connection, Turn},
    notice::Kind,
    report::{Answer, HostReport, TerminalReport},
    samples::{self, NOW, console, event, fleet, press, report, session, show_screen, snapshot, terminal, type_text},
    state::View,
    ticket::{Slot, Ticket},
    update,
};

mod ahead;
mod alerts;
mod checks;
mod filters;
mod forms;
mod hosts;
mod leaving;
mod messages;
mod once;
mod permissions;
mod queue;
mod random;
mod reach;
mod stories;
mod terminals;
mod verdicts;

const SIZE: (u16, u16) = (120, 40);

fn selected(state: &State) -> &str {
    state.selected().map_or("", |(_, session)| &session.slug)
}

fn calls(effects: &[Effect]) -> Vec<&Call> {
    effects.iter().filter_map(|effect| if let Effect::Call(_, _, call) = effect { Some(call) } else { None }).collect()
}

fn ticket(effects: &[Effect]) -> Ticket {
    let found = effects.iter().find_map(|effect| match effect {
        Effect::Call(ticket, ..) | Effect::OpenTerminal { ticket, .. } | Effect::OpenLog { ticket, .. } => {
            Some(*ticket)
        }
        _ => None,
    });
    found.unwrap()
}

fn last_notice(state: &State) -> &str {
    state.notices.all().last().map_or("", |notice| &notice.text)
}

fn attach(size: (u16, u16)) -> State {
    let mut state = fleet(size);
    press(&mut state, "enter");
    show_screen(&mut state);
    role(&mut state, true);
    state
}

fn role(state: &mut State, writer: bool) -> Vec<Effect> {
    let ticket = state.attach.as_ref().unwrap().viewer.ticket;
    terminal(state, ticket, TerminalReport::Role { writer, name: "x".into(), viewers: 1 })
}

#[test]
fn keys_move_through_the_groups() {
    let mut state = fleet(SIZE);
    assert_eq!(selected(&state), "pick-a-database");
    press(&mut state, "j");
    assert_eq!(selected(&state), "speed-up-the-parser");
    press(&mut state, "} down down");
    assert_eq!(selected(&state), "upgrade-dependencies");
    press(&mut state, "u");
    assert_eq!(selected(&state), "pick-a-database");
    press(&mut state, "G");
    assert_eq!(selected(&state), "wait-for-a-place");
    press(&mut state, "g");
    assert_eq!(selected(&state), "pick-a-database");
}

#[test]
fn the_selected_session_stays_selected_as_the_list_changes() {
    let mut state = fleet(SIZE);
    press(&mut state, "j");
    let mut changed = samples::sessions().remove(1);
    (changed.turn, changed.lifecycle, changed.cause) = (Turn::Agent, "running".into(), String::new());
    report(&mut state, Report::Host(samples::host(0), HostReport::Session(Box::new(changed))));
    assert_eq!(selected(&state), "speed-up-the-parser");
    let id = state.selected_key().unwrap().id.to_string();
    report(&mut state, Report::Host(samples::host(0), HostReport::SessionRemoved(id)));
    assert_ne!(selected(&state), "speed-up-the-parser");
    assert_ne!(selected(&state), "");
}

#[test]
fn the_preview_follows_the_selection_and_late_news_is_dropped() {
    let mut state = fleet(SIZE);
    let old = state.preview.as_ref().unwrap().ticket;
    let effects = press(&mut state, "j");
    let new = ticket(&effects);
    assert!(matches!(&effects[..], [Effect::OpenTerminal { observe: true, delay: 60, .. }]));
    terminal(&mut state, old, samples::screen());
    assert!(state.preview.as_ref().unwrap().terminal.is_none());
    terminal(&mut state, new, samples::screen());
    assert!(state.preview.as_ref().unwrap().terminal.is_some());
    press(&mut state, "k");
    let preview = state.preview.as_ref().unwrap();
    assert!(preview.terminal.is_some() && preview.link == Link::Connecting, "the last screen is shown at once");
    let effects = press(&mut state, "G");
    assert_eq!(effects, [Effect::Close(Slot::Preview)], "a session that never started has no terminal");
}

#[test]
fn a_preview_is_opened_again_when_its_session_has_restarted() {
    let mut state = fleet(SIZE);
    let preview = state.preview.as_ref().unwrap().ticket;
    assert!(terminal(&mut state, preview, TerminalReport::Ended("the VM has ended".into())).is_empty());
    let mut again = samples::sessions().remove(0);
    again.generation += 1;
    let effects = report(&mut state, Report::Host(samples::host(0), HostReport::Session(Box::new(again))));
    assert!(ticket(&effects) > preview);
}

#[test]
fn a_filter_narrows_and_is_cleared() {
    let mut state = fleet(SIZE);
    press(&mut state, "/");
    type_text(&mut state, "docs");
    assert_eq!(state.sessions.items(), 1);
    press(&mut state, "enter");
    assert_eq!(selected(&state), "translate-the-docs");
    press(&mut state, "esc");
    assert_eq!(state.sessions.items(), 9);
    assert_eq!(selected(&state), "translate-the-docs");
}

#[test]
fn news_does_not_break_a_chord() {
    let mut state = attach(SIZE);
    press(&mut state, "ctrl-]");
    update(&mut state, Action::Tick, NOW + 1000);
    report(&mut state, Report::Host(samples::host(0), HostReport::Resumed));
    press(&mut state, "d");
    assert!(state.attach.is_none());
}

#[test]
fn deleting_asks_and_only_y_confirms() {
    let mut state = fleet(SIZE);
    for no in ["n", "esc", "enter esc", "q"] {
        assert_eq!(press(&mut state, &format!("d {no}")), [], "{no}");
        assert!(state.dialog.is_none());
    }
    let id = state.selected_key().unwrap().id.to_string();
    let effects = press(&mut state, "d y");
    assert_eq!(calls(&effects), [&Call::Delete(id)]);
    assert_eq!(selected(&state), "speed-up-the-parser", "its neighbour is next");
    report(&mut state, Report::Answer(ticket(&effects), Ok(Answer::Done)));
    assert_eq!(last_notice(&state), "Deleted pick a database");
    report(&mut state, Report::Answer(ticket(&effects), Err("late".into())));
    assert_eq!(last_notice(&state), "Deleted pick a database", "an answer counts once");
}

#[test]
fn only_what_is_over_is_restarted() {
    let mut state = fleet(SIZE);
    press(&mut state, "r");
    assert!(last_notice(&state).contains("only a stopped or crashed session"));
    let effects = press(&mut state, "j r y");
    assert!(matches!(calls(&effects)[..], [Call::Restart(_)]));
}

#[test]
fn a_session_goes_back_to_its_last_checkpoint_after_a_question() {
    let mut state = fleet(SIZE);
    press(&mut state, "B");
    assert!(last_notice(&state).ends_with("has no checkpoint"), "{}", last_notice(&state));
    let key = state.selected_key().unwrap().clone();
    let known = |number, bytes| crate::fleet::Checkpoint { number, at: state.now - 240_000, bytes };
    let checkpoints = vec![known(3, 1 << 20), known(4, 2 << 20)];
    state.fleet.session_mut(&key).unwrap().checkpoints = checkpoints;
    assert_eq!(press(&mut state, "B n"), []);
    let effects = press(&mut state, "B y");
    assert_eq!(calls(&effects), [&Call::GoBack(key.id.to_string(), 4)]);
}

#[test]
fn answers_are_sent_by_number() {
    let mut state = fleet(SIZE);
    let id = state.selected_key().unwrap().id.to_string();
    assert_eq!(calls(&press(&mut state, "2")), [&Call::Send(id, "SQLite".into())]);
    assert_eq!(press(&mut state, "7"), []);
    assert_eq!(last_notice(&state), "pick a database offers no answer 7");
    assert_eq!(calls(&press(&mut state, "j 1")), Vec::<&Call>::new(), "nothing is offered here");
}

#[test]
fn a_message_stays_until_it_was_sent() {
    let mut state = fleet(SIZE);
    press(&mut state, "m enter");
    assert!(matches!(&state.dialog, Some(Dialog::Message(m)) if m.error.is_some()));
    type_text(&mut state, "use q: SQLite");
    let effects = press(&mut state, "enter");
    assert!(matches!(calls(&effects)[..], [Call::Send(_, text)] if text == "use q: SQLite"));
    assert_eq!(press(&mut state, "enter"), [], "not twice");
    report(&mut state, Report::Answer(ticket(&effects), Err("it is stopped; restart it".into())));
    assert!(matches!(&state.dialog, Some(Dialog::Message(m)) if m.field.text() == "use q: SQLite"));
    let effects = press(&mut state, "enter");
    report(&mut state, Report::Answer(ticket(&effects), Ok(Answer::Done)));
    assert!(state.dialog.is_none());
}

#[test]
fn a_host_that_goes_is_shown_and_nothing_is_forgotten() {
    let mut state = fleet(SIZE);
    report(&mut state, Report::Host(samples::host(0), HostReport::Lost("hung up".into())));
    assert!(matches!(&state.fleet.hosts[0].connection, Connection::Lost(NOW, why) if why == "hung up"));
    assert_eq!(last_notice(&state), "local is out of reach: hung up; trying again");
    report(&mut state, Report::Host(samples::host(0), HostReport::Lost("refused".into())));
    assert!(matches!(&state.fleet.hosts[0].connection, Connection::Lost(NOW, why) if why == "refused"));
    assert_eq!(state.sessions.items(), 9);
    report(&mut state, Report::Host(samples::host(0), snapshot("local", vec![])));
    assert_eq!((state.sessions.items(), last_notice(&state)), (0, "local is back"));
}

#[test]
fn what_happens_elsewhere_is_told() {
    let mut state = fleet(SIZE);
    let mut crashed = samples::sessions().remove(4);
    (crashed.lifecycle, crashed.cause) = ("crashed".into(), "its guest stopped answering".into());
    report(&mut state, Report::Host(samples::host(0), HostReport::Session(Box::new(crashed))));
    assert_eq!(last_notice(&state), "add dark mode crashed: its guest stopped answering");
}

#[test]
fn notices_go_by_themselves_and_the_clock_knows_when() {
    let mut state = console(&["local"], SIZE);
    report(&mut state, Report::Notice(Kind::Good, "done".into()));
    let until = state.next_change().unwrap();
    assert!(until > NOW);
    update(&mut state, Action::Tick, until);
    assert!(state.notices.all().is_empty());
    assert_eq!(state.next_change(), None);
}

#[test]
fn views_are_reached_by_key_and_palette() {
    let mut state = fleet(SIZE);
    press(&mut state, "tab tab tab");
    assert_eq!(state.view, View::Environments);
    press(&mut state, "shift-tab");
    assert_eq!(state.view, View::Hosts);
    press(&mut state, ":");
    type_text(&mut state, "crash");
    press(&mut state, "enter");
    assert_eq!(state.view, View::Crashes);
    assert_eq!(selected(&state), "speed-up-the-parser");
    assert_eq!(press(&mut state, "q"), [Effect::Quit]);
}

#[test]
fn a_command_that_there_is_not_stays_to_be_mended() {
    let mut state = fleet(SIZE);
    press(&mut state, ":");
    type_text(&mut state, "crashezz");
    press(&mut state, "enter");
    assert!(state.dialog.is_some());
    press(&mut state, "backspace backspace");
    type_text(&mut state, "s");
    press(&mut state, "enter");
    assert_eq!((state.view, state.dialog.is_none()), (View::Crashes, true));
}

#[test]
fn a_log_is_read_and_left() {
    let mut state = fleet(SIZE);
    let effects = press(&mut state, "L");
    assert!(matches!(
        &effects[..],
        [Effect::OpenLog { source: crate::log::Source::Serial(_), .. }, Effect::Close(Slot::Preview)]
    ));
    assert_eq!(press(&mut state, "q")[0], Effect::Close(Slot::Log));
    assert!(state.log.is_none());
}

#[test]
fn changes_are_read_and_left() {
    let mut state = fleet(SIZE);
    let effects = press(&mut state, "c");
    assert!(matches!(
        &effects[..],
        [Effect::OpenDiff { subject: Subject::Session(_), .. }, Effect::Close(Slot::Preview)]
    ));
    // News of another one are late.
    let late = Ticket { slot: Slot::Diff, generation: 0 };
    report(&mut state, Report::Diff(late, DiffReport::Failed("no".into())));
    assert_eq!(state.diff.as_ref().unwrap().reading, Reading::Going);
    assert_eq!(press(&mut state, "n p ] [ j k G g pageup pagedown"), []);
    assert_eq!(press(&mut state, "q")[0], Effect::Close(Slot::Diff));
    assert!(state.diff.is_none());
    let mut state = samples::review(SIZE);
    let effects = press(&mut state, "d");
    assert!(matches!(&effects[..], [Effect::OpenDiff { subject: Subject::Pull(_), .. }, ..]));
    assert_eq!(press(&mut state, "q"), [Effect::Close(Slot::Diff)]);
}

#[test]
fn a_build_is_followed_and_not_begun_twice() {
    let mut state = fleet(SIZE);
    let effects = press(&mut state, "E b");
    assert_eq!(calls(&effects), [&Call::Build("demo".into())]);
    assert_eq!(press(&mut state, "b"), []);
    let ticket = ticket(&effects);
    report(&mut state, Report::Build(ticket, crate::report::BuildReport::Failed("step 2 failed".into())));
    assert_eq!(last_notice(&state), "Could not build demo: step 2 failed");
    assert!(state.builds.values().next().unwrap().failed.is_some());
    let effects = press(&mut state, "b");
    report(&mut state, Report::Build(self::ticket(&effects), crate::report::BuildReport::Done(true)));
    assert!(state.builds.is_empty());
}
