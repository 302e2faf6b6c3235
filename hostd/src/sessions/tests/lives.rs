use std::sync::atomic::Ordering;

use hostd_core::{Activity, Cause, Input, Lifecycle, Turn, attention, session::Status};
use tokio::sync::oneshot;
use tonic::Code;

use super::{
    super::{FleetError, message::Report},
    world::{World, sam, until, until_is},
};
use crate::{
    store::Store,
    terminals::{AttachOptions, Shown},
};

#[tokio::test]
async fn a_session_starts_and_its_agent_gets_what_it_needs() {
    let world = World::new();
    let id = world.session("fix").await.session.id;
    let fleet = world.fleet().await;
    let view = until_is(&fleet, "fix", "running").await;
    assert_eq!(view.session.generation, 1);
    let phases: Vec<_> = view.phases.iter().map(|p| p.name.as_str()).collect();
    assert_eq!(phases, ["disk", "vm", "kernel", "handshake", "agent"]);
    let vm = world.vmm.vm(0);
    assert_eq!((vm.spec.name.as_str(), vm.spec.layers[0].to_str()), ("fix", Some("/base.ext4")));
    let agent = vm.guest.agent.lock().unwrap().clone().unwrap();
    assert_eq!((agent.command, agent.directory), (vec!["agent".to_owned(), "--fast".into()], "/work".into()));
    let environment = vm.guest.environment();
    let expected = [("SESSION", id.as_str()), ("SLUG", "fix"), ("TASK", "do it"), ("BRANCH", "agent/fix/work")];
    for (name, value) in expected {
        assert_eq!(environment[&format!("PILOTHOUSE_{name}")], value);
    }
    assert!(until(&fleet, "fix", |v| v.memory.private > 0).await.memory.private == 64 << 20);
    fleet.stop().await;
}

#[tokio::test]
async fn an_agent_is_started_again_where_the_connection_was_lost_and_not_where_it_cannot_be() {
    let world = World::new();
    world.session("fix").await;
    world.vmm.no_agent.lock().unwrap().extend([Code::Unavailable, Code::Internal]);
    let fleet = world.fleet().await;
    until_is(&fleet, "fix", "running").await;
    assert!(world.vmm.no_agent.lock().unwrap().is_empty());
    world.vmm.no_agent.lock().unwrap().push(Code::FailedPrecondition);
    fleet.stop().await;
    world.session("other").await;
    let fleet = world.fleet().await;
    let view = until_is(&fleet, "other", "crashed").await;
    assert!(attention(&view.session, 0).reason.contains("`agent` did not start: as the test wants it"));
    assert_eq!((view.session.cause_word(), view.session.doing()), ("agent-not-started", "not-started"));
    world.vmm.no_agent.lock().unwrap().push(Code::PermissionDenied);
    fleet.by(sam()).restart("other", false).await.unwrap();
    let view = until(&fleet, "other", |view| view.session.cause_word() == "agent-not-executable").await;
    let reason = "crashed: could not start: the agent `agent` may not be executed in its environment";
    assert_eq!(attention(&view.session, 0).reason, reason);
    fleet.stop().await;
}

/// And a QEMU that a signal has stopped is told from a guest that hangs.
#[tokio::test]
async fn a_vm_whose_process_was_stopped_says_so() {
    let world = World::new();
    world.session("fix").await;
    let fleet = world.fleet().await;
    until_is(&fleet, "fix", "running").await;
    world.vmm.vm(0).stopped.store(true, Ordering::Relaxed);
    world.vmm.silent.store(true, Ordering::Relaxed);
    world.vmm.vm(0).unplug();
    let view = until_is(&fleet, "fix", "crashed").await;
    assert_eq!(view.session.lifecycle, Lifecycle::Crashed { cause: Cause::QemuStopped { after: 2 } });
    fleet.stop().await;
}

#[tokio::test]
async fn a_guest_that_falls_silent_before_its_agent_is_given_up() {
    let world = World::new();
    world.vmm.no_agent.lock().unwrap().push(Code::DeadlineExceeded);
    world.session("other").await;
    let fleet = world.fleet().await;
    let view = until_is(&fleet, "other", "crashed").await;
    assert!(attention(&view.session, 0).reason.contains("within 2 s"));
    assert_eq!(world.vmm.running(), 0);
    fleet.stop().await;
}

