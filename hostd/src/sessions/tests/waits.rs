//! Waits of made-up agents on the real local forge.

use std::{
    process::Command,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use hostd_core::{
    Activity, Actor, ForgeId, Turn,
    checks::CheckState,
    pulls::{Author, NewPull, NewReview, Rules, Verdict, Who},
};
use pilothouse_proto::guest::v1::{AnswerRequest, Wait, event};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{
    super::{Fleet, Follow, SessionView},
    world::{World, sam, until, until_is},
};
use crate::{
    forge::{PullId, Report},
    store::ALL_EVENTS,
    testing::FakeGuest,
};

/// Longest wait for what must come.
const DEADLINE: Duration = Duration::from_secs(30);

/// The repository `widgets` with a branch of the session `fix`.
fn repository(world: &World) {
    let script = "git init -q -b main work && cd work && git commit -q --allow-empty -m Begin \
        && git clone -q --bare . ../git/widgets.git && git checkout -q -b agent/fix/work \
        && echo 1 > a && git add a && git commit -q -m One && git push -q ../git/widgets.git HEAD";
    let who = ["AUTHOR", "COMMITTER"]
        .into_iter()
        .flat_map(|who| [(format!("GIT_{who}_NAME"), "agent"), (format!("GIT_{who}_EMAIL"), "agent@example.com")]);
    let mut command = Command::new("sh");
    command.args(["-c", script]).current_dir(world.folder.path()).envs(who);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A running session with an open pull request that needs the check `unit`.
pub(super) async fn with_pull(world: &World) -> Arc<Fleet> {
    repository(world);
    let id = world.session("fix").await.session.id;
    let fleet = world.fleet().await;
    until_is(&fleet, "fix", "running").await;
    let rules = Rules { required_checks: vec!["unit".into()], ..Rules::default() };
    fleet.forge().set_rules("widgets", rules).await.unwrap();
    let new = NewPull {
        forge: ForgeId::local(),
        repository: "widgets".into(),
        title: "One".into(),
        body: String::new(),
        author: Author { session: id, slug: "fix".into() },
        head_branch: "agent/fix/work".into(),
        base_branch: "main".into(),
    };
    fleet.forge().open(new).await.unwrap();
    until(&fleet, "fix", |v| v.session.pull.is_some()).await;
    fleet
}

pub(super) fn waits(guest: &FakeGuest, id: u64, what: &str) {
    guest.report(event::Event::Wait(Wait { id, what: what.into(), ..Wait::default() }));
}

pub(super) async fn check(fleet: &Fleet, state: CheckState) {
    let id = PullId::new(ForgeId::local(), "widgets", 1);
    let head = fleet.forge().pull(&id).await.unwrap().pull.head().to_owned();
    let log = Some(b"first\nlast\n".to_vec());
    let report = Report { name: "unit".into(), state, summary: "s".into(), url: String::new(), log };
    fleet.forge().report("widgets", &head, report).await.unwrap();
}

pub(super) fn answers(guest: &FakeGuest) -> Vec<(u64, Value)> {
    let answers = guest.answers.lock().unwrap();
    let json = |answer: &AnswerRequest| (answer.wait, serde_json::from_str(&answer.json).unwrap());
    answers.iter().map(json).collect()
}

pub(super) fn works(view: &SessionView) -> bool {
    view.session.wait.is_none() && view.session.activity == Activity::Working
}

#[tokio::test]
async fn a_result_reaches_a_running_agent_that_waits() {
    let world = World::new();
    let fleet = with_pull(&world).await;
    let guest = world.vmm.vm(0).guest.clone();
    waits(&guest, 1, "checks");
    until(&fleet, "fix", |v| v.session.activity == Activity::WaitingChecks).await;
    check(&fleet, CheckState::Running).await;
    check(&fleet, CheckState::Failed).await;
    until(&fleet, "fix", works).await;
    let told = answers(&guest);
    assert_eq!((told.len(), told[0].0), (1, 1));
    let began = &told[0].1["checks"][0]["started_at"];
    let check = json!({"name": "unit", "state": "failed", "summary": "s", "url": "", "log": "first\nlast\n", "started_at": began});
    assert_eq!((&told[0].1["outcome"], &told[0].1["checks"]), (&json!("failed"), &json!([check])));
    // What is known already is told at once.
    waits(&guest, 2, "checks");
    until(&fleet, "fix", |v| v.session.asked == 2 && works(v)).await;
    assert_eq!(answers(&guest).len(), 2);
    fleet.stop().await;
}

#[tokio::test]
async fn steady_news_does_not_keep_a_result_back() {
    let world = World::new();
    let fleet = with_pull(&world).await;
    let guest = world.vmm.vm(0).guest.clone();
    waits(&guest, 1, "checks");
    until(&fleet, "fix", |v| v.session.activity == Activity::WaitingChecks).await;
    check(&fleet, CheckState::Failed).await;
    let id = PullId::new(ForgeId::local(), "widgets", 1);
    let head = fleet.forge().pull(&id).await.unwrap().pull.head().to_owned();
    let steadily = async {
        for n in 0_u64.. {
            let (state, summary) = (CheckState::Running, n.to_string());
            let report = Report { name: "other".into(), state, summary, url: String::new(), log: None };
            fleet.forge().report("widgets", &head, report).await.unwrap();
        }
    };
    tokio::select! {
        _ = until(&fleet, "fix", works) => {}
        () = steadily => {}
    }
    assert_eq!(answers(&guest).len(), 1);
    fleet.stop().await;
}

#[tokio::test]
async fn a_result_wakes_a_suspended_agent_also_after_hostd_was_killed() {
    let world = World::new();
    let killed = with_pull(&world).await;
    waits(&world.vmm.vm(0).guest, 1, "checks");
    until(&killed, "fix", |v| v.session.activity == Activity::WaitingChecks).await;
    killed.by(sam()).suspend("fix").await.unwrap();
    let fleet = world.fleet().await;
    until_is(&fleet, "fix", "suspended").await;
    check(&fleet, CheckState::Passed).await;
    until(&fleet, "fix", |v| v.session.lifecycle.word() == "running" && works(v)).await;
    let guest = &world.vmm.vm(1).guest;
    let told = answers(guest);
    assert_eq!((told.len(), &told[0].1["outcome"]), (1, &json!("passed")));
    assert_eq!(guest.called.load(Ordering::Relaxed), 0, "it came with the handshake");
    fleet.stop().await;
}

#[tokio::test]
async fn a_result_that_came_while_no_hostd_ran_wakes_it_too() {
    let world = World::new();
    let first = with_pull(&world).await;
    waits(&world.vmm.vm(0).guest, 1, "checks");
    until(&first, "fix", |v| v.session.activity == Activity::WaitingChecks).await;
    first.by(sam()).suspend("fix").await.unwrap();
    first.stop().await;
    check(&first, CheckState::Passed).await;
    let fleet = world.fleet().await;
    until(&fleet, "fix", |v| v.session.lifecycle.word() == "running" && works(v)).await;
    assert_eq!(answers(&world.vmm.vm(1).guest).len(), 1);
    fleet.stop().await;
}

#[tokio::test]
async fn a_session_tells_its_story_and_who_did_what() {
    let world = World::new();
    let fleet = with_pull(&world).await;
    waits(&world.vmm.vm(0).guest, 1, "checks");
    until(&fleet, "fix", |v| v.session.activity == Activity::WaitingChecks).await;
    fleet.by(Actor::person("ann")).suspend("fix").await.unwrap();
    check(&fleet, CheckState::Passed).await;
    until(&fleet, "fix", |v| v.session.lifecycle.word() == "running" && works(v)).await;
    let id = PullId::new(ForgeId::local(), "widgets", 1);
    let head = fleet.forge().pull(&id).await.unwrap().pull.head().to_owned();
    let (who, verdict) = (Who::person("bob"), Verdict::Approve);
    let review = NewReview { who, head: head.clone(), older: false, verdict, body: String::new(), comments: vec![] };
    fleet.forge().review(&id, review).await.unwrap();
    fleet.forge().merge(&id, Who::person("ann"), &head).await.unwrap();
    let hands = fleet.by(sam());
    hands.ran("fix", &["git".into(), "log".into()]).await;
    hands.send("fix", "thanks").await.unwrap();
    let whole = fleet.get("fix").unwrap().session.id;
    hands.delete("fix").await.unwrap();
    assert!(fleet.events("fix", ALL_EVENTS, 100).await.is_err(), "a slug is not known any more");
    let story = fleet.events(&whole, ALL_EVENTS, 100).await.unwrap();
    let told: Vec<_> = story.iter().map(|kept| format!("{}: {}", kept.event.actor, kept.event.what)).collect();
    let expected = [
        "sam: created",
        "hostd: started",
        "fix (for sam): opened",
        "fix (for sam): waits",
        "ann: suspended",
        "forge local: checks",
        "forge local: woken",
        "hostd: resumed",
        "hostd: delivered",
        "bob: approved",
        "ann: merged",
        "sam: ran",
        "sam: sent",
        "sam: deleted",
    ];
    assert_eq!(told, expected);
    fleet.stop().await;
}

/// A review changes nothing of a session, so it must be the store that says that the story goes on.
#[tokio::test]
async fn a_story_is_followed_to_its_end() {
    let world = World::new();
    let fleet = with_pull(&world).await;
    let whole = fleet.get("fix").unwrap().session.id;
    let mut story = fleet.follow(&whole, 0);
    assert_eq!(told(&mut story, "created").await, "sam");
    let id = PullId::new(ForgeId::local(), "widgets", 1);
    let closing = async {
        // The store answers in order: by then the reader has been told that there is nothing, and waits.
        for _ in 0..3 {
            fleet.events(&whole, ALL_EVENTS, 1).await.unwrap();
        }
        fleet.forge().close(&id, Who::person("ann")).await.unwrap();
    };
    assert_eq!(tokio::join!(told(&mut story, "closed"), closing).0, "ann");
    let deleting = async {
        tokio::task::yield_now().await;
        fleet.by(sam()).delete("fix").await.unwrap();
    };
    assert_eq!(tokio::join!(told(&mut story, "deleted"), deleting).0, "sam");
    assert!(timeout(DEADLINE, story.next()).await.unwrap().is_none());
    fleet.stop().await;
}

/// Reads a story until this happens; who did it.
async fn told(story: &mut Follow, what: &str) -> String {
    loop {
        let events = timeout(DEADLINE, story.next()).await.unwrap().unwrap().unwrap();
        if let Some(found) = events.iter().find(|told| told.event.what == what) {
            return found.event.actor.to_string();
        }
    }
}

#[tokio::test]
async fn a_review_is_told_once_with_its_words() {
    let world = World::new();
    let fleet = with_pull(&world).await;
    let id = PullId::new(ForgeId::local(), "widgets", 1);
    let head = fleet.forge().pull(&id).await.unwrap().pull.head().to_owned();
    let who = Who::person("ann");
    let review = NewReview {
        who,
        head,
        older: false,
        verdict: Verdict::RequestChanges,
        body: "not yet".into(),
        comments: vec![],
    };
    fleet.forge().review(&id, review).await.unwrap();
    let guest = world.vmm.vm(0).guest.clone();
    waits(&guest, 1, "review");
    until(&fleet, "fix", |v| v.session.asked == 1 && works(v)).await;
    let told = answers(&guest);
    assert_eq!(told[0].1["reviews"][0]["body"], "not yet");
    waits(&guest, 2, "review");
    until(&fleet, "fix", |v| v.session.activity == Activity::WaitingReview).await;
    check(&fleet, CheckState::Passed).await;
    until(&fleet, "fix", |v| v.session.pull.as_ref().is_some_and(|pull| pull.passed == 1)).await;
    assert_eq!(answers(&guest).len(), 1);
    fleet.stop().await;
}

#[tokio::test]
async fn who_waits_for_review_is_told_of_each_run_of_the_checks_that_failed() {
    let world = World::new();
    let fleet = with_pull(&world).await;
    let guest = world.vmm.vm(0).guest.clone();
    for run in [1, 2] {
        waits(&guest, run, "review");
        until(&fleet, "fix", |v| v.session.asked == run && v.session.activity == Activity::WaitingReview).await;
        check(&fleet, CheckState::Running).await;
        until(&fleet, "fix", |v| v.attention.turn == Turn::Checks).await;
        check(&fleet, CheckState::Failed).await;
        let view = until(&fleet, "fix", works).await;
        assert_eq!((answers(&guest).len() as u64, view.attention.turn), (run, Turn::Agent));
    }
    fleet.stop().await;
}

#[tokio::test]
async fn a_message_and_the_end_of_its_time_answer_too() {
    let world = World::new();
    let fleet = with_pull(&world).await;
    let guest = world.vmm.vm(0).guest.clone();
    waits(&guest, 1, "message");
    until(&fleet, "fix", |v| v.session.wait.is_some()).await;
    fleet.by(sam()).send("fix", "go on").await.unwrap();
    until(&fleet, "fix", works).await;
    guest.report(event::Event::Wait(Wait { id: 2, what: "checks".into(), timeout_seconds: 1, pull: 0 }));
    until(&fleet, "fix", |v| v.session.asked == 2 && works(v)).await;
    let told = answers(&guest);
    assert_eq!(told, [(1, json!({"answer": "message", "text": "go on"})), (2, json!({"answer": "timed-out"}))]);
    fleet.stop().await;
}
