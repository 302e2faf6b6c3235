//! VMs outlive their hostd: the next one takes them over.

use std::sync::{Arc, Mutex, atomic::Ordering};

use hostd_core::{Cause, Effect, Lifecycle, attention, capacity::Room, session::Message};

use super::world::{Save, World, sam, until, until_is, until_live};
use crate::{
    sessions::{AtStop, ForkOrder},
    store::{ALL_EVENTS, Store},
};

/// A host that gives no guest up for being silent while a test lasts.
fn patient() -> World {
    let mut world = World::new();
    world.timings.link_lost = std::time::Duration::from_secs(300);
    world
}

/// What was logged of the terminal.
fn log(world: &World) -> Vec<u8> {
    let folder = &world.vmm.vm(0).spec.directory;
    let own = world.folder.path().join("sessions").read_dir().unwrap().next().unwrap().unwrap().path();
    assert!(folder == &own || folder.starts_with(world.folder.path().join("warm")));
    std::fs::read(own.join("terminal.log")).unwrap()
}

#[tokio::test]
async fn a_session_goes_on_as_if_nothing_had_been_when_hostd_is_killed() {
    let world = World::new();
    world.session("fix").await;
    let killed = world.doomed().await;
    until_is(&killed.fleet, "fix", "running").await;
    let guest = world.vmm.vm(0).guest.clone();
    guest.reads.store(false, Ordering::Relaxed);
    guest.status("working", "before");
    until(&killed.fleet, "fix", |view| view.session.text == "before").await;
    killed.fleet.by(sam()).send("fix", "a message").await.unwrap();
    until(&killed.fleet, "fix", |view| view.session.unread).await;
    killed.kill().await;
    assert_eq!(world.vmm.running(), 1);

    guest.write(b"said while nobody listened\r\n");
    guest.status("needs-input", "which one?");
    guest.reads.store(true, Ordering::Relaxed);
    let fleet = world.fleet().await;
    let view = until_live(&fleet, "fix").await;
    assert_eq!((view.session.lifecycle, view.session.generation, world.vmm.started()), (Lifecycle::Running, 1, 1));
    until(&fleet, "fix", |view| view.session.text == "which one?" && view.session.inbox.is_empty()).await;
    // Read once, and every event told once.
    assert_eq!(String::from_utf8(guest.output()).unwrap().matches("a message").count(), 1);
    let story = fleet.events("fix", ALL_EVENTS, 100).await.unwrap();
    let count = |what| story.iter().filter(|event| event.event.what == what).count();
    assert_eq!((count("asks"), count("adopted"), count("crashed"), count("started")), (1, 1, 0, 1));
    // No byte is lost or doubled.
    guest.write(b"and after\r\n");
    let mut seen = fleet.terminal("fix").unwrap().signs();
    seen.wait_for(|signs| signs.offset == guest.output().len() as u64).await.unwrap();
    while log(&world).len() < guest.output().len() {
        tokio::task::yield_now().await;
    }
    assert_eq!(log(&world), guest.output());
    fleet.by(sam()).suspend("fix").await.unwrap();
    let view = fleet.by(sam()).resume("fix").await.unwrap();
    assert_eq!(view.session.generation, 2);
    fleet.stop().await;
}

/// Also where the second hostd is killed while it takes over.
#[tokio::test]
async fn one_hostd_after_the_other_takes_it_over() {
    let world = patient();
    world.session("fix").await;
    let killed = world.doomed().await;
    until_is(&killed.fleet, "fix", "running").await;
    killed.kill().await;
    for silent in [true, false, true] {
        world.vmm.silent.store(silent, Ordering::Relaxed);
        let killed = world.doomed().await;
        if !silent {
            until_live(&killed.fleet, "fix").await;
        }
        killed.kill().await;
    }
    world.vmm.silent.store(false, Ordering::Relaxed);
    let fleet = world.fleet().await;
    until_live(&fleet, "fix").await;
    assert_eq!((world.vmm.started(), world.vmm.running()), (1, 1));
    fleet.stop().await;
}

