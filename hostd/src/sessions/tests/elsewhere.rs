//! Waits on a forge that is elsewhere: its answers lag, and its hints come late, twice, in any order, or not at all.

use std::sync::Arc;

use hostd_core::{
    Activity,
    checks::CheckState::{self, Failed, Passed, Running},
    pulls::{Author, NewPull, NewReview, Rules, Verdict, Who},
};
use pilothouse_proto::guest::v1::{Wait, event};
use serde_json::json;

use super::{
    super::{Fleet, SessionView},
    waits::{answers, waits, works},
    world::{World, sam, until, until_is},
};
use crate::{
    forge::{
        About, Checks as _, Forge as _, Pulls as _, Report, Repositories as _,
        testing::fake_forge::{FakeForge, NAME},
    },
    testing::FakeGuest,
};

/// Hints that a reader may be behind.
const HINTS: usize = 16;

async fn open(forge: &FakeForge, id: &str, slug: &str, branch: &str) {
    let author = Author { session: id.into(), slug: slug.into() };
    let (title, body, head_branch) = ("One".into(), String::new(), format!("agent/{slug}/{branch}"));
    let forge_id = forge.id().clone();
    let new = NewPull {
        forge: forge_id,
        repository: NAME.into(),
        title,
        body,
        author,
        head_branch,
        base_branch: "main".into(),
    };
    forge.open(new).await.unwrap();
}

struct There {
    forge: Arc<FakeForge>,
    world: World,
    fleet: Arc<Fleet>,
    /// Ids of `fix`, whose pull request is the first, and of `other`, whose is the second.
    ids: [String; 2],
}

impl There {
    async fn new() -> Self {
        let forge = Arc::new(FakeForge::new(HINTS));
        let world = World { forge: Some(forge.clone()), ..World::new() };
        let ids = [world.session("fix").await.session.id, world.session("other").await.session.id];
        let rules = Rules { required_checks: vec!["unit".into()], ..Rules::default() };
        forge.set_rules(NAME, rules).await.unwrap();
        for (id, slug) in ids.iter().zip(["fix", "other"]) {
            open(&forge, id, slug, "work").await;
        }
        let fleet = world.fleet().await;
        let there = Self { forge, world, fleet, ids };
        for slug in ["fix", "other"] {
            until_is(&there.fleet, slug, "running").await;
        }
        there.forge.hint("repository", About::Repository);
        until(&there.fleet, "fix", |view| view.session.pull.is_some()).await;
        until(&there.fleet, "other", |view| view.session.pull.is_some()).await;
        there
    }

    fn guest(&self, slug: &str) -> FakeGuest {
        let vms = self.world.vmm.vms.lock().unwrap();
        vms.iter().rev().find(|vm| vm.spec.name == slug).unwrap().guest.clone()
    }

    async fn report(&self, head: &str, state: CheckState) {
        let log = Some(b"first\nlast\n".to_vec());
        let report = Report { name: "unit".into(), state, summary: String::new(), url: String::new(), log };
        self.forge.report(NAME, head, report).await.unwrap();
    }

    fn readings(&self) -> usize {
        self.forge.readings(&self.ids[0])
    }

    /// A push of this commit to a pull request, told by a hint of the same id, and seen by its session.
    async fn push(&self, number: u64, head: &str) {
        self.forge.push(number, head);
        self.forge.show(number);
        self.forge.hint(head, About::Pull(number));
        let slug = if number == 1 { "fix" } else { "other" };
        until(&self.fleet, slug, |view| view.session.pull.as_ref().is_some_and(|pull| pull.head == head)).await;
    }

    /// Returns when hints that were sent before have had their effect: news of the other session has come through.
    async fn settled(&self, head: &str) {
        self.push(2, head).await;
    }
}

/// The first head of the first pull request.
fn first() -> String {
    format!("{:040}", 1)
}

#[tokio::test]
async fn a_hint_that_comes_twice_causes_one_reading() {
    let there = There::new().await;
    there.settled("a").await;
    let before = there.readings();
    there.push(1, "x").await;
    assert_eq!(there.readings(), before + 1);
    for _ in 0..3 {
        there.forge.hint("x", About::Pull(1));
    }
    there.settled("b").await;
    assert_eq!(there.readings(), before + 1, "the same event");
    there.push(1, "y").await;
    assert_eq!(there.readings(), before + 2, "another");
    there.fleet.stop().await;
}

