//! What suspended sessions changed, read in copies of them.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use hostd_core::{Cause, Lifecycle};
use tokio::{task::JoinHandle, time::timeout};

use super::{
    super::{Fleet, FleetError},
    world::{World, sam, until, until_is},
};
use crate::{
    diff::{Answer, Start, Wish},
    store::ALL_EVENTS,
    vm::Vm as _,
};

const SOON: Duration = Duration::from_secs(30);

fn git(directory: &Path, args: &[&str]) {
    let mut git = Command::new("git");
    git.current_dir(directory).env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
    let output = git.args(["-c", "user.name=a", "-c", "user.email=a@b"]).args(args).output().unwrap();
    assert!(output.status.success(), "{args:?}: {output:?}");
}

/// Sessions that have changed a file, put to disk.
async fn suspended(slugs: &[&str]) -> (World, Arc<Fleet>) {
    let world = World::new();
    let data = world.folder.path();
    fs::create_dir(data.join("git")).unwrap();
    git(data, &["init", "-q", "--bare", "-b", "main", "git/widgets.git"]);
    git(data, &["clone", "-q", "git/widgets.git", "work"]);
    let work = data.join("work");
    git(&work, &["checkout", "-q", "-b", "main"]);
    fs::write(work.join("file"), "one\n").unwrap();
    git(&work, &["add", "-A"]);
    git(&work, &["commit", "-q", "-m", "x"]);
    git(&work, &["push", "-q", "origin", "main"]);
    git(&work, &["remote", "set-head", "origin", "main"]);
    fs::write(work.join("file"), "two\n").unwrap();
    *world.vmm.execs.work.lock().unwrap() = work;
    for slug in slugs {
        world.session(slug).await;
    }
    let fleet = world.fleet().await;
    for slug in slugs {
        until_is(&fleet, slug, "running").await;
        fleet.by(sam()).suspend(slug).await.unwrap();
    }
    (world, fleet)
}

/// How it begins, and which files have changed.
async fn diff(fleet: &Fleet, slug: &str) -> Result<(Start, Vec<String>), FleetError> {
    let (mut start, mut files) = (Start::default(), vec![]);
    let mut answers = fleet.diff(slug, Wish::default()).await?;
    while let Some(answer) = answers.recv().await {
        match answer.unwrap() {
            Answer::Start(begun) => start = begun,
            Answer::Files(more) => {
                files.extend(more.iter().map(|file| String::from_utf8(file.change.new_path.clone()).unwrap()));
            }
            _ => {}
        }
    }
    Ok((start, files))
}

async fn one_began(world: &World) {
    timeout(SOON, world.vmm.execs.began.acquire()).await.expect("git did not begin").unwrap().forget();
}

/// A diff that has got as far as git in the copy, where `hold` keeps it.
async fn begun(world: &World, fleet: &Arc<Fleet>) -> JoinHandle<Result<(Start, Vec<String>), FleetError>> {
    let fleet = fleet.clone();
    let asked = tokio::spawn(async move { diff(&fleet, "fix").await });
    one_began(world).await;
    asked
}

fn copies(world: &World) -> usize {
    fs::read_dir(world.folder.path().join("copies")).map_or(0, Iterator::count)
}

/// Its files and which they are; not what is kept for the next who asks.
fn files(folder: &Path) -> BTreeMap<PathBuf, (u64, u64)> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap).filter(|entry| entry.file_name() != "changes") {
        let metadata = entry.metadata().unwrap();
        if metadata.is_dir() {
            files.extend(self::files(&entry.path()));
        } else {
            files.insert(entry.path(), (metadata.ino(), metadata.len()));
        }
    }
    files
}

#[tokio::test]
async fn a_copy_is_read_once_and_leaves_its_session_alone() {
    let (world, fleet) = suspended(&["fix"]).await;
    let folder = fleet.directory("fix").unwrap();
    let (view, before) = (fleet.get("fix").unwrap(), files(&folder));
    for _ in 0..2 {
        let (start, changed) = diff(&fleet, "fix").await.unwrap();
        assert_eq!((start.suspended, changed), (true, vec!["file".to_owned()]));
        assert_eq!((world.vmm.started(), world.vmm.running(), copies(&world)), (2, 0, 0));
    }
    let copy = world.vmm.vm(1);
    assert!(copy.guest.frozen.load(Ordering::Relaxed), "it was thawed");
    assert_eq!(copy.tunnels.load(Ordering::Relaxed), 0, "it has a way out");
    assert!(copy.spec.directory.starts_with(world.folder.path().join("copies")));
    assert!(copy.spec.layers.iter().chain([&copy.spec.disk]).all(|layer| !layer.starts_with(&folder)));
    assert_eq!((fleet.get("fix").unwrap(), files(&folder)), (view, before));

    // One that is damaged is read anew; one of an earlier suspend is not taken for this one.
    let kept = folder.join("changes");
    let mut bytes = fs::read(&kept).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&kept, &bytes).unwrap();
    diff(&fleet, "fix").await.unwrap();
    assert_eq!(world.vmm.started(), 3);
    let old = fs::read(&kept).unwrap();
    fleet.by(sam()).resume("fix").await.unwrap();
    assert!(!diff(&fleet, "fix").await.unwrap().0.suspended);
    assert!(!kept.exists());
    fleet.by(sam()).suspend("fix").await.unwrap();
    fs::write(&kept, old).unwrap();
    let started = world.vmm.started();
    diff(&fleet, "fix").await.unwrap();
    assert_eq!((world.vmm.started(), world.vmm.running(), copies(&world)), (started + 1, 0, 0));
    fleet.stop().await;
}

