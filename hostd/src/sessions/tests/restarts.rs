use std::sync::atomic::Ordering;

use hostd_core::{Cause, Lifecycle, attention};

use super::{
    super::{FleetError, Order},
    world::{Save, World, sam, until_is},
};

#[tokio::test]
async fn a_stopped_hostd_leaves_nothing_running_and_the_next_goes_on_with_it() {
    let world = World::new();
    for slug in ["fix", "put-down"] {
        world.session(slug).await;
    }
    let fleet = world.fleet().await;
    for slug in ["fix", "put-down"] {
        until_is(&fleet, slug, "running").await;
    }
    fleet.by(sam()).suspend("put-down").await.unwrap();
    fleet.by(sam()).send("fix", "typed as it stops").await.unwrap();
    fleet.stop().await;
    assert_eq!(world.vmm.running(), 0);
    let order = Order { environment: "demo".into(), ..Order::default() };
    assert!(matches!(fleet.create(order).await, Err(FleetError::Stopping)));
    let fleet = world.fleet().await;
    let view = until_is(&fleet, "fix", "running").await;
    assert_eq!((view.session.generation, view.session.inbox.len()), (2, 0));
    let typed = String::from_utf8(world.vmm.vm(world.vmm.started() - 1).guest.output()).unwrap();
    assert_eq!(typed.matches("typed as it stops").count(), 1, "{typed:?}");
    assert_eq!(fleet.get("put-down").unwrap().session.lifecycle, Lifecycle::Suspended);
    fleet.stop().await;
}

#[tokio::test]
async fn what_cannot_be_suspended_when_hostd_stops_is_powered_off() {
    let world = World::new();
    world.session("fix").await;
    let fleet = world.fleet().await;
    until_is(&fleet, "fix", "running").await;
    *world.vmm.saves.lock().unwrap() = Save::Fails;
    fleet.stop().await;
    assert_eq!(world.vmm.running(), 0);
    let fleet = world.fleet().await;
    let view = fleet.get("fix").unwrap();
    assert_eq!(view.session.lifecycle, Lifecycle::Stopped { cause: Cause::HostStopped { in_order: true } });
    let expected = "stopped before the agent was done: hostd was stopped and powered its VM off";
    assert_eq!(attention(&view.session, 0).reason, format!("{expected} (could not be suspended)"));
    assert!(view.session.notice.contains("no room"), "{}", view.session.notice);
    fleet.by(sam()).restart("fix", false).await.unwrap();
    until_is(&fleet, "fix", "running").await;
    fleet.stop().await;
}

#[tokio::test]
async fn what_boots_when_hostd_stops_boots_again_with_the_next() {
    let world = World::new();
    world.session("fix").await;
    world.vmm.silent.store(true, Ordering::Relaxed);
    let fleet = world.fleet().await;
    until_is(&fleet, "fix", "starting").await;
    fleet.stop().await;
    assert_eq!(world.vmm.running(), 0);
    world.vmm.silent.store(false, Ordering::Relaxed);
    let fleet = world.fleet().await;
    until_is(&fleet, "fix", "running").await;
    fleet.stop().await;
}

#[tokio::test]
async fn a_killed_hostd_leaves_sessions_that_crashed() {
    let world = World::new();
    world.session("fix").await;
    let killed = world.fleet().await;
    until_is(&killed, "fix", "running").await;
    killed.by(sam()).send("fix", "a message").await.unwrap();
    let left = world.vmm.vm(0).guest.frozen.clone();
    assert!(!left.load(Ordering::Relaxed));
    let fleet = world.fleet().await;
    assert!(left.load(Ordering::Relaxed), "the guest was not told before its VM was ended");
    let view = fleet.get("fix").unwrap();
    assert_eq!(view.session.lifecycle, Lifecycle::Crashed { cause: Cause::HostRestarted });
    assert_eq!(attention(&view.session, 0).reason, "crashed: hostd was restarted while its VM ran");
    assert_eq!(world.vmm.leftovers.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn orders_that_cannot_be_carried_out_leave_nothing() {
    let world = World::new();
    let fleet = world.fleet().await;
    let order = |environment: &str| Order { environment: environment.into(), ..Order::default() };
    let error = fleet.create(order("nothing")).await.unwrap_err().to_string();
    assert!(error.contains("there is no environment `nothing`"), "{error}");
    let error = fleet.create(order("demo")).await.unwrap_err().to_string();
    assert!(error.contains("has no build yet"), "{error}");
    assert!(fleet.list().is_empty() && !world.folder.path().join("sessions").exists());
    for message in ["", " \n", "\x1b"] {
        assert!(matches!(fleet.by(sam()).send("x", message).await, Err(FleetError::Invalid(_))));
    }
}