#[tokio::test]
async fn what_cannot_be_taken_over_has_crashed_for_a_cause() {
    for (why, silent, told) in [
        (Some("its process runs another program"), false, "its process runs another program"),
        (None, true, "the guest did not answer within 2 s: "),
    ] {
        let world = World::new();
        world.session("fix").await;
        let killed = world.doomed().await;
        until_is(&killed.fleet, "fix", "running").await;
        killed.kill().await;
        *world.vmm.unknown.lock().unwrap() = why.map(Into::into);
        world.vmm.silent.store(silent, Ordering::Relaxed);
        let guest = world.vmm.vm(0).guest.clone();
        let fleet = world.fleet().await;
        let view = until_is(&fleet, "fix", "crashed").await;
        let expected = format!("crashed: its VM could not be taken over by the next hostd, and was ended: {told}");
        let reason = attention(&view.session, 0).reason;
        assert!(reason.starts_with(&expected), "{reason}");
        assert_eq!(world.vmm.running(), 0);
        // What it could not talk to by itself was synced before its end.
        assert_eq!(guest.frozen.load(Ordering::Relaxed), why.is_some());
        world.vmm.silent.store(false, Ordering::Relaxed);
        fleet.by(sam()).restart("fix", false).await.unwrap();
        until_is(&fleet, "fix", "running").await;
        fleet.stop().await;
    }
}

/// Nothing else has the room meanwhile, keys that were to be pressed are, and who wants to know something of it waits.
#[tokio::test]
async fn what_hinders_it_for_a_moment_ends_nothing() {
    let mut world = World::new();
    world.room = Some(Arc::new(Mutex::new(Room {
        memory_total: 8 << 30,
        memory_available: 6 << 30,
        memory_promised: 0,
        memory_limit: None,
        memory_used: 0,
        disk_total: 100 << 30,
        disk_available: 50 << 30,
        descriptors: 1024,
    })));
    world.session("fix").await;
    let killed = world.doomed().await;
    until_is(&killed.fleet, "fix", "running").await;
    killed.kill().await;
    let (store, records) = Store::open(&world.folder.path().join("store.sqlite")).unwrap();
    let message = Message { id: 9, keys: vec!["y".parse().unwrap()], ..Message::default() };
    let press = Effect::Press { generation: 1, message };
    store.commit(&records[0], vec![press], vec![], vec![]).await.unwrap();
    drop(store);

    world.vmm.passing.store(3, Ordering::Relaxed);
    let fleet = world.fleet().await;
    assert!(fleet.handle("fix").unwrap().live.borrow().is_none());
    assert_eq!(fleet.room().memory_promised, 256 << 20);
    assert!(fleet.serial("fix").await.unwrap().is_some());
    assert_eq!((world.vmm.started(), world.vmm.running()), (1, 1));
    while fleet.room().memory_promised > 0 || !world.vmm.vm(0).guest.output().ends_with(b"y") {
        tokio::task::yield_now().await;
    }
    fleet.stop().await;
}

#[tokio::test]
async fn a_suspend_that_hostd_does_not_wait_for_is_done_by_the_next() {
    let mut world = World::new();
    world.timings.stop = std::time::Duration::from_millis(50);
    world.session("fix").await;
    let killed = world.doomed().await;
    until_is(&killed.fleet, "fix", "running").await;
    let hold = world.vmm.hold.clone().lock_owned().await;
    let fleet = killed.fleet.clone();
    let asked = tokio::spawn(async move { fleet.by(sam()).suspend("fix").await });
    world.vmm.saving.notified().await;
    killed.fleet.close(AtStop::Leave).await;
    asked.abort();
    killed.kill().await;
    assert_eq!(world.vmm.running(), 1);
    drop(hold);
    let fleet = world.fleet().await;
    let view = until_is(&fleet, "fix", "suspended").await;
    assert_eq!((view.session.generation, world.vmm.started()), (1, 1));
    fleet.stop().await;
}

