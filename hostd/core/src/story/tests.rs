use super::*;
use crate::{
    Input, Lifecycle, Session, Status,
    pulls::{NewReview, PullInput, PullRequest, Verdict, Who},
    session::{Answer, Cause, Failure, Fate, Observation, Pull, Wait, WaitFor, step},
};

/// The words of a story: who, what, text.
fn words(events: &[Event]) -> Vec<String> {
    events.iter().map(|event| format!("{}: {} {}", event.actor, event.what, event.text)).collect()
}

fn agent() -> Actor {
    Actor::Session { slug: "fix-readme".into(), person: "sam".into() }
}

fn seen(failed: bool) -> Input {
    let pull = Pull {
        number: 3,
        fate: Fate::Open,
        head: "aaaa".into(),
        passed: u32::from(!failed),
        total: 1,
        failed: failed.then(|| Failure { name: "ci".into(), at: 5 }),
        standing: crate::pulls::Standing::Waiting,
        since: 4,
    };
    Input::Observed(Some(Box::new(Observation { own: vec![3], pull, checks: vec![], reviews: vec![] })))
}

#[test]
fn a_session_reads_as_its_story() {
    let (mut session, _) = crate::session::tests::new();
    let mut story = vec![created(&session)];
    let ask = Status { activity: crate::Activity::NeedsInput, text: "which one?".into(), choices: vec![] };
    let wait = Wait { id: 1, what: WaitFor::Checks, pull: None, since: 200, until: None };
    let inputs = [
        (Actor::Host, Input::Admitted),
        (Actor::Host, Input::Started { generation: 1 }),
        (agent(), Input::AgentStatus { generation: 1, status: ask.clone() }),
        // The same again is nothing new.
        (agent(), Input::AgentStatus { generation: 1, status: ask }),
        (Actor::person("ann"), Input::Send("the\nsecond\u{1b}[2J".into())),
        (Actor::Host, Input::Typed { generation: 1, id: 1 }),
        (Actor::Host, Input::Read { generation: 1, id: 1 }),
        (agent(), Input::WaitBegan { generation: 1, wait }),
        (Actor::person("ann"), Input::Suspend),
        (Actor::Host, Input::Suspended),
        (Actor::local_forge(), seen(true)),
        (Actor::Host, Input::Admitted),
        (Actor::Host, Input::Resumed { generation: 2 }),
        (Actor::Host, Input::Told { generation: 2 }),
        (Actor::Host, Input::VmEnded { generation: 2, cause: Cause::LinkLost }),
        (Actor::person("sam"), Input::Restart { give_up_memory: false }),
        (Actor::person("sam"), Input::Delete),
    ];
    for (at, (actor, input)) in (200..).zip(inputs) {
        let (after, _) = step(&session, input.clone(), at).unwrap();
        story.extend(of_session(&session, &input, &after, &actor, at));
        session = after;
    }
    let expected = [
        "sam: created in demo",
        "hostd: started its agent runs in a microVM of its own",
        "fix-readme (for sam): asks which one?",
        "ann: sent the second[2J",
        "fix-readme (for sam): waits for its checks",
        "ann: suspended waits on checks",
        "forge local: checks of #3 failed: ci",
        "forge local: woken for the answer: checks of #3 failed",
        "hostd: resumed runs on where it was",
        "hostd: delivered checks of #3 failed",
        "hostd: crashed its guest stopped answering",
        "sam: restarted boots from its disk",
        "sam: deleted is ended and removed",
    ];
    assert_eq!(words(&story), expected);
    assert!(story.iter().all(|event| event.session == session.id));
    assert!(story.is_sorted_by_key(|event| event.at));
}

#[test]
fn what_goes_wrong_is_told_with_its_reason() {
    let running = Session { lifecycle: Lifecycle::Running, generation: 3, ..crate::session::tests::new().0 };
    let suspending = Session { lifecycle: Lifecycle::Suspending, ..running.clone() };
    let cases = [
        (&suspending, Input::SuspendFailed { why: "no room".into() }, "hostd: suspend-failed no room"),
        (&running, Input::OomKilled { generation: 3, name: "cc1".into() }, "hostd: oom-killed cc1, for want of memory"),
        (&running, Input::GuestDisk { generation: 3, full: Some("0 B".into()) }, "hostd: disk-full 0 B"),
    ];
    for (before, input, expected) in cases {
        let (after, _) = step(before, input.clone(), 7).unwrap();
        assert_eq!(words(&of_session(before, &input, &after, &Actor::Host, 7)), [expected]);
    }
}

#[test]
fn a_text_is_one_bounded_line() {
    let event = Event::new("01A", 1, Actor::Host, "sent", &format!("a\nb{}", "c".repeat(1000)));
    assert!(event.text.starts_with("a bcc") && event.text.len() <= TEXT_MAX, "{}", event.text);
}

#[test]
fn answers_say_what_they_are() {
    let session = crate::session::tests::new().0;
    let telling = |answer| Session { answer: Some(answer), telling: true, generation: 1, ..session.clone() };
    for (answer, expected) in [
        (Answer::TimedOut, "nothing in the time it gave"),
        (Answer::NoPullRequest, "it has no pull request"),
        (Answer::Review { number: 2, head: String::new(), state: Fate::Merged, reviews: vec![] }, "#2 is merged"),
    ] {
        let before = telling(answer);
        let input = Input::Told { generation: 1 };
        let story = of_session(&before, &input, &before, &Actor::Host, 7);
        assert_eq!(words(&story), [format!("hostd: delivered {expected}")]);
    }
}

#[test]
fn a_pull_request_tells_who_did_what() {
    let review = |name: &str, verdict, body: &str| {
        let (who, body) = (Who::person(name), body.into());
        PullInput::Review(NewReview { who, head: "bbbb".into(), older: false, verdict, body, comments: vec![] })
    };
    let merge = crate::pulls::Merge {
        by: "ann".into(),
        head: "bbbb".into(),
        commit: "cccc".into(),
        method: crate::pulls::MergeMethod::Merge,
        at: 9,
    };
    let inputs = [
        PullInput::Pushed { head: "bbbb".into(), forced: true },
        review("bob", Verdict::RequestChanges, "why?"),
        review("bob", Verdict::Approve, ""),
        PullInput::Close(Who::person("ann")),
        PullInput::Reopen(Who::person("ann")),
        PullInput::Merge(merge),
        PullInput::Merged,
    ];
    let mut pull: PullRequest = crate::pulls::tests::pull();
    let mut story = of_pull(None, &pull, 1);
    for (at, input) in (2..).zip(inputs) {
        let after = crate::pulls::step(&pull, input, at).unwrap();
        story.extend(of_pull(Some(&pull), &after, at));
        // The same once more adds nothing.
        assert_eq!(of_pull(Some(&after), &after, at), []);
        pull = after;
    }
    let expected = [
        "fix-parser: opened #7 into main: Fix the parser",
        "fix-parser: pushed #7 revision 2, which replaces commits of the one before",
        "bob: changes-requested #7 revision 2: why?",
        "bob: approved #7 revision 2",
        "ann: closed #7 by ann",
        "forge local: reopened #7 is open again",
        "ann: merged #7 into main",
    ];
    assert_eq!(words(&story), expected);
    assert!(story.iter().all(|event| event.session == "01A"));
}
