//! The store cannot be written for a while, with each error that SQLite has for it: sessions stand still and go on.

use std::{fs, sync::Arc, time::Duration};

use hostd_core::{Input, Lifecycle, Turn};
use rstest::rstest;
use rusqlite::ffi::{SQLITE_FULL, SQLITE_IOERR_FSYNC, SQLITE_IOERR_WRITE};
use tokio::time::timeout;

use super::{
    super::{
        super::{Fleet, FleetError, ForkOrder},
        world::{World, sam, until, until_is, until_live},
    },
    park_at, run,
};
use crate::{
    store::{ALL_EVENTS, Record, Store},
    testing::FakeVm,
};

/// Longest that anything here may take.
const DEADLINE: Duration = Duration::from_secs(30);

/// A store that can be made to fail.
struct Disk {
    code: i32,
    _scenario: fail::FailScenario<'static>,
}

impl Disk {
    /// It works so far.
    fn works(code: i32) -> Self {
        Self { code, _scenario: fail::FailScenario::setup() }
    }

    /// Every commit fails from now on.
    fn fails(&self) {
        fail::cfg("store::fails", &format!("return({})", self.code)).unwrap();
    }

    /// Every commit fails from the moment on at which somebody comes to this point.
    fn fails_at(&self, point: &str) {
        let code = self.code;
        fail::cfg_callback(point, move || fail::cfg("store::fails", &format!("return({code})")).unwrap()).unwrap();
    }

    fn is_mended(&self, point: &str) {
        fail::remove(point);
        fail::remove("store::fails");
    }
}

async fn running(world: &World) -> (Arc<Fleet>, Arc<FakeVm>) {
    world.session("fix").await;
    let fleet = world.fleet().await;
    until_is(&fleet, "fix", "running").await;
    let vm = world.vmm.vm(0);
    (fleet, vm)
}

/// Waits until people are told that the session stands still.
async fn stands_still(fleet: &Fleet) {
    let view = until(fleet, "fix", |view| view.attention.word == "stands still").await;
    let told = &view.attention.reason;
    assert!(told.starts_with("stands still, because what happens to it cannot be kept: "), "{told}");
    assert!(told.ends_with("and it goes on by itself"), "{told}");
    assert_eq!((view.attention.turn, &view.session.notice), (Turn::You, told));
    assert_eq!(view.attention_at(0), view.attention);
}

async fn goes_on(fleet: &Fleet, vm: &FakeVm) {
    until(fleet, "fix", |view| view.attention.word != "stands still").await;
    timeout(DEADLINE, vm.stands.subscribe().wait_for(|stands| !stands)).await.unwrap().unwrap();
}

/// The session as the next hostd would find it.
fn kept(world: &World) -> Record {
    // Another connection, so that nothing is seen but what was committed.
    let copy = tempfile::tempdir().unwrap();
    for file in ["store.sqlite", "store.sqlite-wal"] {
        let _ = fs::copy(world.folder.path().join(file), copy.path().join(file));
    }
    Store::open(&copy.path().join("store.sqlite")).unwrap().1.remove(0)
}

fn is_refused<T>(result: Result<T, FleetError>) -> bool {
    matches!(result, Err(FleetError::StandsStill(why)) if why.contains("goes on by itself"))
}

#[rstest]
#[case::full(SQLITE_FULL, "the host's disk is full; delete sessions")]
#[case::fsync(
    SQLITE_IOERR_FSYNC,
    "the store could not be written: disk I/O error; see to the disk of hostd's data folder"
)]
#[case::write(
    SQLITE_IOERR_WRITE,
    "the store could not be written: disk I/O error; see to the disk of hostd's data folder"
)]
fn what_cannot_be_committed_is_neither_shown_nor_acknowledged_and_waits_in_order(#[case] code: i32, #[case] why: &str) {
    run(async {
        let (world, disk) = (World::new(), Disk::works(code));
        let (fleet, vm) = running(&world).await;
        vm.guest.status("working", "before");
        until(&fleet, "fix", |view| view.session.text == "before").await;
        disk.fails();
        for text in ["one?", "two?", "three?"] {
            vm.guest.status("needs-input", text);
        }
        stands_still(&fleet).await;
        let view = fleet.get("fix").unwrap();
        assert!(view.attention.reason.contains(why), "{}", view.attention.reason);
        assert_eq!((view.session.text.as_str(), *vm.stands.borrow()), ("before", true));
        assert_eq!(kept(&world).session.text, "before");
        assert_eq!(*vm.guest.acknowledged.lock().unwrap(), [0]);
        let hands = fleet.by(sam());
        assert!(is_refused(hands.send("fix", "hello").await) && is_refused(hands.suspend("fix").await));
        assert!(is_refused(fleet.fork("fix", ForkOrder::default()).await));
        disk.is_mended("");
        goes_on(&fleet, &vm).await;
        until(&fleet, "fix", |view| view.session.text == "three?").await;
        let story = fleet.events("fix", ALL_EVENTS, 100).await.unwrap();
        let asks: Vec<_> = story.iter().filter(|e| e.event.what == "asks").map(|e| e.event.text.as_str()).collect();
        assert_eq!(asks, ["one?", "two?", "three?"]);
        assert_eq!(kept(&world).machine.heard, 4);
        hands.send("fix", "hello").await.unwrap();
        fleet.stop().await;
    });
}