/// Whatever the late suspend comes to while hostd ends: a VM that goes on is not ended.
#[tokio::test]
async fn a_suspend_that_fails_while_hostd_ends_leaves_its_vm() {
    let mut world = World::new();
    world.timings.stop = std::time::Duration::from_millis(50);
    world.session("fix").await;
    let killed = world.doomed().await;
    until_is(&killed.fleet, "fix", "running").await;
    let hold = world.vmm.hold.clone().lock_owned().await;
    *world.vmm.saves.lock().unwrap() = Save::Fails;
    let fleet = killed.fleet.clone();
    let asked = tokio::spawn(async move { fleet.by(sam()).suspend("fix").await });
    world.vmm.saving.notified().await;
    killed.fleet.close(AtStop::Leave).await;
    asked.abort();
    drop(hold);
    let vm = world.vmm.vm(0);
    while vm.guest.frozen.load(Ordering::Relaxed) {
        tokio::task::yield_now().await;
    }
    killed.kill().await;
    assert_eq!(world.vmm.running(), 1);
    let fleet = world.fleet().await;
    until_is(&fleet, "fix", "suspended").await;
    assert_eq!(world.vmm.started(), 1);
    fleet.stop().await;
}

#[tokio::test]
async fn a_fork_that_hostd_does_not_wait_for_is_none() {
    for vms in [AtStop::Leave, AtStop::End] {
        let mut world = World::new();
        world.timings.stop = std::time::Duration::from_millis(50);
        world.session("fix").await;
        let killed = world.doomed().await;
        until_is(&killed.fleet, "fix", "running").await;
        let hold = world.vmm.hold.clone().lock_owned().await;
        let fleet = killed.fleet.clone();
        let asked = tokio::spawn(async move { fleet.fork("fix", ForkOrder::default()).await });
        world.vmm.saving.notified().await;
        killed.fleet.close(vms).await;
        assert!(asked.await.unwrap().is_err());
        drop(hold);
        killed.kill().await;
        assert_eq!(world.vmm.running(), usize::from(vms == AtStop::Leave));
        let fleet = world.fleet().await;
        assert_eq!(fleet.list().len(), 1);
        if vms == AtStop::Leave {
            until_live(&fleet, "fix").await;
            let fork = fleet.fork("fix", ForkOrder::default()).await.unwrap();
            until_is(&fleet, &fork.session.slug, "running").await;
        } else {
            let ended = Lifecycle::Crashed { cause: Cause::HostStopped { in_order: false } };
            assert_eq!(until_is(&fleet, "fix", "crashed").await.session.lifecycle, ended);
        }
        fleet.stop().await;
    }
}

#[tokio::test]
async fn one_that_is_not_taken_over_by_the_time_hostd_is_to_end_is_ended() {
    for vms in [AtStop::Suspend, AtStop::End] {
        let mut world = patient();
        world.timings.stop = std::time::Duration::from_millis(50);
        world.session("fix").await;
        let killed = world.doomed().await;
        until_is(&killed.fleet, "fix", "running").await;
        killed.kill().await;
        world.vmm.silent.store(true, Ordering::Relaxed);
        let fleet = world.fleet().await;
        fleet.close(vms).await;
        assert_eq!(world.vmm.running(), 0);
        world.vmm.silent.store(false, Ordering::Relaxed);
        let fleet = world.fleet().await;
        let ended = Lifecycle::Crashed { cause: Cause::HostStopped { in_order: false } };
        assert_eq!(until_is(&fleet, "fix", "crashed").await.session.lifecycle, ended);
        fleet.stop().await;
    }
}

#[tokio::test]
async fn what_became_of_it_meanwhile_is_told() {
    for (cause, is) in [(Cause::PoweredOff, "stopped"), (Cause::GuestReset("panic".into()), "crashed")] {
        let world = patient();
        world.session("fix").await;
        let killed = world.doomed().await;
        until_is(&killed.fleet, "fix", "running").await;
        killed.kill().await;
        // Its VM ends as it is being taken over.
        world.vmm.silent.store(true, Ordering::Relaxed);
        let fleet = world.fleet().await;
        while world.vmm.vm(0).guest.ended.receiver_count() == 0 {
            tokio::task::yield_now().await;
        }
        world.vmm.vm(0).gone(cause.clone());
        let view = until_is(&fleet, "fix", is).await;
        assert!(attention(&view.session, 0).reason.contains(&cause.to_string()), "{view:?}");
        fleet.stop().await;
    }
}

