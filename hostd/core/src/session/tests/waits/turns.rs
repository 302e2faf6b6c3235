//! Agents that have ended their turn are told what happens to their pull request, by what is typed and submitted.

use super::*;

fn says(activity: Activity) -> Input {
    let status = Status { activity, text: String::new(), choices: vec![] };
    Input::AgentStatus { generation: 3, status }
}

fn agent() -> Session {
    Session { repository: Some("widgets".into()), ..running() }
}

fn reviewed(head: &str, reviews: Vec<ReviewSeen>) -> Input {
    let mut seen = seen(head, [Passed, Passed], 0);
    seen.reviews = reviews;
    Input::Observed(Some(Box::new(seen)))
}

fn typed_text(effects: &[Effect]) -> Vec<&str> {
    let text = |effect: &'_ Effect| matches!(effect, Effect::Type { .. });
    effects
        .iter()
        .filter(|effect| text(effect))
        .map(|effect| match effect {
            Effect::Type { message, .. } => message.text.as_str(),
            _ => unreachable!(),
        })
        .collect()
}

#[rstest]
#[case(Activity::Idle)]
#[case(Activity::Done)]
fn an_ended_turn_waits_for_checks_and_is_told_of_a_failure_once(#[case] activity: Activity) {
    let (s, effects) = all(agent(), [says(activity)]);
    assert_eq!(effects, [Effect::Observe], "what happened meanwhile was not told");
    let (s, effects) = all(s, [observed("a", [Passed, Runs])]);
    assert_eq!((effects.len(), attention(&s, 200).turn, s.waits()), (0, Turn::Checks, true));
    let (s, effects) = all(s, [Input::Suspend, Input::Suspended, observed("a", [Passed, Failed])]);
    assert!(s.wanted && effects.contains(&Effect::Admit), "it is woken: {effects:?}");
    assert_eq!(
        (attention(&s, 200).turn, attention(&s, 200).reason.as_str()),
        (Turn::Agent, "wakes: checks of #5 failed")
    );
    let (s, effects) = all(s, [Input::Admitted, Input::Resumed { generation: 4, answered: None }]);
    let told = typed_text(&effects);
    assert_eq!(told.len(), 1);
    assert!(
        told[0].starts_with("The checks of pull request #5: `integration` failed.") && told[0].contains("line two")
    );
    let (s, _) = all(s, [Input::Read { generation: 4, id: 1 }]);
    assert_eq!((s.activity, attention(&s, 200).turn), (Activity::Working, Turn::Agent));
    // It ends its turn again without a push: it knows, and a person is asked.
    let ends = Input::AgentStatus { generation: 4, status: Status { activity, text: String::new(), choices: vec![] } };
    let (s, effects) = all(s, [ends, observed("a", [Passed, Failed])]);
    assert_eq!((typed_text(&effects).len(), attention(&s, 200).turn), (0, Turn::You));
    // Of another head it is told.
    let (_, effects) = all(s, [observed("b", [Failed, Passed])]);
    assert_eq!(typed_text(&effects).len(), 1);
}

#[test]
fn what_comes_while_the_agent_works_is_typed_when_its_turn_ends() {
    let (s, effects) = all(agent(), [observed("a", [Passed, Failed])]);
    assert_eq!(typed_text(&effects).len(), 0);
    let (s, effects) = all(s, [says(Activity::Idle), observed("a", [Passed, Failed])]);
    assert_eq!(typed_text(&effects).len(), 1);
    // It works again before it could be told: then it is told afterwards, if that is still true.
    let busy = Session { unread: true, inbox: vec![Message { id: 9, ..Message::line("x") }], ..agent() };
    let (s2, effects) = all(busy, [says(Activity::Idle), observed("a", [Passed, Failed])]);
    assert!(typed_text(&effects).is_empty() && s2.answer.is_some());
    let (s2, _) = all(s2, [says(Activity::Working)]);
    assert_eq!(s2.answer, None);
    let (_, effects) = all(s2, [read(9), says(Activity::Idle), observed("b", [Passed, Passed])]);
    assert!(typed_text(&effects).is_empty(), "it is over");
    assert_eq!(s.activity, Activity::Working);
}