#[tokio::test]
async fn nothing_is_left_of_a_copy_that_cannot_be_read() {
    let (world, fleet) = suspended(&["fix"]).await;
    let folder = fleet.directory("fix").unwrap();
    let work = world.folder.path().join("work");
    fs::rename(work.join(".git"), work.join("tig")).unwrap();
    assert!(matches!(diff(&fleet, "fix").await, Err(FleetError::Diff(_))));
    one_began(&world).await;
    fs::rename(work.join("tig"), work.join(".git")).unwrap();

    let hold = world.vmm.execs.hold.lock().await;
    let asked = begun(&world, &fleet).await;
    world.vmm.vm(2).gone(Cause::VmDied("as the test wants it".into()));
    let error = asked.await.unwrap().unwrap_err();
    assert!(matches!(&error, FleetError::NotRead(why) if why.contains("its VM ended")), "{error}");
    drop(hold);

    fs::remove_file(folder.join("snapshot/memory.zst")).unwrap();
    let error = diff(&fleet, "fix").await.unwrap_err();
    assert!(matches!(&error, FleetError::NotRead(why) if why.contains("memory.zst") && why.contains("restart it")));
    assert_eq!((world.vmm.running(), copies(&world)), (0, 0));
    assert_eq!(fleet.get("fix").unwrap().session.lifecycle, Lifecycle::Suspended);
    fleet.stop().await;
}

#[tokio::test]
async fn a_copy_ends_when_nobody_waits_for_it_and_when_hostd_ends() {
    let (world, fleet) = suspended(&["fix"]).await;
    let hold = world.vmm.execs.hold.lock().await;
    let asked = begun(&world, &fleet).await;
    assert_eq!((world.vmm.running(), copies(&world)), (1, 1));
    asked.abort();
    timeout(SOON, world.vmm.vm(1).ended()).await.expect("it runs on");
    let asked = begun(&world, &fleet).await;
    fleet.stop().await;
    assert_eq!((world.vmm.running(), copies(&world)), (0, 0));
    assert!(matches!(asked.await.unwrap(), Err(FleetError::Stopping)));
    drop((hold, fleet));

    // What a hostd left that was killed.
    fs::create_dir_all(world.folder.path().join("copies/01J/snapshot")).unwrap();
    let fleet = world.fleet().await;
    assert_eq!(copies(&world), 0);
    fleet.stop().await;
}

#[tokio::test]
async fn no_more_than_two_are_made_at_a_time() {
    let (world, fleet) = suspended(&["fix", "two", "three"]).await;
    let hold = world.vmm.execs.hold.lock().await;
    let asked = ["fix", "two", "three"].map(|slug| {
        let fleet = fleet.clone();
        tokio::spawn(async move { diff(&fleet, slug).await })
    });
    for _ in 0..2 {
        one_began(&world).await;
    }
    assert_eq!(world.vmm.running(), 2);
    drop(hold);
    for asked in asked {
        assert_eq!(asked.await.unwrap().unwrap().1, ["file"]);
    }
    assert_eq!((world.vmm.started(), world.vmm.running(), copies(&world)), (6, 0, 0));
    fleet.stop().await;
}

#[tokio::test]
async fn without_room_there_is_no_copy() {
    let (mut world, fleet) = suspended(&["fix"]).await;
    fleet.stop().await;
    drop(fleet);
    world.memory = Some(128 << 20);
    let fleet = world.fleet().await;
    let error = diff(&fleet, "fix").await.unwrap_err();
    assert!(error.to_string().contains("at most 128 MiB"), "{error}");
    fleet.stop().await;
    drop(fleet);
    // Two sessions of 256 MiB, of which one runs.
    world.memory = Some(300 << 20);
    world.session("other").await;
    let fleet = world.fleet().await;
    until_is(&fleet, "other", "running").await;
    let error = diff(&fleet, "fix").await.unwrap_err();
    assert!(matches!(error, FleetError::NoRoom(_)), "{error}");
    let said = error.to_string();
    assert!(said.contains("waits for memory: needs 256 MiB") && said.contains("or bring the session back"), "{said}");
    assert_eq!((world.vmm.running(), copies(&world)), (1, 0));
    assert!(fleet.get("fix").unwrap().session.waiting.is_empty());
    fleet.stop().await;
}

