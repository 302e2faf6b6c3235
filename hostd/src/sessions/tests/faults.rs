//! hostd dies between any two steps: the next one converges. Run alone, for failpoints are of the whole process:
//! `tests/run.sh faults`, or `cargo test -p hostd --features failpoints --lib faults`.

mod store;

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use hostd_core::{
    ForgeId,
    checks::CheckState,
    pulls::{NewReview, Verdict, Who},
};
use rstest::rstest;
use tokio::sync::Notify;

use super::{
    super::{Fleet, FleetError, ForkOrder},
    waits::{check, with_pull},
    world::{World, sam, until, until_is, until_live},
};
use crate::{forge::PullId, store::ALL_EVENTS};

/// Stops whoever comes first to a failpoint, for ever: to the rest of the world that hostd is dead.
struct Death {
    point: &'static str,
    reached: Arc<Notify>,
    _scenario: fail::FailScenario<'static>,
}

impl Death {
    fn at(point: &'static str) -> Self {
        let scenario = fail::FailScenario::setup();
        Self { point, reached: park_at(point), _scenario: scenario }
    }

    async fn come(self) {
        let reached = tokio::time::timeout(std::time::Duration::from_secs(30), self.reached.notified()).await;
        assert!(reached.is_ok(), "{} was never reached", self.point);
    }
}

/// Has whoever comes first to a failpoint go no further; tells when that is.
fn park_at(point: &str) -> Arc<Notify> {
    let (reached, first) = (Arc::new(Notify::new()), AtomicBool::new(true));
    let tell = reached.clone();
    fail::cfg_callback(point, move || {
        if first.swap(false, Ordering::Relaxed) {
            tell.notify_one();
            loop {
                std::thread::park();
            }
        }
    })
    .unwrap();
    reached
}

/// One test at a time, on a runtime whose parked threads nobody waits for.
fn run(test: impl Future<Output = ()>) {
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(6).enable_all().build().unwrap();
    runtime.block_on(test);
    runtime.shutdown_background();
}

#[rstest]
#[case("start::before-disk")]
#[case("start::half-disk")]
#[case("start::before-vm")]
#[case("start::after-vm")]
#[case("start::before-agent")]
#[case("start::after-agent")]
#[case("store::before-commit")]
#[case("store::after-commit")]
fn a_start_that_hostd_did_not_survive_is_begun_again(#[case] point: &'static str) {
    run(async {
        let world = World::new();
        world.session("fix").await;
        let death = Death::at(point);
        let dead = tokio::spawn({
            let data = world.clone();
            async move { data.fleet().await }
        });
        death.come().await;
        dead.abort();
        let fleet = world.fleet().await;
        let view = until_is(&fleet, "fix", "running").await;
        // A VM of the dead hostd is ended before the next one starts, and the agent runs in that.
        let before = usize::from(matches!(point, "start::after-vm" | "start::before-agent" | "start::after-agent"));
        assert_eq!(world.vmm.started(), before + 1);
        // The first commit comes before the session's first life.
        assert_eq!(view.session.generation, if point.starts_with("start::") { 2 } else { 1 });
        let vm = world.vmm.vm(before);
        assert!(world.vmm.orphans.lock().unwrap().contains(&vm.spec.directory));
        assert!(vm.guest.agent.lock().unwrap().is_some());
        fleet.stop().await;
    });
}

