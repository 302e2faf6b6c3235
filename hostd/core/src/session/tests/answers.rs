//! Permissions that are answered by the keys of a profile.

use rstest::rstest;

use super::*;
use crate::{
    reports::{Kind, Report, Source, State},
    story::of_session,
};

const PERMISSION: State = State::Blocked(Some(Kind::Permission));

fn reports(s: &Session, source: Source, state: State, asked: u64) -> Session {
    let report = Report { text: "Bash(ls)".into(), asked, ..Report::new(state, 1000) };
    let input = Input::Reported { generation: s.generation, source, report: Some(Box::new(report)) };
    step(s, input, 1000).unwrap().0
}

/// A session whose program asks for a permission, and whose profile has keys for it.
fn asks(source: Source) -> Session {
    let keys = |names: &[&str]| names.iter().map(|name| name.parse().unwrap()).collect();
    let answers = Answers { allow: keys(&["y"]), deny: keys(&["Down", "Enter"]) };
    reports(&reports(&Session { answers, ..running() }, source, State::Working, 0), source, PERMISSION, 7)
}

fn answer(s: &Session, allow: bool) -> Input {
    Input::AnswerPermission { permission: s.permission().unwrap().id, allow }
}

/// Names of the keys that the effects press.
fn pressed(effects: &[Effect]) -> String {
    let keys = effects.iter().filter_map(|effect| match effect {
        Effect::Type { message, .. } | Effect::Press { message, .. } => Some(&message.keys),
        _ => None,
    });
    keys.flatten().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

#[rstest]
#[case::allowed(Source::Program, true, "y", "allowed")]
#[case::denied(Source::Program, false, "Down Enter", "denied")]
#[case::of_a_hook(Source::Hook, true, "y", "allowed")]
fn the_keys_of_the_profile_answer_once(
    #[case] source: Source,
    #[case] allow: bool,
    #[case] keys: &str,
    #[case] what: &str,
) {
    let before = asks(source);
    let asked = before.permission().unwrap();
    assert_eq!(asked.text, "Bash(ls)");
    let input = answer(&before, allow);
    let (after, effects) = step(&before, input.clone(), 2000).unwrap();
    assert_eq!((&*pressed(&effects), after.permission()), (keys, None));
    let told = of_session(&before, &input, &after, &crate::Actor::person("sam"), 2000);
    assert_eq!((&*told[0].what, &*told[0].text), (what, "Bash(ls)"));
    let again = step(&after, input, 2001).unwrap_err();
    assert_eq!(again.0, "this permission is answered already; nothing was pressed");
}

#[rstest]
#[case::another(|s| reports(&s, Source::Program, PERMISSION, 8), "but for another one: Bash(ls)")]
#[case::over(|s| reports(&s, Source::Program, State::Working, 0), "does not ask for a permission any more")]
#[case::exited(|s| step(&s, Input::AgentExited { generation: 3, code: 0, last: String::new() }, 1).unwrap().0, "any more")]
#[case::no_keys(|s| Session { answers: Answers::default(), ..s }, "names no keys for this")]
#[case::a_message_goes_first(|s| step(&s, message(), 1).unwrap().0, "a message is still on its way")]
#[case::deleted(|s| step(&s, Input::Delete, 1).unwrap().0, "is being deleted")]
fn no_key_meets_another_question(#[case] then: fn(Session) -> Session, #[case] why: &str) {
    let shown = asks(Source::Program);
    let now = then(shown.clone());
    let refused = step(&now, answer(&shown, true), 2000).unwrap_err();
    assert!(refused.0.contains(why), "{}", refused.0);
}

#[test]
fn a_suspended_session_is_woken_for_the_answer() {
    let shown = Session { lifecycle: Lifecycle::Suspended, ..asks(Source::Program) };
    let (s, effects) = step(&shown, answer(&shown, true), 2000).unwrap();
    assert_eq!((effects, s.permission()), (vec![Effect::Admit], None));
    let resuming = Session { lifecycle: Lifecycle::Resuming, wanted: false, ..s.clone() };
    let (_, effects) = step(&resuming, Input::Resumed { generation: 3, answered: None }, 3000).unwrap();
    assert_eq!(pressed(&effects), "y");
    // Its memory is lost, and with it the question.
    let crashed = Session { lifecycle: crashed(), wanted: false, ..s };
    let (queued, _) = step(&crashed, restart(), 3000).unwrap();
    let starting = Session { lifecycle: Lifecycle::Starting, ..queued };
    let (started, effects) = step(&starting, Input::Started { generation: 3 }, 4000).unwrap();
    assert_eq!((pressed(&effects), started.inbox.len()), (String::new(), 0));
}

#[test]
fn what_could_not_be_typed_may_be_answered_again() {
    let shown = Session {
        unread: true,
        inbox: vec![Message { id: 1, ..Message::line("go on") }],
        sent: 1,
        ..asks(Source::Program)
    };
    let (pressing, effects) = step(&shown, answer(&shown, true), 2000).unwrap();
    assert!(matches!(&effects[..], [Effect::Press { message, .. }] if message.id == 2), "{effects:?}");
    let (lost, _) = step(&pressing, Input::NotTyped { generation: 3, id: 2 }, 2001).unwrap();
    assert_eq!(lost.permission(), shown.permission());
    let fork = NewFork { id: "F".into(), slug: "f".into(), title: "f".into(), owner: "sam".into(), budget: None };
    assert_eq!(pressing.fork(fork, 2001).0.permission(), shown.permission(), "nobody has answered the fork");
}
