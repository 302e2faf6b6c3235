//! Checkpoints: taken of a session that runs on, gone back to, forked from.

use std::{fs, path::PathBuf, sync::atomic::Ordering};

use hostd_core::{Cause, Lifecycle, recipe::Checkpoints};

use super::world::{Save, World, sam, until, until_is, until_live};
use crate::{
    sessions::{Fleet, FleetError, ForkOrder},
    store::ALL_EVENTS,
};

/// Names in the folder of the session's checkpoints, sorted.
fn folders(world: &World, id: &str) -> Vec<String> {
    let folder = world.folder.path().join("sessions").join(id).join("checkpoints");
    let mut names: Vec<_> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn numbers(fleet: &Fleet, slug: &str) -> Vec<u64> {
    fleet.get(slug).unwrap().checkpoints.iter().map(|known| known.number).collect()
}

async fn told(fleet: &Fleet, what: &str) -> usize {
    let story = fleet.events("fix", ALL_EVENTS, 1000).await.unwrap();
    story.iter().filter(|event| event.event.what == what).count()
}

#[tokio::test]
async fn a_session_runs_on_and_goes_back_to_its_checkpoint_after_a_crash() {
    let world = World::new();
    let id = world.session("fix").await.session.id;
    let fleet = world.fleet().await;
    until_is(&fleet, "fix", "running").await;
    let guest = world.vmm.vm(0).guest.clone();
    guest.status("working", "before");
    until(&fleet, "fix", |view| view.session.text == "before").await;
    let view = fleet.by(sam()).checkpoint("fix").await.unwrap();
    assert_eq!((view.session.lifecycle, view.session.generation, world.vmm.started()), (Lifecycle::Running, 1, 1));
    let [taken] = &view.checkpoints[..] else { panic!("{:?}", view.checkpoints) };
    assert!(taken.number == 1 && taken.bytes > 0 && taken.stood > 0 && !taken.automatic, "{taken:?}");
    assert!(taken.needs.contains(&PathBuf::from("/base.ext4")));
    assert_eq!(folders(&world, &id), ["1"]);
    // It runs on, and what it does then is not in it.
    guest.status("needs-input", "after");
    until(&fleet, "fix", |view| view.session.text == "after").await;
    fleet.by(sam()).send("fix", "read in vain").await.unwrap();
    until(&fleet, "fix", |view| view.session.inbox.is_empty()).await;
    world.vmm.vm(0).gone(Cause::GuestReset("panic".into()));
    until_is(&fleet, "fix", "crashed").await;

    let error = fleet.by(sam()).restore("fix", 7).await.unwrap_err();
    assert!(matches!(&error, FleetError::Denied(why) if why.contains("no checkpoint 7; it has 1")), "{error}");
    let view = fleet.by(sam()).restore("fix", 1).await.unwrap();
    assert_eq!((view.session.lifecycle, view.session.generation), (Lifecycle::Running, 3));
    assert_eq!((view.session.text.as_str(), view.session.sent), ("before", 1));
    // It lies on what was frozen, and on nothing else of before.
    let spec = world.vmm.vm(1).spec.clone();
    assert_eq!((spec.layers.len(), spec.disk.file_name().unwrap()), (2, "disk-3.qcow2".as_ref()));
    let own = world.folder.path().join("sessions").join(&id);
    let after = fs::read_dir(&own).unwrap().filter(|entry| {
        let name = entry.as_ref().unwrap().file_name().into_string().unwrap();
        name.starts_with("disk-1-") && name.ends_with(".qcow2")
    });
    assert_eq!(after.count(), 0);
    assert_eq!((told(&fleet, "checkpoint").await, told(&fleet, "restored").await), (1, 1));
    // It can do so again, also while it runs, and after a suspend.
    fleet.by(sam()).restore("fix", 1).await.unwrap();
    assert_eq!((world.vmm.running(), fleet.get("fix").unwrap().session.generation), (1, 5));
    fleet.by(sam()).suspend("fix").await.unwrap();
    fleet.by(sam()).restore("fix", 1).await.unwrap();
    assert_eq!((world.vmm.running(), numbers(&fleet, "fix")), (1, vec![1]));
    fleet.by(sam()).delete("fix").await.unwrap();
    assert!(!own.exists());
    fleet.stop().await;
}

/// What there is now is not given up for what cannot be gone back to.
#[tokio::test]
async fn a_damaged_one_is_not_gone_back_to() {
    let world = World::new();
    let id = world.session("fix").await.session.id;
    let fleet = world.fleet().await;
    until_is(&fleet, "fix", "running").await;
    fleet.by(sam()).checkpoint("fix").await.unwrap();
    let own = world.folder.path().join("sessions").join(&id);
    let memory = own.join("checkpoints/1/snapshot/memory.zst");
    let whole = fs::read(&memory).unwrap();
    fs::write(&memory, vec![b'x'; whole.len()]).unwrap();
    let error = fleet.by(sam()).restore("fix", 1).await.unwrap_err();
    assert!(matches!(&error, FleetError::NotRestored(why) if why.contains("nothing was changed")), "{error}");
    let view = fleet.get("fix").unwrap();
    assert_eq!((view.session.lifecycle, view.session.generation, world.vmm.running()), (Lifecycle::Running, 1, 1));
    fs::write(&memory, whole).unwrap();
    fleet.by(sam()).restore("fix", 1).await.unwrap();
    fleet.stop().await;
}

#[tokio::test]
async fn a_fork_is_made_from_a_checkpoint_whatever_becomes_of_the_session() {
    let world = World::new();
    world.session("fix").await;
    let fleet = world.fleet().await;
    until_is(&fleet, "fix", "running").await;
    fleet.by(sam()).checkpoint("fix").await.unwrap();
    world.vmm.vm(0).gone(Cause::LinkLost);
    until_is(&fleet, "fix", "crashed").await;
    let order = || ForkOrder { from: Some(1), ..ForkOrder::default() };
    let fork = fleet.fork("fix", order()).await.unwrap().session.slug;
    let view = until_is(&fleet, &fork, "running").await;
    assert_eq!((view.checkpoints.len(), view.session.forked_from.is_some()), (0, true));
    assert_eq!(fleet.get("fix").unwrap().session.lifecycle.word(), "crashed");
    fleet.by(sam()).delete("fix").await.unwrap();
    fleet.by(sam()).suspend(&fork).await.unwrap();
    fleet.by(sam()).resume(&fork).await.unwrap();
    assert!(matches!(fleet.fork(&fork, order()).await, Err(FleetError::Denied(why)) if why.contains("it has none")));
    fleet.stop().await;
}

/// The layers of the kept ones stay apart for as long as they are needed, and the chain stays short.
#[tokio::test]
async fn the_last_ones_are_kept_and_their_layers_are_not_merged_away() {
    let world = World::new();
    let id = world.session("fix").await.session.id;
    let fleet = world.fleet().await;
    until_is(&fleet, "fix", "running").await;
    let vm = world.vmm.vm(0);
    for _ in 0..12 {
        fleet.by(sam()).checkpoint("fix").await.unwrap();
        let longest = 2 + 2 + 3 + 1;
        assert!(vm.chain.borrow().len() <= longest, "{:?}", vm.chain.borrow());
    }
    assert_eq!(numbers(&fleet, "fix"), [10, 11, 12]);
    assert_eq!(folders(&world, &id), ["10", "11", "12"]);
    vm.gone(Cause::LinkLost);
    until_is(&fleet, "fix", "crashed").await;
    // Each has all that was written until then, however it was merged since.
    for (number, layers) in [(10, 10), (12, 12), (11, 11)] {
        fleet.by(sam()).restore("fix", number).await.unwrap();
        let last = world.vmm.vm(world.vmm.started() - 1);
        assert_eq!(last.chain.borrow().concat(), "disk".repeat(layers + 1), "{number}");
    }
    fleet.stop().await;
}

#[tokio::test]
async fn one_that_fails_leaves_nothing_and_says_so() {
    let world = World::new();
    let id = world.session("fix").await.session.id;
    let fleet = world.fleet().await;
    until_is(&fleet, "fix", "running").await;
    for broken in ["no room", "the disk is stuck"] {
        match broken {
            "no room" => *world.vmm.saves.lock().unwrap() = Save::Fails,
            _ => world.vmm.stuck.store(true, Ordering::Relaxed),
        }
        let error = fleet.by(sam()).checkpoint("fix").await.unwrap_err();
        assert!(matches!(&error, FleetError::NotCheckpointed(why) if why.contains(broken)), "{error}");
        let view = until(&fleet, "fix", |view| !view.session.forking).await;
        assert_eq!(view.session.lifecycle, Lifecycle::Running);
        assert!(view.session.notice.contains(broken), "{}", view.session.notice);
        assert_eq!(folders(&world, &id), Vec::<String>::new());
    }
    world.vmm.stuck.store(false, Ordering::Relaxed);
    let view = fleet.by(sam()).checkpoint("fix").await.unwrap();
    assert_eq!((view.session.notice.as_str(), view.checkpoints.len()), ("", 1));
    assert_eq!(told(&fleet, "checkpoint-failed").await, 2);
    fleet.by(sam()).suspend("fix").await.unwrap();
    let error = fleet.by(sam()).checkpoint("fix").await.unwrap_err();
    assert!(matches!(&error, FleetError::Denied(why) if why.contains("on disk already")), "{error}");
    fleet.stop().await;
}

#[tokio::test]
async fn one_that_the_disk_has_no_room_for_is_not_begun() {
    let mut world = World::new();
    let room = hostd_core::capacity::Room {
        memory_total: 8 << 30,
        memory_available: 6 << 30,
        memory_promised: 0,
        memory_limit: None,
        memory_used: 0,
        disk_total: 100 << 30,
        disk_available: 50 << 30,
        descriptors: 1024,
    };
    let room = std::sync::Arc::new(std::sync::Mutex::new(room));
    world.room = Some(room.clone());
    world.session("fix").await;
    let fleet = world.fleet().await;
    until_is(&fleet, "fix", "running").await;
    room.lock().unwrap().disk_available = 1 << 20;
    let error = fleet.by(sam()).checkpoint("fix").await.unwrap_err();
    assert!(matches!(&error, FleetError::NotCheckpointed(why) if why.contains("64 MiB of the host's disk")), "{error}");
    assert!(!*world.vmm.vm(0).stands.borrow());
    fleet.stop().await;
}

/// Half of one is none, and the layer that it put on the disk gets its name.
#[tokio::test]
async fn a_hostd_that_dies_in_one_leaves_none() {
    let world = World::new();
    let id = world.session("fix").await.session.id;
    let killed = world.doomed().await;
    until_is(&killed.fleet, "fix", "running").await;
    killed.fleet.by(sam()).checkpoint("fix").await.unwrap();
    let hold = world.vmm.hold.clone().lock_owned().await;
    let fleet = killed.fleet.clone();
    let asked = tokio::spawn(async move { drop(fleet.by(sam()).checkpoint("fix").await) });
    // The first one has told of itself, too.
    world.vmm.saving.notified().await;
    world.vmm.saving.notified().await;
    assert_eq!(folders(&world, &id), ["1", "2"]);
    asked.abort();
    killed.kill().await;
    drop(hold);
    let fleet = world.fleet().await;
    until_live(&fleet, "fix").await;
    assert_eq!((folders(&world, &id), numbers(&fleet, "fix")), (vec!["1".to_owned()], vec![1]));
    fleet.by(sam()).checkpoint("fix").await.unwrap();
    fleet.by(sam()).restore("fix", 2).await.unwrap();
    fleet.stop().await;
}

#[tokio::test]
async fn the_schedule_takes_one_where_something_has_happened() {
    let world = World::new();
    let schedule = Checkpoints { every: 0, keep: 2 };
    world.session_with("fix", |record| record.machine.checkpoint = Some(schedule)).await;
    let fleet = world.fleet().await;
    let view = until(&fleet, "fix", |view| !view.checkpoints.is_empty()).await;
    assert!(view.checkpoints[0].automatic);
    // Nothing happens: however often it is due, there is no other. What its start did may have been one.
    let newest = || numbers(&fleet, "fix").last().copied().unwrap_or_default();
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    let settled = newest();
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    assert!(newest() == settled && settled < 4, "{settled}, {}", newest());
    world.vmm.vm(0).guest.write(b"it works\r\n");
    until(&fleet, "fix", |view| view.checkpoints.iter().any(|known| known.number > settled)).await;
    fleet.by(sam()).suspend("fix").await.unwrap();
    let last = numbers(&fleet, "fix").last().copied();
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    assert_eq!(numbers(&fleet, "fix").last().copied(), last);
    fleet.stop().await;
}