#[rstest]
#[case("suspend::before-snapshot")]
#[case("suspend::after-snapshot")]
#[case("suspend::after-end")]
fn a_suspend_that_hostd_did_not_survive_is_finished(#[case] point: &'static str) {
    run(async {
        let world = World::new();
        world.session("fix").await;
        let dead = world.fleet().await;
        until_is(&dead, "fix", "running").await;
        // An older snapshot is not taken for the new one.
        dead.by(sam()).suspend("fix").await.unwrap();
        dead.by(sam()).resume("fix").await.unwrap();
        let offset = dead.terminal("fix").unwrap().offset();
        let death = Death::at(point);
        tokio::spawn(async move { dead.by(sam()).suspend("fix").await.map(drop) });
        death.come().await;
        let fleet = world.fleet().await;
        let view = until_is(&fleet, "fix", "suspended").await;
        // One that was not whole is written anew, of the VM that was taken over.
        assert!(view.suspended > 0 && world.vmm.started() == 2);
        let resumed = fleet.by(sam()).resume("fix").await.unwrap();
        assert_eq!(resumed.session.generation, 3);
        assert_eq!(fleet.terminal("fix").unwrap().offset(), offset);
        fleet.stop().await;
    });
}

#[rstest]
#[case("merge::before-commit")]
#[case("merge::after-commit")]
fn a_merge_that_hostd_did_not_survive_leaves_one_of_both(#[case] point: &'static str) {
    run(async {
        let world = World::new();
        let id = world.session("fix").await.session.id;
        let dead = world.fleet().await;
        until_is(&dead, "fix", "running").await;
        dead.by(sam()).suspend("fix").await.unwrap();
        dead.by(sam()).resume("fix").await.unwrap();
        let death = Death::at(point);
        tokio::spawn(async move { dead.by(sam()).suspend("fix").await.map(drop) });
        death.come().await;
        let fleet = world.fleet().await;
        let mut record = fleet.handle("fix").unwrap().record.subscribe();
        let merged = record.wait_for(|record| record.machine.layers.len() == 2);
        tokio::time::timeout(std::time::Duration::from_secs(30), merged).await.unwrap().unwrap();
        fleet.by(sam()).resume("fix").await.unwrap();
        let vm = world.vmm.vm(world.vmm.started() - 1);
        assert_eq!(std::fs::read_to_string(&vm.spec.layers[1]).unwrap(), "diskdisk");
        let folder = std::fs::read_dir(world.folder.path().join("sessions").join(id)).unwrap();
        let layers = folder.filter(|file| file.as_ref().unwrap().path().extension().is_some_and(|e| e == "qcow2"));
        assert_eq!((vm.spec.layers.len(), layers.count()), (2, 2));
        fleet.stop().await;
    });
}

#[rstest]
#[case("resume::before-vm")]
#[case("resume::after-vm")]
fn a_resume_that_hostd_did_not_survive_is_begun_again(#[case] point: &'static str) {
    run(async {
        let world = World::new();
        let id = world.session("fix").await.session.id;
        let dead = world.fleet().await;
        until_is(&dead, "fix", "running").await;
        dead.by(sam()).suspend("fix").await.unwrap();
        let folder = world.folder.path().join("sessions").join(id);
        let snapshot = std::fs::read(folder.join("snapshot/manifest.json")).unwrap();
        let death = Death::at(point);
        tokio::spawn(async move { dead.by(sam()).resume("fix").await.map(drop) });
        death.come().await;
        // Whatever it wrote since is of a life that nobody knows of.
        std::fs::write(folder.join("disk-2.qcow2"), "written").unwrap();
        assert_eq!(std::fs::read(folder.join("snapshot/manifest.json")).unwrap(), snapshot);
        let fleet = world.fleet().await;
        let view = until_is(&fleet, "fix", "running").await;
        assert_eq!(view.session.generation, 3);
        let vm = world.vmm.vm(world.vmm.started() - 1);
        assert_eq!(std::fs::read_to_string(&vm.spec.disk).unwrap(), "disk");
        fleet.stop().await;
    });
}