#[tokio::test]
async fn what_the_agent_says_is_seen_and_acknowledged() {
    let world = World::new();
    world.session("fix").await;
    let fleet = world.fleet().await;
    until_is(&fleet, "fix", "running").await;
    let vm = world.vmm.vm(0);
    vm.guest.status("needs-input", "which one?");
    vm.guest.status("no such thing", "");
    let view = until(&fleet, "fix", |v| v.session.activity == Activity::NeedsInput).await;
    assert_eq!(attention(&view.session, 0).reason, "asks: which one?");
    // A broken link loses no event, and brings none twice.
    vm.unplug();
    vm.guest.status("working", "on it");
    until(&fleet, "fix", |v| v.session.text == "on it").await;
    assert_eq!(*vm.guest.acknowledged.lock().unwrap(), [0, 2]);
    let viewer = fleet.terminal("fix").unwrap().attach(AttachOptions::default()).await;
    vm.guest.exit(0);
    let view = until(&fleet, "fix", |v| v.session.exited == Some(0)).await;
    assert_eq!((view.session.activity, view.session.lifecycle), (Activity::Done, Lifecycle::Running));
    loop {
        if let Shown::Ended(reason) = viewer.next().await {
            assert_eq!(reason, "the agent ended with exit code 0");
            break;
        }
    }
    assert!(matches!(fleet.by(sam()).send("fix", "more").await, Err(FleetError::Denied(_))));
    fleet.stop().await;
}

#[tokio::test]
async fn who_looks_on_keeps_a_session_awake_and_a_preview_does_not() {
    let world = World::new();
    world.session_that("fix", Some(0)).await;
    let fleet = world.fleet().await;
    until_is(&fleet, "fix", "running").await;
    let terminal = fleet.terminal("fix").unwrap();
    let _preview = terminal.attach(AttachOptions { preview: true, ..AttachOptions::default() }).await;
    let viewer = terminal.attach(AttachOptions { observe: true, ..AttachOptions::default() }).await;
    until(&fleet, "fix", |v| v.viewers == 1).await;
    world.vmm.vm(0).guest.status("needs-input", "which one?");
    let view = until(&fleet, "fix", |v| v.session.activity == Activity::NeedsInput).await;
    assert_eq!((view.session.lifecycle, view.viewers), (Lifecycle::Running, 1));
    drop(viewer);
    let view = until_is(&fleet, "fix", "suspended").await;
    assert_eq!(view.viewers, 0);
    fleet.stop().await;
}

#[tokio::test]
async fn messages_are_typed_in_order_also_over_a_broken_link() {
    let world = World::new();
    world.session("fix").await;
    world.vmm.silent.store(true, Ordering::Relaxed);
    let fleet = world.fleet().await;
    until_is(&fleet, "fix", "starting").await;
    fleet.by(sam()).send("fix", "early").await.unwrap();
    world.vmm.silent.store(false, Ordering::Relaxed);
    until_is(&fleet, "fix", "running").await;
    world.vmm.vm(0).unplug();
    for n in 0..20 {
        fleet.by(sam()).send("fix", &*format!("message {n}")).await.unwrap();
    }
    until(&fleet, "fix", |v| v.session.inbox.is_empty()).await;
    let viewer =
        fleet.terminal("fix").unwrap().attach(AttachOptions { history: 100, ..AttachOptions::default() }).await;
    let mut seen = String::new();
    while !seen.contains("message 19") {
        match viewer.next().await {
            Shown::Screen(screen) => seen = String::from_utf8_lossy(&screen.contents).into_owned(),
            Shown::Output(bytes) => seen.push_str(&String::from_utf8_lossy(&bytes)),
            _ => {}
        }
    }
    fleet.stop().await;
}

