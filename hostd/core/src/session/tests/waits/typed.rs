//! Agents that cannot wait read on their terminals what would answer them.

use super::*;

#[test]
fn an_agent_that_cannot_wait_reads_it_on_its_terminal_once() {
    let agent = Session { typed_events: TypedEvents::All, ..running() };
    let (s, effects) = all(agent, [observed("a", [Passed, Failed]), observed("a", [Passed, Failed])]);
    let [Effect::Type { message, .. }] = &effects[..] else { panic!("{effects:?}") };
    assert_eq!(
        message.text,
        "The checks of pull request #5: `integration` failed.\n\nThe end of the log of `integration`:\nline one\nline two\n\n\
         Fix this and push to the same branch; its checks then run again."
    );
    let (s, effects) = all(s, [read(1), again([Passed, Failed], 50)]);
    assert_eq!(effects.len(), 1, "of another run");
    let (_, effects) = all(s, [read(2), observed("b", [Passed, Passed])]);
    assert_eq!(effects.len(), 1);
}

#[test]
fn an_agent_that_cannot_wait_reads_reviews_with_their_code_and_the_end_once() {
    let agent = Session { typed_events: TypedEvents::All, ..running() };
    let see = |fate, reviews: Vec<ReviewSeen>| {
        let mut seen = seen("a", [Passed, Runs], 0);
        (seen.pull.fate, seen.reviews) = (fate, reviews);
        Input::Observed(Some(Box::new(seen)))
    };
    let open = see(Fate::Open, vec![review(1)]);
    let merged = see(Fate::Merged, vec![review(1)]);
    let (s, effects) = all(agent.clone(), [open.clone(), read(1), open, merged.clone(), read(2), merged]);
    let text = |effect: &Effect| match effect {
        Effect::Type { message, .. } => message.text.clone(),
        other => panic!("{other:?}"),
    };
    let told = "Review of pull request #5:\n\nkim says request-changes: not yet\nsrc/a.rs:7: why? (on `let x;`)";
    assert_eq!(effects.iter().map(text).collect::<Vec<_>>(), [told, "Pull request #5 is merged."]);
    assert!(s.inbox.is_empty());
    let much = ReviewSeen { comments: vec![review(1).comments[0].clone(); 200], ..review(1) };
    let long = (1..=20).map(|id| ReviewSeen { id, body: "x".repeat(8 << 10), ..much.clone() }).collect();
    let (_, effects) = all(agent, [see(Fate::Closed, long)]);
    let line = text(&effects[0]);
    assert!(line.len() <= Session::MESSAGE && line.starts_with("Pull request #5 is closed.\n\nkim says"));
    assert!(line.ends_with("[cut: there is more]"), "what is cut says so");
}

#[test]
fn what_was_told_by_command_is_not_typed_as_well() {
    let agent = Session { typed_events: TypedEvents::All, ..running() };
    let done = observed("a", [Passed, Passed]);
    let (_, effects) = all(agent, [wait(1, WaitFor::Checks), done.clone(), Input::Delivered { generation: 3 }, done]);
    assert!(matches!(effects[..], [Effect::Observe, Effect::Deliver { .. }]), "{effects:?}");
}
