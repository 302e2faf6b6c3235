//! A drained host takes no more, puts what runs to disk, and stays so over a restart of hostd.

use hostd_core::Lifecycle;

use super::world::{World, sam, until, until_is};
use crate::sessions::{AtStop, CreateSession, FleetError, ForkOrder};

#[tokio::test]
async fn what_runs_is_put_to_disk_and_what_was_at_work_comes_back() {
    let world = World::new();
    for slug in ["works", "waits", "asleep"] {
        world.session(slug).await;
    }
    let fleet = world.fleet().await;
    for slug in ["works", "waits", "asleep"] {
        until_is(&fleet, slug, "running").await;
    }
    let waits = fleet.get("waits").unwrap().session.id;
    let at =
        |id: &str| world.vmm.vms.lock().unwrap().iter().find(|vm| vm.spec.directory.ends_with(id)).unwrap().clone();
    at(&waits).guest.status("idle", "");
    until(&fleet, "waits", |view| view.session.waits()).await;
    fleet.by(sam()).suspend("asleep").await.unwrap();

    assert_eq!(fleet.drain(&sam()).await.unwrap(), Vec::<String>::new());
    assert_eq!(world.vmm.running(), 0);
    let works = until(&fleet, "works", |view| view.session.wanted && !view.session.waiting.is_empty()).await;
    assert!(works.session.waiting.contains("drained by sam; `pilothouse host undrain`"), "{}", works.session.waiting);
    assert!(!fleet.get("waits").unwrap().session.wanted);
    // Whoever asks is told, and nothing is begun.
    let words = |error: FleetError| match error {
        FleetError::Drained(why) => why,
        other => panic!("{other}"),
    };
    let order = CreateSession { environment: "demo".into(), ..CreateSession::default() };
    assert!(words(fleet.create(order).await.unwrap_err()).contains("sam"));
    words(fleet.fork("asleep", ForkOrder::default()).await.unwrap_err());
    words(fleet.by(sam()).resume("asleep").await.unwrap_err());
    words(fleet.by(sam()).restart("asleep", true).await.unwrap_err());
    // A message stays for its agent.
    fleet.by(sam()).send("waits", "go on").await.unwrap();
    until(&fleet, "waits", |view| view.session.wanted && !view.session.waiting.is_empty()).await;
    fleet.close(AtStop::Leave).await;

    let fleet = world.fleet().await;
    until(&fleet, "works", |view| !view.session.waiting.is_empty()).await;
    assert_eq!((world.vmm.running(), fleet.feed().snapshot().host.drained.is_some()), (0, false));
    fleet.look().await;
    assert_eq!(fleet.feed().snapshot().host.drained.map(|(by, _)| by).as_deref(), Some("sam"));
    fleet.undrain(&sam()).await.unwrap();
    for slug in ["works", "waits"] {
        until_is(&fleet, slug, "running").await;
    }
    assert_eq!(fleet.get("asleep").unwrap().session.lifecycle, Lifecycle::Suspended);
    fleet.by(sam()).resume("asleep").await.unwrap();
    fleet.stop().await;
}

/// What the last hostd had no time for is done by the next.
#[tokio::test]
async fn what_runs_when_a_drained_host_starts_is_put_to_disk() {
    let world = World::new();
    world.session("fix").await;
    let killed = world.doomed().await;
    until_is(&killed.fleet, "fix", "running").await;
    killed.kill().await;
    std::fs::write(world.folder.path().join("drained.json"), r#"{"by":"sam","at":1}"#).unwrap();
    let fleet = world.fleet().await;
    until_is(&fleet, "fix", "suspended").await;
    assert_eq!(world.vmm.running(), 0);
    fleet.stop().await;
}