#[tokio::test]
async fn a_message_that_the_agent_does_not_read_stays_and_holds_nothing_up() {
    let world = World::new();
    world.session("fix").await;
    let fleet = world.fleet().await;
    until_is(&fleet, "fix", "running").await;
    world.vmm.vm(0).guest.reads.store(false, Ordering::Relaxed);
    fleet.by(sam()).send("fix", "first").await.unwrap();
    fleet.by(sam()).send("fix", "second").await.unwrap();
    let view = until(&fleet, "fix", |v| v.session.unread).await;
    assert_eq!(view.attention.reason, "working (a message is not read yet)");
    let view = fleet.by(sam()).suspend("fix").await.unwrap();
    assert_eq!((view.session.lifecycle, view.session.inbox.len()), (Lifecycle::Suspended, 2));
    world.vmm.vm(0).guest.reads.store(true, Ordering::Relaxed);
    fleet.by(sam()).resume("fix").await.unwrap();
    until(&fleet, "fix", |v| v.session.inbox.is_empty()).await;
    fleet.stop().await;
}

#[tokio::test]
async fn a_bell_calls_somebody_until_they_answer() {
    let world = World::new();
    world.session("fix").await;
    let fleet = world.fleet().await;
    until_is(&fleet, "fix", "running").await;
    let guest = world.vmm.vm(0).guest.clone();
    guest.write(b"which one?\x07");
    let view = until(&fleet, "fix", |v| v.attention.word == "calls").await;
    assert_eq!((view.attention.turn, view.session.activity), (Turn::You, Activity::Working));
    fleet.by(sam()).send("fix", "this one").await.unwrap();
    until(&fleet, "fix", |v| v.attention.word == "working").await;
    fleet.stop().await;
}

#[tokio::test]
async fn a_vm_that_dies_is_told_of_and_can_be_booted_again() {
    let world = World::new();
    world.session("fix").await;
    let fleet = world.fleet().await;
    until_is(&fleet, "fix", "running").await;
    assert!(matches!(fleet.by(sam()).restart("fix", false).await, Err(FleetError::Denied(_))));
    world.vmm.vm(0).gone(Cause::GuestReset("Kernel panic - not syncing".into()));
    let view = until_is(&fleet, "fix", "crashed").await;
    let expected = "crashed: the guest's kernel reset the machine: Kernel panic - not syncing";
    assert_eq!(attention(&view.session, 0).reason, expected);
    assert!(matches!(fleet.by(sam()).guest("fix").await, Err(FleetError::NotRunning(_))));
    assert!(matches!(fleet.by(sam()).send("fix", "hello").await, Err(FleetError::Denied(_))));
    fleet.by(sam()).restart("fix", false).await.unwrap();
    let view = until_is(&fleet, "fix", "running").await;
    assert_eq!((view.session.generation, world.vmm.started()), (2, 2));
    fleet.stop().await;
}

#[tokio::test]
async fn an_ended_agent_is_restarted_in_a_new_vm() {
    let world = World::new();
    world.session("fix").await;
    let fleet = world.fleet().await;
    until_is(&fleet, "fix", "running").await;
    world.vmm.vm(0).guest.exit(3);
    until(&fleet, "fix", |v| v.session.activity == Activity::Failed).await;
    fleet.by(sam()).restart("fix", false).await.unwrap();
    until(&fleet, "fix", |v| v.session.generation == 2 && v.session.lifecycle == Lifecycle::Running).await;
    assert_eq!(world.vmm.running(), 1);
    fleet.stop().await;
}

#[tokio::test]
async fn a_start_that_fails_says_why() {
    let world = World::new();
    world.session("fix").await;
    *world.vmm.fails.lock().unwrap() = Some("no such machine".into());
    let fleet = world.fleet().await;
    let view = until_is(&fleet, "fix", "crashed").await;
    assert_eq!(attention(&view.session, 0).reason, "crashed: could not start: fake failed: no such machine");
    fleet.by(sam()).restart("fix", false).await.unwrap();
    until_is(&fleet, "fix", "running").await;
    fleet.stop().await;
}

#[tokio::test]
async fn a_link_that_stays_down_is_given_up() {
    let world = World::new();
    world.session("fix").await;
    let fleet = world.fleet().await;
    until_is(&fleet, "fix", "running").await;
    *world.vmm.vm(0).console.lock().unwrap() = b"booting\n[ 9.0] BUG: soft lockup - CPU#0 stuck for 22s!\n".to_vec();
    world.vmm.silent.store(true, Ordering::Relaxed);
    world.vmm.vm(0).unplug();
    let view = until_is(&fleet, "fix", "crashed").await;
    assert_eq!(
        attention(&view.session, 0).reason,
        "crashed: its guest hung: no answer for 2 s: [ 9.0] BUG: soft lockup - CPU#0 stuck for 22s!"
    );
    assert_eq!(world.vmm.running(), 0);
    fleet.stop().await;
}