#[tokio::test]
async fn a_suspend_that_was_wanted_is_done_and_one_of_hostds_own_is_not() {
    for (wanted, is) in [(true, "suspended"), (false, "running")] {
        let world = World::new();
        world.session("fix").await;
        let killed = world.doomed().await;
        until_is(&killed.fleet, "fix", "running").await;
        let hold = world.vmm.hold.clone().lock_owned().await;
        let fleet = killed.fleet.clone();
        let asked = tokio::spawn(async move {
            if wanted { drop(fleet.by(sam()).suspend("fix").await) } else { fleet.stop().await }
        });
        world.vmm.saving.notified().await;
        asked.abort();
        killed.kill().await;
        let vm = world.vmm.vm(0);
        assert!(*vm.stands.borrow() && vm.guest.frozen.load(Ordering::Relaxed));
        drop(hold);
        let fleet = world.fleet().await;
        if wanted {
            let view = until_is(&fleet, "fix", is).await;
            assert!(view.suspended > 0 && !view.session.wanted);
        } else {
            until_is(&fleet, "fix", is).await;
            assert!(!*vm.stands.borrow() && !vm.guest.frozen.load(Ordering::Relaxed));
        }
        fleet.stop().await;
    }
}

#[tokio::test]
async fn it_can_be_deleted_and_hostd_stopped_while_it_is_taken_over() {
    for deletes in [true, false] {
        let world = World::new();
        world.session("fix").await;
        let killed = world.doomed().await;
        until_is(&killed.fleet, "fix", "running").await;
        killed.kill().await;
        world.vmm.silent.store(true, Ordering::Relaxed);
        let fleet = world.fleet().await;
        if deletes {
            fleet.by(sam()).delete("fix").await.unwrap();
            assert!(fleet.list().is_empty() && !world.vmm.vm(0).spec.directory.exists());
        }
        fleet.stop().await;
        assert_eq!(world.vmm.running(), 0);
    }
}

#[tokio::test]
async fn a_hostd_that_is_stopped_leaves_it_to_the_next_or_ends_it() {
    for (vms, is) in [(AtStop::Leave, "running"), (AtStop::End, "stopped")] {
        let world = patient();
        world.session("fix").await;
        let fleet = world.fleet().await;
        until_is(&fleet, "fix", "running").await;
        fleet.close(vms).await;
        let vm = world.vmm.vm(0);
        assert_eq!((world.vmm.running(), *vm.stands.borrow()), (usize::from(is == "running"), false));
        // And what is taken over at that moment, by a guest that says nothing yet.
        world.vmm.silent.store(true, Ordering::Relaxed);
        let next = world.fleet().await;
        next.close(AtStop::Leave).await;
        world.vmm.silent.store(false, Ordering::Relaxed);
        let fleet = world.fleet().await;
        let view = until_is(&fleet, "fix", is).await;
        if is == "running" {
            until_live(&fleet, "fix").await;
            assert_eq!((world.vmm.started(), view.session.generation), (1, 1));
            fleet.by(sam()).send("fix", "goes on").await.unwrap();
            until(&fleet, "fix", |view| view.session.inbox.is_empty()).await;
        } else {
            assert_eq!(view.session.lifecycle, Lifecycle::Stopped { cause: Cause::HostStopped { in_order: true } });
        }
        fleet.stop().await;
        assert_eq!(world.vmm.running(), 0);
    }
}

/// A hook's report is none that is waited for, but what was taken of it is not told to the next hostd again.
#[tokio::test]
async fn what_a_hook_said_is_told_once() {
    use pilothouse_proto::guest::v1::{Report, event};
    let world = World::new();
    world.session("fix").await;
    let killed = world.doomed().await;
    until_is(&killed.fleet, "fix", "running").await;
    let guest = world.vmm.vm(0).guest.clone();
    guest.status("working", "before");
    let said = Report { state: "working".into(), text: "by its hook".into(), ..Report::default() };
    guest.report(event::Event::Report(said));
    until(&killed.fleet, "fix", |view| view.session.reports.hook.is_some()).await;
    let heard = killed.fleet.handle("fix").unwrap().record.borrow().machine.heard;
    killed.kill().await;
    let fleet = world.fleet().await;
    until_live(&fleet, "fix").await;
    guest.status("needs-input", "after");
    until(&fleet, "fix", |view| view.session.text == "after").await;
    assert_eq!((heard, guest.acknowledged.lock().unwrap().last().copied()), (2, Some(2)));
    fleet.stop().await;
}