#[rstest]
#[case("fork::before-snapshot", false, false)]
#[case("fork::after-snapshot", false, false)]
#[case("fork::after-pivot", false, true)]
#[case("fork::before-commit", false, true)]
#[case("fork::after-commit", true, true)]
fn a_fork_that_hostd_did_not_survive_is_whole_or_nothing(
    #[case] point: &'static str,
    #[case] made: bool,
    #[case] pivoted: bool,
) {
    run(async {
        let world = World::new();
        let id = world.session("fix").await.session.id;
        let dead = world.fleet().await;
        until_is(&dead, "fix", "running").await;
        let death = Death::at(point);
        tokio::spawn(async move { dead.fork("fix", ForkOrder::default()).await.map(drop) });
        death.come().await;
        let fleet = world.fleet().await;
        let forks: Vec<_> = fleet.list().into_iter().filter(|view| view.session.slug != "fix").collect();
        assert_eq!(forks.len(), usize::from(made));
        for fork in &forks {
            until_is(&fleet, &fork.session.slug, "running").await;
        }
        // It goes on where it stood still, on the layer that it was given, which has a name by then.
        let view = until_live(&fleet, "fix").await;
        assert_eq!((view.session.lifecycle.word(), view.session.generation), ("running", 1));
        until(&fleet, "fix", |view| !view.session.forking).await;
        let vm = world.vmm.vm(0);
        assert!(!*vm.stands.borrow() && !vm.guest.frozen.load(Ordering::Relaxed));
        let machine = fleet.handle("fix").unwrap().record.borrow().machine.clone();
        let own = &machine.layers[1..];
        assert_eq!((own.len(), own.iter().all(|layer| layer.exists())), (usize::from(pivoted), true));
        let top = sessions_of(&world).join(&id).join(&machine.disk);
        assert_eq!(top == vm.spec.disk, !pivoted);
        let sessions = sessions_of(&world);
        assert_eq!(std::fs::read_dir(&sessions).unwrap().count(), 1 + usize::from(made));
        let mut left: Vec<_> = std::fs::read_dir(sessions.join(id)).unwrap().map(|file| file.unwrap().path()).collect();
        left.retain(|file| file.extension().is_some_and(|e| e == "qcow2"));
        left.sort();
        let mut named: Vec<_> = own.iter().chain([&top]).cloned().collect();
        named.sort();
        assert_eq!(left, named);
        let again = fleet.fork("fix", ForkOrder::default()).await.unwrap();
        until_is(&fleet, &again.session.slug, "running").await;
        fleet.stop().await;
    });
}

#[rstest]
#[case("fork::before-snapshot", false, false)]
#[case("fork::after-snapshot", false, false)]
#[case("fork::after-pivot", false, true)]
#[case("checkpoint::after-links", false, true)]
#[case("checkpoint::before-commit", false, true)]
#[case("checkpoint::after-commit", true, true)]
#[case("fork::after-commit", true, true)]
fn a_checkpoint_that_hostd_did_not_survive_is_whole_or_not_there(
    #[case] point: &'static str,
    #[case] taken: bool,
    #[case] pivoted: bool,
) {
    run(async {
        let world = World::new();
        let id = world.session("fix").await.session.id;
        let dead = world.fleet().await;
        until_is(&dead, "fix", "running").await;
        let death = Death::at(point);
        tokio::spawn(async move { dead.by(sam()).checkpoint("fix").await.map(drop) });
        death.come().await;
        let fleet = world.fleet().await;
        let view = until_live(&fleet, "fix").await;
        assert_eq!((view.session.lifecycle.word(), view.session.generation), ("running", 1));
        until(&fleet, "fix", |view| !view.session.forking).await;
        assert!(!*world.vmm.vm(0).stands.borrow());
        let machine = fleet.handle("fix").unwrap().record.borrow().machine.clone();
        assert_eq!((machine.checkpoints.len(), machine.layers.len()), (usize::from(taken), 1 + usize::from(pivoted)));
        let own = sessions_of(&world).join(&id);
        let folders = std::fs::read_dir(own.join("checkpoints")).map_or(0, Iterator::count);
        assert_eq!(folders, usize::from(taken));
        // What is there can be gone back to; another one can be taken either way.
        if taken {
            fleet.by(sam()).restore("fix", 1).await.unwrap();
        }
        let view = fleet.by(sam()).checkpoint("fix").await.unwrap();
        assert_eq!(view.checkpoints.last().unwrap().number, 1 + u64::from(taken));
        fleet.stop().await;
    });
}