#[tokio::test]
async fn one_on_its_way_back_is_waited_for() {
    let (world, fleet) = suspended(&["fix"]).await;
    world.vmm.silent.store(true, Ordering::Relaxed);
    fleet.by(sam()).wake("fix").await.unwrap();
    until(&fleet, "fix", |_| world.vmm.started() == 2).await;
    assert_eq!(fleet.get("fix").unwrap().session.lifecycle, Lifecycle::Resuming);
    let (start, changed) = tokio::join!(diff(&fleet, "fix"), async {
        world.vmm.silent.store(false, Ordering::Relaxed);
        world.vmm.vm(1).unplug();
    })
    .0
    .unwrap();
    assert_eq!((start.suspended, changed, world.vmm.started()), (false, vec!["file".to_owned()], 2));
    fleet.stop().await;
}

/// A VM boots from a copy of its disk, in which no agent is started; the session is restarted beside it, and from the disk as it was.
#[tokio::test]
async fn what_a_crashed_session_changed_is_read_without_its_agent() {
    let (world, fleet) = suspended(&["fix"]).await;
    until_is(&fleet, "fix", "suspended").await;
    fleet.by(sam()).wake("fix").await.unwrap();
    until_is(&fleet, "fix", "running").await;
    world.vmm.vm(1).gone(Cause::GuestPanic(vec![]));
    until_is(&fleet, "fix", "crashed").await;
    let folder = fleet.directory("fix").unwrap();
    let before = files(&folder);
    for _ in 0..2 {
        let (start, changed) = diff(&fleet, "fix").await.unwrap();
        assert_eq!((start.suspended, changed), (true, vec!["file".to_owned()]));
        assert_eq!((world.vmm.started(), world.vmm.running(), copies(&world)), (3, 0, 0), "it is read once");
    }
    let copy = world.vmm.vm(2);
    assert_eq!(copy.spec.memory, crate::vm::Memory::Own, "it boots");
    assert!(copy.guest.agent.lock().unwrap().is_none(), "its agent was started");
    assert_eq!(copy.tunnels.load(Ordering::Relaxed), 0, "it has a way out");
    let own = copy.spec.layers.iter().filter(|layer| layer.starts_with(&folder)).count();
    assert_eq!((own, files(&folder)), (0, before), "the session's own files are left alone");
    fleet.by(sam()).restart("fix", false).await.unwrap();
    until_is(&fleet, "fix", "running").await;
    fleet.stop().await;
}

/// As one commit on its merge base, below its own prefix, and the same work once.
#[tokio::test]
async fn the_work_of_a_crashed_session_is_put_on_a_branch() {
    let (world, fleet) = suspended(&["fix"]).await;
    until_is(&fleet, "fix", "suspended").await;
    fleet.by(sam()).wake("fix").await.unwrap();
    until_is(&fleet, "fix", "running").await;
    world.vmm.vm(1).gone(Cause::GuestPanic(vec![]));
    until_is(&fleet, "fix", "crashed").await;
    let rescued = fleet.by(sam()).rescue("fix").await.unwrap();
    assert_eq!((rescued.branch.as_str(), rescued.missing.as_str()), ("agent/fix/rescue-1", ""));
    assert_eq!(fleet.by(sam()).rescue("fix").await.unwrap(), rescued, "it is there already");
    let repository = world.folder.path().join("git/widgets.git");
    let said = |args: &[&str]| {
        let output = Command::new("git").current_dir(&repository).args(args).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(said(&["show", &format!("{}:file", rescued.branch)]), "two\n");
    assert_eq!(said(&["rev-parse", &format!("{}^", rescued.commit)]), said(&["rev-parse", "main"]));
    assert_eq!(said(&["for-each-ref", "--format=%(refname)", "refs/heads/agent"]), "refs/heads/agent/fix/rescue-1\n");
    let message = said(&["log", "-1", "--format=%an: %B", &rescued.commit]);
    assert_eq!(message.trim(), "fix: Work of fix that was not pushed\n\nthe guest's kernel panicked");
    let story = fleet.events("fix", ALL_EVENTS, 100).await.unwrap();
    assert_eq!(story.iter().filter(|told| told.event.what == "rescued").count(), 1 + 1);

    // Where nothing was changed there is nothing to put there.
    git(&world.folder.path().join("work"), &["checkout", "-q", "file"]);
    fleet.by(sam()).restart("fix", false).await.unwrap();
    until_is(&fleet, "fix", "running").await;
    let error = fleet.by(sam()).rescue("fix").await.unwrap_err().to_string();
    assert!(error.contains("it has nothing that "), "{error}");
    fleet.stop().await;
}
