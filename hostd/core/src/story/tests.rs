use super::*;
use crate::{
    ForgeId, Input, Lifecycle, Session, Status,
    pulls::{NewReview, PullInput, PullRequest, Verdict, Who},
    recipe::Egress,
    session::{Answer, Budget, Cause, Due, Failure, Fate, Observation, Pull, Wait, WaitFor, step},
    usage::Spending,
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
    let taken = Answer::Checks { number: 3, head: "aaaa".into(), outcome: "failed".into(), checks: vec![] };
    let answered = Some(Box::new(Due { wait: 1, answer: taken }));
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
        (Actor::forge(&ForgeId::local()), seen(true)),
        (Actor::Host, Input::Admitted),
        (Actor::Host, Input::Resumed { generation: 2, answered }),
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
        "hostd: started the agent, in a microVM of its own",
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
    let delivering = |answer| Session { answer: Some(answer), delivering: true, generation: 1, ..session.clone() };
    for (answer, expected) in [
        (Answer::TimedOut, "nothing in the time it gave"),
        (Answer::NoPullRequest, "it has no pull request"),
        (Answer::Review { number: 2, head: String::new(), state: Fate::Merged, reviews: vec![] }, "#2 is merged"),
    ] {
        let before = delivering(answer);
        let input = Input::Delivered { generation: 1 };
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
        PullInput::Reopen(Who::person("bea")),
        PullInput::Merge(merge),
        PullInput::Merged,
    ];
    let mut pull: PullRequest = crate::pulls::tests::pull();
    let mut story = of_pull(None, &pull, "sam", 1);
    for (at, input) in (2..).zip(inputs) {
        let after = crate::pulls::step(&pull, input, at).unwrap();
        story.extend(of_pull(Some(&pull), &after, "sam", at));
        // The same once more adds nothing.
        assert_eq!(of_pull(Some(&after), &after, "sam", at), []);
        pull = after;
    }
    let expected = [
        "fix-parser (for sam): opened #7 into main: Fix the parser",
        "fix-parser (for sam): pushed #7 revision 2, which replaces commits of the one before",
        "bob: changes-requested #7 revision 2: why?",
        "bob: approved #7 revision 2",
        "ann: closed #7 by ann",
        "bea: reopened #7 is open again",
        "ann: merged #7 into main",
    ];
    assert_eq!(words(&story), expected);
    assert!(story.iter().all(|event| event.session == "01A"));
}

#[test]
fn a_story_tells_what_was_typed_for_an_ended_turn() {
    let ends = Status { activity: crate::Activity::Idle, text: String::new(), choices: vec![] };
    let mut session = Session { lifecycle: Lifecycle::Running, generation: 3, ..crate::session::tests::new().0 };
    let mut story = vec![];
    for input in [Input::AgentStatus { generation: 3, status: ends }, seen(true)] {
        let (after, _) = step(&session, input.clone(), 300).unwrap();
        story.extend(of_session(&session, &input, &after, &Actor::Host, 300));
        session = after;
    }
    assert!(words(&story).contains(&"hostd: delivered The checks of pull request #3: .".into()), "{:?}", words(&story));
}

#[test]
fn a_budget_and_its_end_are_told() {
    let start = Session { lifecycle: Lifecycle::Running, ..crate::session::tests::new().0 };
    let kim = Actor::person("kim");
    let input = Input::Budget(Budget::Set(5_000_000));
    let (set, _) = step(&start, input.clone(), 200).unwrap();
    let told = of_session(&start, &input, &set, &kim, 200);
    assert_eq!((told.len(), &*told[0].what, &*told[0].text, &told[0].actor), (1, "budget", "set to $5", &kim));
    let input = Input::Answers { spending: Spending { micros: 5_100_000, ..Spending::default() } };
    let (used_up, _) = step(&set, input.clone(), 300).unwrap();
    let told = of_session(&set, &input, &used_up, &Actor::Host, 300);
    assert_eq!((told.len(), &*told[0].what, &*told[0].text), (1, "budget-used-up", "$5 on models"));
    assert!(of_session(&used_up, &input, &used_up, &Actor::Host, 400).is_empty());
}

#[test]
fn what_people_allow_is_told_with_who_did() {
    let start = Session { lifecycle: Lifecycle::Running, ..crate::session::tests::new().0 };
    let (kim, lee) = (Actor::person("kim"), Actor::person("lee"));
    let input = Input::Allow(Egress { to: "db.lan:5432".into(), private: true });
    let (allowed, _) = step(&start, input.clone(), 200).unwrap();
    let told = of_session(&start, &input, &allowed, &kim, 200);
    assert_eq!((told.len(), &*told[0].what, &told[0].actor), (1, "egress", &kim));
    assert_eq!(&*told[0].text, "may reach db.lan:5432, also at a private address");
    let fork = Session { id: "F".into(), owner: "lee".into(), ..allowed.clone() };
    let of_fork: Vec<_> = inherited(&fork).collect();
    assert_eq!((of_fork.len(), &*of_fork[0].session, &of_fork[0].actor), (1, "F", &lee));
    assert_eq!(of_fork[0].text, told[0].text);
    let input = Input::Disallow { to: "db.lan:5432".into() };
    let (gone, _) = step(&allowed, input.clone(), 300).unwrap();
    let told = of_session(&allowed, &input, &gone, &lee, 300);
    assert_eq!((&*told[0].text, &told[0].actor), ("may not reach db.lan:5432 any more", &lee));
}