#[rstest]
#[case("restore::after-links", false)]
#[case("restore::after-commit", true)]
fn a_session_is_as_it_was_or_back_where_hostd_dies_on_the_way(#[case] point: &'static str, #[case] back: bool) {
    run(async {
        let world = World::new();
        world.session("fix").await;
        let dead = world.fleet().await;
        until_is(&dead, "fix", "running").await;
        let rows = async |fleet: &Fleet| fleet.handle("fix").unwrap().terminal.last_rows(20).await;
        let shows = async |fleet: &Fleet, text: &str| {
            while !rows(fleet).await.iter().any(|row| row == text) {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        };
        world.vmm.vm(0).guest.write(b"then\r\n");
        shows(&dead, "then").await;
        dead.by(sam()).checkpoint("fix").await.unwrap();
        world.vmm.vm(0).guest.write(b"since\r\n");
        shows(&dead, "since").await;
        world.vmm.vm(0).gone(hostd_core::Cause::LinkLost);
        until_is(&dead, "fix", "crashed").await;
        let death = Death::at(point);
        tokio::spawn(async move { dead.by(sam()).restore("fix", 1).await.map(drop) });
        death.come().await;
        let fleet = world.fleet().await;
        if back {
            until_is(&fleet, "fix", "running").await;
            // Its guest has all of its output still, and shows the last of that once, above what was there at the checkpoint.
            shows(&fleet, "since").await;
            let shown = rows(&fleet).await;
            assert_eq!(shown.iter().filter(|row| *row == "since").count(), 1, "{shown:?}");
        } else {
            assert_eq!(fleet.get("fix").unwrap().session.lifecycle.word(), "crashed");
        }
        assert_eq!(world.vmm.started(), 1 + usize::from(back));
        let view = fleet.by(sam()).restore("fix", 1).await.unwrap();
        assert_eq!((view.session.lifecycle.word(), world.vmm.running()), ("running", 1));
        fleet.stop().await;
    });
}

fn sessions_of(world: &World) -> std::path::PathBuf {
    world.folder.path().join("sessions")
}

/// Between any two steps of taking a VM over.
#[rstest]
#[case("adopt::after-vm")]
#[case("adopt::after-go-on")]
#[case("adopt::after-guest")]
#[case("store::before-commit")]
#[case("store::after-commit")]
fn a_hostd_that_dies_while_it_takes_over_leaves_it_to_the_next(#[case] point: &'static str) {
    run(async {
        let world = World::new();
        world.session("fix").await;
        let first = world.doomed().await;
        until_is(&first.fleet, "fix", "running").await;
        let guest = world.vmm.vm(0).guest.clone();
        first.kill().await;
        guest.status("needs-input", "which one?");
        let death = Death::at(point);
        let dead = tokio::spawn({
            let data = world.clone();
            async move { data.fleet().await }
        });
        death.come().await;
        let fleet = world.fleet().await;
        until_live(&fleet, "fix").await;
        let view = until(&fleet, "fix", |view| view.session.text == "which one?").await;
        assert_eq!((view.session.lifecycle.word(), view.session.generation), ("running", 1));
        assert_eq!((world.vmm.started(), world.vmm.running()), (1, 1));
        let story = fleet.events("fix", ALL_EVENTS, 100).await.unwrap();
        assert_eq!(story.iter().filter(|event| event.event.what == "asks").count(), 1);
        fleet.by(sam()).suspend("fix").await.unwrap();
        fleet.stop().await;
        drop(dead);
    });
}

#[test]
fn a_merge_without_room_is_tried_again_and_no_resume_waits_for_it() {
    run(async {
        let world = World::new();
        world.session("fix").await;
        let fleet = world.fleet().await;
        until_is(&fleet, "fix", "running").await;
        let again = async || {
            fleet.by(sam()).suspend("fix").await.unwrap();
            fleet.by(sam()).resume("fix").await.unwrap();
            world.vmm.vm(world.vmm.started() - 1).spec.layers.len()
        };
        let scenario = fail::FailScenario::setup();
        fail::cfg("merge::no-room", "return").unwrap();
        assert_eq!([again().await, again().await, again().await], [2, 3, 4]);
        fleet.by(sam()).suspend("fix").await.unwrap();
        fail::remove("merge::no-room");
        let mut record = fleet.handle("fix").unwrap().record.subscribe();
        let merged = record.wait_for(|record| record.machine.layers.len() == 2);
        tokio::time::timeout(std::time::Duration::from_secs(30), merged).await.unwrap().unwrap();
        drop(scenario);
        fleet.stop().await;
    });
}

#[test]
fn a_fork_does_not_wait_for_room_and_what_it_leaves_is_merged_later() {
    run(async {
        let world = World::new();
        world.session("fix").await;
        let fleet = world.fleet().await;
        until_is(&fleet, "fix", "running").await;
        let scenario = fail::FailScenario::setup();
        fail::cfg("merge::no-room", "return").unwrap();
        for _ in 0..4 {
            fleet.fork("fix", ForkOrder::default()).await.unwrap();
        }
        let vm = world.vmm.vm(0);
        assert_eq!(vm.chain.borrow().len(), 6);
        fail::remove("merge::no-room");
        let mut chain = vm.chain.subscribe();
        let merged = chain.wait_for(|chain| chain[1..] == ["disk".repeat(4), "disk".into()]);
        tokio::time::timeout(std::time::Duration::from_secs(30), merged).await.unwrap().unwrap();
        drop(scenario);
        fleet.stop().await;
    });
}

#[rstest]
#[case("forge::before-update-ref", "open")]
#[case("forge::after-update-ref", "merged")]
fn a_merge_of_a_pull_request_that_hostd_did_not_survive_is_settled(#[case] point: &'static str, #[case] is: &str) {
    run(async {
        let world = World::new();
        let dead = with_pull(&world).await;
        check(&dead, CheckState::Passed).await;
        let id = PullId::new(ForgeId::local(), "widgets", 1);
        let head = dead.forge().pull(&id).await.unwrap().pull.head().to_owned();
        let (who, verdict, body, comments) = (Who::person("ann"), Verdict::Approve, String::new(), vec![]);
        let review = NewReview { who: who.clone(), head: head.clone(), older: false, verdict, body, comments };
        dead.forge().review(&id, review).await.unwrap();
        let death = Death::at(point);
        let merge = (dead.forge().clone(), id.clone(), who.clone(), head.clone());
        tokio::spawn(async move { merge.0.merge(&merge.1, merge.2, &merge.3).await });
        death.come().await;
        let fleet = world.fleet().await;
        assert_eq!(fleet.forge().pull(&id).await.unwrap().pull.state.word(), is);
        // Nothing is in the way of another try.
        let again = fleet.forge().merge(&id, who, &head).await;
        assert_eq!(again.is_ok(), is == "open", "{again:?}");
        fleet.stop().await;
    });
}

#[rstest]
#[case("delete::before-files")]
#[case("delete::after-files")]
fn a_deletion_that_hostd_did_not_survive_is_finished(#[case] point: &'static str) {
    run(async {
        let world = World::new();
        world.session("fix").await;
        let dead = world.fleet().await;
        until_is(&dead, "fix", "running").await;
        let death = Death::at(point);
        tokio::spawn(async move { dead.by(sam()).delete("fix").await });
        death.come().await;
        let fleet = world.fleet().await;
        // Its row tells the next hostd to go on where the dead one was.
        let mut reader = fleet.feed().read("", 0);
        while !matches!(fleet.get("fix"), Err(FleetError::NotFound(_))) {
            reader.next().await;
        }
        assert!(!world.folder.path().join("sessions").join("01J00000000000000000000000").exists());
        fleet.stop().await;
        assert!(world.fleet().await.list().is_empty());
    });
}