#[tokio::test]
async fn deleting_takes_everything_with_it_whatever_it_is_doing() {
    let world = World::new();
    for slug in ["boots", "runs", "crashed"] {
        world.session(slug).await;
    }
    let fleet = world.fleet().await;
    until_is(&fleet, "runs", "running").await;
    until_is(&fleet, "crashed", "running").await;
    let number = (0..3).find(|&n| world.vmm.vm(n).spec.name == "crashed").unwrap();
    world.vmm.vm(number).gone(Cause::LinkLost);
    until_is(&fleet, "crashed", "crashed").await;
    until_is(&fleet, "boots", "running").await;
    let number = (0..3).find(|&n| world.vmm.vm(n).spec.name == "boots").unwrap();
    world.vmm.vm(number).gone(Cause::LinkLost);
    until_is(&fleet, "boots", "crashed").await;
    world.vmm.silent.store(true, Ordering::Relaxed);
    fleet.by(sam()).restart("boots", false).await.unwrap();
    until_is(&fleet, "boots", "starting").await;
    for slug in ["boots", "runs", "crashed"] {
        let hands = fleet.by(sam());
        let twice = tokio::join!(hands.delete(slug), hands.delete(slug));
        assert!(twice.0.is_ok() && matches!(twice.1, Ok(_) | Err(FleetError::NotFound(_))), "{twice:?}");
        assert!(matches!(fleet.get(slug), Err(FleetError::NotFound(_))));
    }
    assert_eq!(world.vmm.running(), 0);
    assert_eq!(std::fs::read_dir(world.folder.path().join("sessions")).unwrap().count(), 0);
    fleet.stop().await;
    assert!(world.fleet().await.list().is_empty());
}

#[tokio::test]
async fn only_so_many_boot_at_a_time() {
    let world = World::new();
    let places = usize::try_from(crate::host_status::cpus()).unwrap();
    for n in 0..places + 3 {
        world.session(&format!("s{n}")).await;
    }
    world.vmm.silent.store(true, Ordering::Relaxed);
    let fleet = world.fleet().await;
    let starting = |fleet: &super::super::Fleet| {
        fleet.list().iter().filter(|v| v.session.lifecycle == Lifecycle::Starting).count()
    };
    while world.vmm.started() < places {
        tokio::task::yield_now().await;
    }
    assert_eq!((starting(&fleet), world.vmm.started()), (places, places));
    // Whoever gives up its place lets the next one in.
    let first = fleet.list().into_iter().find(|v| v.session.lifecycle == Lifecycle::Starting).unwrap();
    fleet.by(sam()).delete(&first.session.id).await.unwrap();
    while world.vmm.started() < places + 1 {
        tokio::task::yield_now().await;
    }
    world.vmm.silent.store(false, Ordering::Relaxed);
    for view in fleet.list() {
        until_is(&fleet, &view.session.slug, "running").await;
    }
    fleet.stop().await;
}

#[tokio::test]
async fn what_was_heard_while_it_was_put_down_is_not_heard_again() {
    let world = World::new();
    world.session("fix").await;
    let fleet = world.fleet().await;
    until_is(&fleet, "fix", "running").await;
    let handle = fleet.handle("fix").unwrap();
    let held = world.vmm.hold.clone().lock_owned().await;
    let suspending = tokio::spawn({
        let fleet = fleet.clone();
        async move { fleet.by(sam()).suspend("fix").await.map(drop) }
    });
    world.vmm.saving.notified().await;
    let status = Status { activity: Activity::Idle, text: "late".into(), choices: vec![] };
    let (committed, heard) = oneshot::channel();
    let input = Input::AgentStatus { generation: 1, status };
    handle.reports.send(Report::Guest { generation: 1, input, sequence: 7, committed }).await.unwrap();
    heard.await.unwrap();
    drop(held);
    suspending.await.unwrap().unwrap();
    assert_eq!(handle.record.borrow().machine.heard, 7);
    fleet.stop().await;
    let (_, records) = Store::open(&world.folder.path().join("store.sqlite")).unwrap();
    assert_eq!(records[0].machine.heard, 7);
}