#[tokio::test]
async fn hints_early_late_twice_and_out_of_order_answer_each_wait_once() {
    let there = There::new().await;
    let guest = there.guest("fix");
    waits(&guest, 1, "checks");
    until(&there.fleet, "fix", |view| view.session.activity == Activity::WaitingChecks).await;
    there.report(&first(), Running).await;
    there.report(&first(), Failed).await;
    there.forge.hint("early", About::Checks(first()));
    there.settled("a").await;
    assert!(answers(&guest).is_empty(), "nothing could be read yet");
    there.forge.show(1);
    for id in ["late", "early", "late"] {
        there.forge.hint(id, About::Pull(1));
    }
    until(&there.fleet, "fix", works).await;
    there.settled("b").await;
    let told = answers(&guest);
    assert_eq!((told.len(), &told[0].1["outcome"]), (1, &json!("failed")));
    assert_eq!(told[0].1["checks"][0]["log"], "first\nlast\n");

    waits(&guest, 2, "review");
    until(&there.fleet, "fix", |view| view.session.activity == Activity::WaitingReview).await;
    there.fleet.by(sam()).suspend("fix").await.unwrap();
    let head = "c".repeat(40);
    there.forge.push(1, &head);
    there.report(&head, Passed).await;
    let (verdict, body) = (Verdict::RequestChanges, "not yet".to_owned());
    let review =
        NewReview { who: Who::person("ann"), head: head.clone(), older: false, verdict, body, comments: vec![] };
    there.forge.review(&there.forge.pull_id(1), review).await.unwrap();
    there.forge.show(1);
    for (id, about) in [("last", About::Checks(head)), ("first", About::Pull(1)), ("first", About::Pull(1))] {
        there.forge.hint(id, about);
    }
    until(&there.fleet, "fix", |view| view.session.lifecycle.word() == "running" && works(view)).await;
    there.settled("d").await;
    let told = answers(&there.guest("fix"));
    assert_eq!((told.len(), &told[1].1["reviews"][0]["body"]), (2, &json!("not yet")));
    assert_eq!(there.world.vmm.started(), 3, "it was resumed once");
    there.fleet.stop().await;
}

#[tokio::test]
async fn a_result_is_told_though_its_hint_was_missed_and_the_forge_did_not_answer() {
    let there = There::new().await;
    let guest = there.guest("fix");
    waits(&guest, 1, "checks");
    until(&there.fleet, "fix", |view| view.session.activity == Activity::WaitingChecks).await;
    there.settled("a").await;
    there.report(&first(), Passed).await;
    there.forge.show(1);
    there.forge.down(2);
    there.forge.hint("passed", About::Checks(first()));
    for n in 0..2 * HINTS {
        there.forge.hint(&n.to_string(), About::Pull(99));
    }
    until(&there.fleet, "fix", works).await;
    assert_eq!(answers(&guest)[0].1["outcome"], "passed");
    there.fleet.stop().await;
}

#[tokio::test]
async fn a_wait_for_one_of_several_pull_requests_is_answered_by_that_one() {
    let there = There::new().await;
    let sees = |number| move |view: &SessionView| view.session.pull.as_ref().is_some_and(|pull| pull.number == number);
    let wait = |id, pull| event::Event::Wait(Wait { id, what: "checks".into(), pull, timeout_seconds: 0 });
    open(&there.forge, &there.ids[0], "fix", "more").await;
    there.forge.hint("opened", About::Pull(3));
    until(&there.fleet, "fix", sees(3)).await;
    let guest = there.guest("fix");
    guest.report(wait(1, 1));
    until(&there.fleet, "fix", sees(1)).await;
    let newest = format!("{:040}", 3);
    there.report(&newest, Passed).await;
    there.forge.show(3);
    there.forge.hint("passed", About::Checks(newest));
    there.settled("a").await;
    assert!(answers(&guest).is_empty(), "that was another");
    there.report(&first(), Failed).await;
    there.forge.show(1);
    there.forge.hint("failed", About::Checks(first()));
    until(&there.fleet, "fix", |view| works(view) && sees(3)(view)).await;
    let told = answers(&guest);
    assert_eq!((&told[0].1["number"], &told[0].1["outcome"]), (&json!(1), &json!("failed")));
    guest.report(wait(2, 2));
    until(&there.fleet, "fix", |view| view.session.asked == 2 && works(view)).await;
    let why = "#2 is no pull request of this session; wait for one of #3, #1, or without --pr for the newest";
    assert_eq!(answers(&guest)[1].1, json!({"answer": "refused", "why": why}));
    there.fleet.stop().await;
}