#[rstest]
#[case::full(SQLITE_FULL)]
#[case::fsync(SQLITE_IOERR_FSYNC)]
fn a_vm_does_not_go_on_to_a_layer_that_no_record_names(#[case] code: i32) {
    run(async {
        let (world, disk) = (World::new(), Disk::works(code));
        let (fleet, vm) = running(&world).await;
        disk.fails_at("fork::before-commit");
        // Whoever asked is told at once.
        let forked = timeout(DEADLINE, fleet.fork("fix", ForkOrder::default())).await.unwrap();
        assert!(matches!(forked, Err(FleetError::Store(_))));
        stands_still(&fleet).await;
        assert_eq!((*vm.stands.borrow(), vm.chain.borrow().len()), (true, 3));
        assert_eq!(fleet.get("fix").unwrap().session.lifecycle, Lifecycle::Running);
        disk.is_mended("fork::before-commit");
        goes_on(&fleet, &vm).await;
        let view = until(&fleet, "fix", |view| !view.session.forking).await;
        assert_eq!((view.session.lifecycle, fleet.list().len()), (Lifecycle::Running, 1));
        assert_eq!(fs::read_dir(world.folder.path().join("sessions")).unwrap().count(), 1);
        let fork = fleet.fork("fix", ForkOrder::default()).await.unwrap();
        until_is(&fleet, &fork.session.slug, "running").await;
        fleet.stop().await;
    });
}

#[test]
fn a_hostd_that_dies_beside_a_layer_without_a_name_loses_nothing() {
    run(async {
        let (world, disk) = (World::new(), Disk::works(SQLITE_IOERR_FSYNC));
        let (dead, vm) = running(&world).await;
        vm.guest.status("needs-input", "told");
        until(&dead, "fix", |view| view.session.text == "told").await;
        disk.fails_at("fork::before-commit");
        assert!(dead.fork("fix", ForkOrder::default()).await.is_err());
        stands_still(&dead).await;
        let parked = park_at("store::before-commit");
        timeout(DEADLINE, parked.notified()).await.unwrap();
        fail::remove("store::before-commit");
        disk.is_mended("fork::before-commit");
        let fleet = world.fleet().await;
        // Its layer has a name by the time that it writes to it: see the fake.
        let view = until_live(&fleet, "fix").await;
        assert_eq!((view.session.text.as_str(), fleet.list().len(), world.vmm.started()), ("told", 1, 1));
        assert_eq!((*vm.stands.borrow(), vm.chain.borrow().len()), (false, 3));
        assert_eq!(kept(&world).machine.layers.len(), 2);
        fleet.stop().await;
    });
}

