//! What a result of a check costs on its way to its session.

use std::sync::atomic::Ordering::Relaxed;

use hostd_core::{
    ForgeId,
    checks::CheckState::{Failed, Passed},
};

use super::{
    waits::with_pull,
    world::{World, until},
};
use crate::forge::{PullId, Report};

#[tokio::test]
async fn a_result_costs_four_jobs_of_the_store_and_no_git() {
    let world = World::new();
    let fleet = with_pull(&world).await;
    let head = fleet.forge().known(&PullId::new(ForgeId::local(), "widgets", 1)).await.unwrap().pull.head().to_owned();
    // Without objects git finds nothing.
    let repository = world.folder.path().join("git/widgets.git");
    std::fs::rename(repository.join("objects"), repository.join("gone")).unwrap();
    let asked = &fleet.ctx().store.asked;
    let mut jobs = vec![];
    for state in [Failed, Passed, Failed, Passed] {
        let before = asked.load(Relaxed);
        let (name, summary, url) = ("unit".into(), String::new(), String::new());
        fleet.forge().report("widgets", &head, Report { name, state, summary, url, log: None }).await.unwrap();
        until(&fleet, "fix", |v| {
            v.session.pull.as_ref().is_some_and(|pull| pull.failed.is_some() == (state == Failed))
        })
        .await;
        jobs.push(asked.load(Relaxed) - before);
    }
    // Whether the commit is known, the result, its reading, and the commit of what was seen. hostd does other things meanwhile.
    assert_eq!(jobs.iter().min(), Some(&4), "{jobs:?}");
    fleet.stop().await;
}
