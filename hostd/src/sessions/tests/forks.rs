use std::{
    fs, future::Future, os::unix::fs::MetadataExt as _, path::PathBuf, pin::pin, sync::atomic::Ordering, task,
    time::Duration,
};

use hostd_core::{Cause, Lifecycle};

use super::{
    super::{Fleet, FleetError, ForkOrder, SessionView},
    world::{FakeVm, Save, World, sam, until, until_is},
};
use crate::terminals::{AttachOptions, Shown};

/// For a merge.
const DEADLINE: Duration = Duration::from_secs(30);

fn order(title: &str) -> ForkOrder {
    ForkOrder { title: title.into(), owner: "kim".into(), ..ForkOrder::default() }
}

async fn forked(fleet: &Fleet) -> SessionView {
    let fork = fleet.fork("fix", order("")).await.unwrap();
    until_is(fleet, &fork.session.slug, "running").await
}

fn folders(world: &World) -> Vec<PathBuf> {
    fs::read_dir(world.folder.path().join("sessions")).unwrap().map(|entry| entry.unwrap().path()).collect()
}

async fn screen(fleet: &Fleet, slug: &str) -> String {
    let viewer =
        fleet.terminal(slug).unwrap().attach(AttachOptions { observe: true, ..AttachOptions::default() }).await;
    match viewer.next().await {
        Shown::Screen(screen) => String::from_utf8_lossy(&screen.contents).into_owned(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_running_session_is_forked_and_runs_on() {
    let world = World::new();
    let original = world.session("fix").await.session;
    let fleet = world.fleet().await;
    until_is(&fleet, "fix", "running").await;
    world.vmm.vm(0).guest.write(b"before the fork\r\n");
    world.vmm.vm(0).guest.status("idle", "thinking");
    until(&fleet, "fix", |v| v.session.text == "thinking").await;
    let fork = forked(&fleet).await.session;
    assert_eq!((fork.title.as_str(), fork.owner.as_str()), ("fork of fix", "kim"));
    assert!(fork.slug.starts_with("fork-of-fix-") && fork.branch_prefix() != original.branch_prefix());
    assert_eq!((&fork.forked_from, fork.generation, fork.text.as_str()), (&Some(original.id), 2, "thinking"));
    let first = until(&fleet, "fix", |v| !v.session.forking).await.session;
    assert_eq!((first.lifecycle, first.generation), (Lifecycle::Running, 1));
    // The guest's memory, and what was on its screen.
    assert!(screen(&fleet, &fork.slug).await.contains("before the fork"));
    world.vmm.vm(0).guest.write(b"here alone\r\n");
    world.vmm.vm(1).guest.write(b"there alone\r\n");
    let output = String::from_utf8(world.vmm.vm(1).guest.output()).unwrap();
    assert_eq!(output, "ready\r\nbefore the fork\r\nthere alone\r\n");
    // Both write to layers of their own above the one that they share, which neither can lose to the other.
    let (here, there) = (&world.vmm.vm(0).spec, &world.vmm.vm(1).spec);
    assert_ne!(here.disk, there.disk);
    let shared = there.layers.last().unwrap();
    assert!(shared.starts_with(&there.directory));
    assert_eq!(fs::metadata(shared).unwrap().ino(), fs::metadata(&here.disk).unwrap().ino());
    assert_eq!(fs::metadata(shared).unwrap().mode() & 0o222, 0);
    fleet.by(sam()).delete("fix").await.unwrap();
    assert!(shared.exists());
    fleet.by(sam()).suspend(&fork.slug).await.unwrap();
    fleet.by(sam()).resume(&fork.slug).await.unwrap();
    fleet.by(sam()).delete(&fork.slug).await.unwrap();
    assert_eq!(folders(&world), Vec::<PathBuf>::new());
    fleet.stop().await;
}

#[tokio::test]
async fn a_suspended_session_is_forked_and_stays_so() {
    let world = World::new();
    world.session("fix").await;
    let fleet = world.fleet().await;
    until_is(&fleet, "fix", "running").await;
    fleet.by(sam()).suspend("fix").await.unwrap();
    let started = world.vmm.started();
    let named = fleet.fork("fix", order(" another \n way ")).await.unwrap();
    assert_eq!(named.session.title, "another way");
    let forked = forked(&fleet).await;
    until_is(&fleet, &named.session.slug, "running").await;
    assert_eq!(fleet.get("fix").unwrap().session.lifecycle, Lifecycle::Suspended);
    assert_eq!(world.vmm.started(), started + 2);
    // A fork of a fork, when the first two are gone.
    fleet.by(sam()).delete("fix").await.unwrap();
    let grandchild = fleet.fork(&forked.session.slug, order("")).await.unwrap();
    fleet.by(sam()).delete(&forked.session.slug).await.unwrap();
    let grandchild = until_is(&fleet, &grandchild.session.slug, "running").await;
    assert_eq!(grandchild.session.title, "fork of fork of fix");
    fleet.stop().await;
}

#[tokio::test]
async fn a_fork_that_fails_leaves_nothing_and_the_session_runs_on() {
    let world = World::new();
    let id = world.session("fix").await.session.id;
    let fleet = world.fleet().await;
    until_is(&fleet, "fix", "running").await;
    for broken in ["no room", "the disk is stuck"] {
        match broken {
            "no room" => *world.vmm.saves.lock().unwrap() = Save::Fails,
            _ => world.vmm.stuck.store(true, Ordering::Relaxed),
        }
        let error = fleet.fork("fix", order("")).await.unwrap_err();
        assert!(matches!(&error, FleetError::NotForked(why) if why.contains(broken)), "{error}");
        let view = until(&fleet, "fix", |v| !v.session.forking).await;
        assert_eq!(view.session.lifecycle, Lifecycle::Running);
        assert_eq!(folders(&world), [world.folder.path().join("sessions").join(&id)]);
    }
    world.vmm.stuck.store(false, Ordering::Relaxed);
    assert_eq!(forked(&fleet).await.session.lifecycle, Lifecycle::Running);
    world.vmm.vm(0).gone(Cause::LinkLost);
    until_is(&fleet, "fix", "crashed").await;
    assert!(matches!(fleet.fork("fix", order("")).await, Err(FleetError::Denied(why)) if why.contains("no memory")));
    fleet.stop().await;
}

/// Waits until the VM holds so many layers with the one that it writes to, and returns the last but that one.
async fn holds(vm: &FakeVm, layers: usize) -> String {
    let mut chain = vm.chain.subscribe();
    let short = tokio::time::timeout(DEADLINE, chain.wait_for(|chain| chain.len() == layers)).await;
    short.unwrap_or_else(|_| panic!("not in time: {:?}", vm.chain.borrow())).unwrap()[layers - 2].clone()
}

#[tokio::test]
async fn a_vm_that_is_forked_does_not_gather_layers() {
    let world = World::new();
    let id = world.session("fix").await.session.id;
    let folder = world.folder.path().join("sessions").join(&id);
    let fleet = world.fleet().await;
    until_is(&fleet, "fix", "running").await;
    let vm = world.vmm.vm(0);
    for forks in 1..=6 {
        let fork = forked(&fleet).await;
        assert_eq!(holds(&vm, 3).await, "disk".repeat(forks));
        fleet.by(sam()).delete(&fork.session.slug).await.unwrap();
    }
    // What it does not hold is gone, and what is resumed has all of it.
    fleet.by(sam()).suspend("fix").await.unwrap();
    fleet.by(sam()).resume("fix").await.unwrap();
    assert_eq!(holds(&world.vmm.vm(world.vmm.started() - 1), 3).await, "disk".repeat(7));
    let files = || fs::read_dir(&folder).unwrap().filter(|e| is_layer(e.as_ref().unwrap())).count();
    let gone = async {
        while files() != 2 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, gone).await.unwrap();
    fleet.stop().await;
}

fn is_layer(entry: &fs::DirEntry) -> bool {
    entry.path().extension().is_some_and(|extension| extension == "qcow2")
}

#[tokio::test]
async fn a_fork_waits_for_a_merge() {
    let world = World::new();
    world.session("fix").await;
    let fleet = world.fleet().await;
    until_is(&fleet, "fix", "running").await;
    let (vm, merging) = (world.vmm.vm(0), world.vmm.merging.lock().await);
    for _ in 0..2 {
        fleet.fork("fix", order("")).await.unwrap();
    }
    until(&fleet, "fix", |view| !view.session.forking).await;
    let mut waiting = [pin!(fleet.fork("fix", order(""))), pin!(fleet.fork("fix", order("")))];
    for fork in &mut waiting {
        assert!(poll(fork).is_pending());
    }
    // What it is told after them is done before them.
    fleet.by(sam()).resume("fix").await.unwrap();
    for fork in &mut waiting {
        assert!(poll(fork).is_pending());
    }
    assert_eq!(vm.chain.borrow().len(), 4);
    drop(merging);
    for fork in waiting {
        fork.await.unwrap();
    }
    assert_eq!(holds(&vm, 3).await, "disk".repeat(4));
    fleet.stop().await;
}

/// Begins or continues it without waiting.
fn poll<F: Future + Unpin>(future: &mut F) -> task::Poll<F::Output> {
    pin!(future).poll(&mut task::Context::from_waker(task::Waker::noop()))
}

#[tokio::test]
async fn a_vm_that_keeps_its_layers_is_forked_all_the_same() {
    let world = World::new();
    world.session("fix").await;
    let fleet = world.fleet().await;
    until_is(&fleet, "fix", "running").await;
    world.vmm.clings.store(true, Ordering::Relaxed);
    for _ in 0..4 {
        forked(&fleet).await;
    }
    let vm = world.vmm.vm(0);
    assert_eq!(vm.chain.borrow().len(), 6);
    // The next merge that it takes stands for all of them.
    world.vmm.clings.store(false, Ordering::Relaxed);
    forked(&fleet).await;
    assert_eq!(holds(&vm, 3).await, "disk".repeat(5));
    fleet.stop().await;
}

#[tokio::test]
async fn who_waits_to_fork_is_told_of_the_end() {
    let world = World::new();
    world.session("fix").await;
    let fleet = world.fleet().await;
    until_is(&fleet, "fix", "running").await;
    let merging = world.vmm.merging.lock().await;
    for _ in 0..2 {
        fleet.fork("fix", order("")).await.unwrap();
    }
    until(&fleet, "fix", |view| !view.session.forking).await;
    let mut waiting = pin!(fleet.fork("fix", order("")));
    assert!(poll(&mut waiting).is_pending());
    fleet.by(sam()).delete("fix").await.unwrap();
    let error = waiting.await.unwrap_err();
    assert!(matches!(&error, FleetError::NotForked(why) if why.contains("about to end")), "{error}");
    drop(merging);
    fleet.stop().await;
}

#[tokio::test]
async fn a_half_made_fork_is_swept_away() {
    let world = World::new();
    let id = world.session("fix").await.session.id;
    let sessions = world.folder.path().join("sessions");
    for folder in [&*id, "01JHALFMADE", "01JUNKNOWN"] {
        fs::create_dir_all(sessions.join(folder).join("snapshot")).unwrap();
    }
    for folder in [&*id, "01JHALFMADE"] {
        fs::write(sessions.join(folder).join("half-made"), "").unwrap();
    }
    let fleet = world.fleet().await;
    until_is(&fleet, "fix", "running").await;
    let mut left: Vec<_> = folders(&world);
    left.sort();
    assert_eq!(left, [sessions.join(&id), sessions.join("01JUNKNOWN")]);
    assert!(!sessions.join(&id).join("half-made").exists());
    fleet.stop().await;
}