#[test]
fn an_agent_that_asks_something_is_not_typed_to() {
    let (s, effects) = all(agent(), [says(Activity::NeedsInput), observed("a", [Passed, Failed])]);
    assert_eq!((effects.len(), s.answer), (0, None));
}

#[test]
fn reviews_with_words_wake_an_agent_and_a_mere_yes_does_not() {
    let yes = ReviewSeen { id: 1, by: "kim".into(), verdict: Verdict::Approve, body: String::new(), comments: vec![] };
    let (s, effects) = all(agent(), [says(Activity::Idle), reviewed("a", vec![yes.clone()])]);
    assert_eq!((typed_text(&effects).len(), attention(&s, 200).turn), (0, Turn::You));
    let (_, effects) = all(s, [reviewed("a", vec![yes, review(2)])]);
    let told = typed_text(&effects);
    assert_eq!(
        told,
        [
            "Review of pull request #5:\n\nkim says approve\n\nkim says request-changes: not yet\nsrc/a.rs:7: why? (on `let x;`)"
        ]
    );
}

#[rstest]
#[case::never(TypedEvents::Never, 0)]
#[case::all(TypedEvents::All, 1)]
fn a_recipe_says_what_is_typed(#[case] typed_events: TypedEvents, #[case] times: usize) {
    let s = Session { typed_events, ..agent() };
    let (s, effects) = all(s, [says(Activity::Idle), observed("a", [Passed, Passed])]);
    assert_eq!(typed_text(&effects).len(), times, "that they passed");
    // One that tells when its turn ends is not disturbed in it.
    let (_, effects) = all(s, [read(1), says(Activity::Working), observed("b", [Passed, Failed])]);
    assert_eq!(typed_text(&effects).len(), 0);
}

#[test]
fn what_a_command_was_told_is_not_typed_at_the_turns_end() {
    let told = Input::Delivered { generation: 3 };
    let (_, effects) = all(
        agent(),
        [
            wait(1, WaitFor::Checks),
            observed("a", [Passed, Failed]),
            told,
            says(Activity::Idle),
            observed("a", [Passed, Failed]),
        ],
    );
    assert!(typed_text(&effects).is_empty(), "{effects:?}");
}

#[test]
fn a_turn_that_ended_without_anything_to_wait_for_is_a_persons() {
    let (s, _) = all(agent(), [says(Activity::Idle), Input::Observed(None)]);
    let seen = attention(&s, 200 + 3 * 60_000);
    assert_eq!((seen.turn, seen.word, seen.reason.as_str()), (Turn::You, "idle", "finished its turn, 3 min ago"));
}

#[test]
fn a_turn_that_was_over_is_nobodys_once_the_pull_request_is_merged() {
    let merged = || {
        let mut seen = seen("a", [Passed, Passed], 0);
        seen.pull.fate = Fate::Merged;
        Input::Observed(Some(Box::new(seen)))
    };
    let (s, effects) = all(agent(), [says(Activity::Idle), observed("a", [Passed, Passed]), merged()]);
    assert_eq!((typed_text(&effects).len(), attention(&s, 200).turn), (0, Turn::Nobody));
    // What it says after that is a turn of its own.
    let (s, _) = all(s, [says(Activity::Working), says(Activity::Idle), merged()]);
    assert_eq!(attention(&s, 200).turn, Turn::You);
}

#[test]
fn a_record_of_before_keeps_what_was_typed() {
    for (flag, meant) in [(true, TypedEvents::All), (false, TypedEvents::AtTurnsEnd)] {
        let mut json = serde_json::to_value(running()).unwrap();
        json["typed_events"] = flag.into();
        json.as_object_mut().unwrap().remove("tells_turns");
        assert_eq!(serde_json::from_value::<Session>(json).unwrap().typed_events, meant);
    }
    for meant in [TypedEvents::Never, TypedEvents::AtTurnsEnd, TypedEvents::All] {
        let json = serde_json::to_string(&meant).unwrap();
        assert_eq!(serde_json::from_str::<TypedEvents>(&json).unwrap(), meant);
    }
}