#[test]
fn each_step_of_a_life_waits_for_its_commit() {
    run(async {
        let (world, disk) = (World::new(), Disk::works(SQLITE_IOERR_FSYNC));
        world.session("fix").await;
        // Where it stands, and what it comes to once the store can be written.
        let waits = async |fleet: &Fleet, point: &str, meanwhile: &str, then: &str| {
            stands_still(fleet).await;
            assert_eq!(fleet.get("fix").unwrap().session.lifecycle.word(), meanwhile);
            let vm = world.vmm.vm(world.vmm.started() - 1);
            assert!(*vm.stands.borrow() || vm.guest.ended.borrow().is_some(), "its VM runs");
            disk.is_mended(point);
            until(fleet, "fix", |view| view.attention.word != "stands still").await;
            until_is(fleet, "fix", then).await;
            assert_eq!(kept(&world).session.lifecycle.word(), then);
            assert!(vm.guest.ended.borrow().is_some() || !*vm.stands.borrow(), "its VM stands");
        };
        disk.fails_at("start::after-agent");
        let fleet = world.fleet().await;
        waits(&fleet, "start::after-agent", "starting", "running").await;
        disk.fails_at("suspend::after-end");
        assert!(is_refused(timeout(DEADLINE, fleet.by(sam()).suspend("fix")).await.unwrap()));
        waits(&fleet, "suspend::after-end", "suspending", "suspended").await;
        disk.fails_at("resume::after-vm");
        assert!(is_refused(timeout(DEADLINE, fleet.by(sam()).resume("fix")).await.unwrap()));
        waits(&fleet, "resume::after-vm", "resuming", "running").await;
        disk.fails_at("merge::before-commit");
        fleet.by(sam()).suspend("fix").await.unwrap();
        waits(&fleet, "merge::before-commit", "suspended", "suspended").await;
        let layers = kept(&world).machine.layers;
        assert_eq!(layers.len(), 2);
        assert_eq!(fs::read_to_string(&layers[1]).unwrap(), "diskdisk");
        fleet.by(sam()).resume("fix").await.unwrap();
        fleet.stop().await;
    });
}

#[test]
fn a_deletion_takes_the_place_of_what_cannot_be_committed() {
    run(async {
        let (mut world, disk) = (World::new(), Disk::works(SQLITE_IOERR_FSYNC));
        world.timings.store_pause = DEADLINE;
        let (fleet, vm) = running(&world).await;
        disk.fails();
        vm.guest.status("needs-input", "which one?");
        timeout(DEADLINE, vm.stands.subscribe().wait_for(|stands| *stands)).await.unwrap().unwrap();
        // Nothing of it is removed where that cannot be kept either.
        let deleted = timeout(DEADLINE, fleet.by(sam()).delete("fix")).await.unwrap();
        assert!(matches!(deleted, Err(FleetError::Store(_))));
        assert!(vm.spec.disk.exists() && vm.guest.ended.borrow().is_none());
        disk.is_mended("");
        timeout(DEADLINE, fleet.by(sam()).delete("fix")).await.unwrap().unwrap();
        assert!(fleet.list().is_empty() && world.vmm.running() == 0 && !vm.spec.directory.exists());
        fleet.stop().await;
    });
}

#[test]
fn a_deletion_makes_room_on_a_full_disk_and_is_finished_when_there_is_some() {
    run(async {
        let (world, disk) = (World::new(), Disk::works(SQLITE_FULL));
        let (fleet, vm) = running(&world).await;
        disk.fails();
        vm.guest.status("needs-input", "which one?");
        stands_still(&fleet).await;
        assert!(is_refused(timeout(DEADLINE, fleet.by(sam()).delete("fix")).await.unwrap()));
        assert!(world.vmm.running() == 0 && !vm.spec.directory.exists());
        assert!(is_refused(timeout(DEADLINE, fleet.by(sam()).delete("fix")).await.unwrap()));
        disk.is_mended("");
        let mut reader = fleet.feed().read("", 0);
        while !matches!(fleet.get("fix"), Err(FleetError::NotFound(_))) {
            timeout(DEADLINE, reader.next()).await.unwrap();
        }
        fleet.stop().await;
        assert!(world.fleet().await.list().is_empty());
    });
}

#[test]
fn hostd_stops_although_nothing_can_be_committed() {
    run(async {
        let (world, disk) = (World::new(), Disk::works(SQLITE_IOERR_FSYNC));
        let (fleet, vm) = running(&world).await;
        vm.guest.status("working", "told");
        until(&fleet, "fix", |view| view.session.text == "told").await;
        disk.fails();
        vm.guest.status("needs-input", "not told");
        stands_still(&fleet).await;
        let handle = fleet.handle("fix").unwrap();
        timeout(DEADLINE, fleet.stop()).await.unwrap();
        assert!(matches!(handle.command(sam(), Input::Suspend).await, Err(FleetError::Stopping)));
        assert_eq!(world.vmm.running(), 0);
        disk.is_mended("");
        let fleet = world.fleet().await;
        let view = until_is(&fleet, "fix", "crashed").await;
        assert_eq!(view.session.text, "told");
        fleet.by(sam()).restart("fix", false).await.unwrap();
        until_is(&fleet, "fix", "running").await;
        fleet.stop().await;
    });
}
