use std::sync::{Arc, Mutex};

use hostd_core::{Lifecycle, attention, capacity::Room};

use crate::ci::Sessions;

use super::{
    super::{FleetError, SessionView},
    world::{World, sam, until, until_is},
};

const MIB: u64 = 1 << 20;

/// Sessions are of 256 MiB, and use 64 once they run.
async fn small(slugs: &[&str]) -> World {
    let mut world = World::new();
    world.memory = Some(300 * MIB);
    for slug in slugs {
        world.session(slug).await;
    }
    world
}

#[tokio::test]
async fn who_does_not_fit_waits_and_says_so() {
    let world = small(&["one", "two"]).await;
    let fleet = world.fleet().await;
    // What was promised to the first is its own when it runs, and then counts by what it uses.
    let waits = |v: &SessionView| attention(&v.session, 0).reason == "waits for memory: needs 256 MiB, 236 MiB free";
    // Either may be the first.
    let first = tokio::select! {
        view = until_is(&fleet, "one", "running") => view,
        view = until_is(&fleet, "two", "running") => view,
    };
    let second = if first.session.slug == "one" { "two" } else { "one" };
    let view = until(&fleet, second, waits).await;
    assert_eq!(view.session.lifecycle, Lifecycle::Queued);
    fleet.by(sam()).delete(&first.session.slug).await.unwrap();
    until_is(&fleet, second, "running").await;
    assert_eq!(world.vmm.running(), 1);
    fleet.stop().await;
}

#[tokio::test]
async fn a_suspended_session_waits_for_room_too_and_may_be_let_be() {
    let world = small(&["one"]).await;
    let fleet = world.fleet().await;
    until_is(&fleet, "one", "running").await;
    fleet.by(sam()).suspend("one").await.unwrap();
    fleet.stop().await;
    drop(fleet);
    world.session("two").await;
    let fleet = world.fleet().await;
    until_is(&fleet, "two", "running").await;
    let view = fleet.by(sam()).resume("one").await.unwrap();
    assert_eq!(view.session.lifecycle, Lifecycle::Suspended);
    assert!(attention(&view.session, 0).reason.starts_with("waits for memory: needs 256 MiB"));
    assert_eq!(Sessions::waiting(&*fleet), 1, "checks are run after it");
    let refused = fleet.by(sam()).guest("one").await.map(drop).unwrap_err();
    assert!(matches!(refused, FleetError::NotRunning(why) if why.contains("waits for memory")));
    // A fork of it waits as well.
    let fork = fleet.fork("one", Default::default()).await.unwrap().session.slug;
    until(&fleet, &fork, |v| !v.session.waiting.is_empty()).await;
    fleet.by(sam()).delete(&fork).await.unwrap();
    fleet.by(sam()).suspend("one").await.unwrap();
    let reason = attention(&fleet.get("one").unwrap().session, 0).reason;
    assert!(reason.starts_with("suspended"), "{reason}");
    fleet.by(sam()).resume("one").await.unwrap();
    fleet.by(sam()).suspend("two").await.unwrap();
    until_is(&fleet, "one", "running").await;
    fleet.stop().await;
}

#[tokio::test]
async fn who_never_fits_is_refused() {
    let mut world = small(&["one"]).await;
    world.memory = Some(128 * MIB);
    let fleet = world.fleet().await;
    let view = until_is(&fleet, "one", "crashed").await;
    let reason = attention(&view.session, 0).reason;
    assert!(reason.contains("needs 256 MiB of memory, and this host gives at most 128 MiB"), "{reason}");
    fleet.stop().await;
}

#[tokio::test]
async fn memory_that_runs_short_suspends_who_is_not_used_until_there_is_room() {
    let mut world = World::new();
    let room = Arc::new(Mutex::new(Room {
        memory_total: 16 << 30,
        memory_available: 8 << 30,
        memory_promised: 0,
        memory_limit: None,
        memory_used: 0,
        disk_total: 100 << 30,
        disk_available: 50 << 30,
        descriptors: 1024,
    }));
    world.room = Some(room.clone());
    for slug in ["one", "two"] {
        world.session(slug).await;
    }
    let fleet = world.fleet().await;
    until_is(&fleet, "one", "running").await;
    until_is(&fleet, "two", "running").await;
    let _busy = fleet.by(sam()).guest("two").await.unwrap();
    room.lock().unwrap().memory_available = 512 * MIB;
    let view = until(&fleet, "one", |v| v.session.waiting.contains("waits for memory")).await;
    assert_eq!(view.session.lifecycle, Lifecycle::Suspended);
    let reason = attention(&view.session, 0).reason;
    let why =
        "suspended because the host's memory ran short: 512 MiB were available, and 1024 MiB are kept for the host";
    assert!(reason.starts_with(why), "{reason}");
    assert_eq!((fleet.get("two").unwrap().session.lifecycle, world.vmm.running()), (Lifecycle::Running, 1));
    room.lock().unwrap().memory_available = 8 << 30;
    let view = until_is(&fleet, "one", "running").await;
    assert!(view.session.waiting.is_empty());
    fleet.stop().await;
}
