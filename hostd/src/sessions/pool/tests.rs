//! The pool without a fleet: what is in it, who takes it, and how one is made.

use std::{fs, future::pending};

use hostd_core::{Recipe, profile::Profile, recipe::Cpu, session::Size};
use tempfile::TempDir;
use tokio::time::{Duration, timeout};

use super::{make::make, *};
use crate::{
    environments::{ReadyBuild, tests::RECIPE},
    forge::BareRepositories,
    gateway::Gateway,
    sessions::tests::world,
    testing::FakeVmm,
    vm::{Memory, VmSpec},
};

/// Longest that anything here may take.
const DEADLINE: Duration = Duration::from_secs(30);

fn spec(folder: &Path) -> VmSpec {
    VmSpec {
        name: "one".into(),
        directory: folder.into(),
        size: Size { vcpus: 1, memory: 64 << 20, disk: 1 << 20 },
        layers: vec![],
        disk: disk_in(folder),
        memory: Memory::Own,
        cpu: Cpu::default(),
    }
}

/// A pool with one VM of the build `b`, and where it lies.
async fn stocked(data: &TempDir, vmm: &FakeVmm) -> (Arc<Pool>, PathBuf) {
    let (pool, folder) = (Arc::<Pool>::default(), root(data.path()).join("one"));
    fs::create_dir_all(&folder).unwrap();
    vmm.create_disk(&disk_in(&folder), 1).await.unwrap();
    let guest = GuestVm::start(vmm, spec(&folder)).await.unwrap();
    let warm = Warm {
        environment: "demo".into(),
        build: "b".into(),
        guest,
        folder: folder.clone(),
        unrehearsed: String::new(),
    };
    pool.lock().ready.push(warm);
    (pool, folder)
}

/// A session that waits for its first start.
fn waits() -> Record {
    let (mut record, _) = world::record(0, "fix", None);
    record.machine.template = Some("/template".into());
    record
}

#[tokio::test]
async fn what_is_set_aside_and_not_taken_goes_back() {
    let (data, vmm) = (tempfile::tempdir().unwrap(), FakeVmm::scripted());
    let (pool, _) = stocked(&data, &vmm).await;
    assert!(pool.reserve(&waits(), || false).is_none());
    let reserved = pool.reserved(&waits(), || true).await;
    assert_eq!((pool.ready(), pool.reserve(&waits(), || true).is_none()), (0, true));
    drop(reserved);
    assert_eq!(pool.ready(), 1);
    // None that boots, or has run, is given one.
    let mut boots = waits();
    boots.machine.template = None;
    let mut again = waits();
    again.session.generation = 1;
    assert!([boots, again].iter().all(|record| pool.reserve(record, || true).is_none()));
}

#[tokio::test]
async fn a_vm_that_is_taken_has_the_sessions_disk_and_leaves_it_its_logs() {
    let (data, vmm) = (tempfile::tempdir().unwrap(), FakeVmm::scripted());
    let (pool, own) = stocked(&data, &vmm).await;
    let folder = Folder::of(data.path(), "01A");
    folder.make().await.unwrap();
    assert!(pool.take("01A", "another build", &folder, "disk.qcow2").await.is_none());
    let guest = pool.take("01A", "b", &folder, "disk.qcow2").await.unwrap();
    assert_eq!((pool.ready(), pool.taken("01A")), (0, Some(own.clone())));
    assert!(folder.layer("disk.qcow2").exists());
    fs::write(own.join("serial.log"), "words").unwrap();
    guest.end().await;
    let gone = async {
        while own.exists() || pool.taken("01A").is_some() {
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, gone).await.unwrap();
    assert_eq!(fs::read_to_string(folder.path().join("serial.log")).unwrap(), "words");
}

#[tokio::test]
async fn a_vm_whose_disk_cannot_be_taken_is_ended() {
    let (data, vmm) = (tempfile::tempdir().unwrap(), FakeVmm::scripted());
    let (pool, _) = stocked(&data, &vmm).await;
    let folder = Folder::of(data.path(), "01A");
    folder.make().await.unwrap();
    fs::write(folder.layer("disk.qcow2"), "somebody's").unwrap();
    assert!(pool.take("01A", "b", &folder, "disk.qcow2").await.is_none());
    assert_eq!((vmm.running(), fs::read_to_string(folder.layer("disk.qcow2")).unwrap().as_str()), (0, "somebody's"));
}

#[tokio::test]
async fn one_is_made_from_a_template_or_nothing_of_it_is_left() {
    let (data, vmm) = (tempfile::tempdir().unwrap(), FakeVmm::scripted());
    let (template, root) = (data.path().join("template"), root(data.path()));
    fs::write(disk_in(data.path()), "disk").unwrap();
    let maker = GuestVm::start(&vmm, spec(data.path())).await.unwrap();
    maker.vm().snapshot(&template).await.unwrap();
    maker.end().await;
    let recipe = Recipe::parse("x", RECIPE).unwrap();
    let (id, branch, layers) = ("b".into(), String::new(), vec![]);
    let build = ReadyBuild { id, recipe, branch, layers, template: Some(template.clone()) };
    let (gateway, stop) =
        (Arc::new(Gateway::new(BareRepositories::at(data.path().join("git")))), CancellationToken::new());
    let warm = make(&vmm, &gateway, &root, "demo", &build, &stop, pending()).await.unwrap();
    assert!(warm.lives() && disk_in(&warm.folder).exists());
    assert_eq!((warm.environment.as_str(), warm.build.as_str()), ("demo", "b"));
    warm.end().await;
    stop.cancel();
    assert!(make(&vmm, &gateway, &root, "demo", &build, &stop, pending()).await.is_err());
    fs::remove_dir_all(&template).unwrap();
    assert!(make(&vmm, &gateway, &root, "demo", &build, &CancellationToken::new(), pending()).await.is_err());
    assert_eq!((vmm.running(), fs::read_dir(&root).unwrap().count()), (0, 0));
}

/// A build whose agent's profile has a rehearsal of this program, and a place to make VMs of it.
async fn rehearsing(program: &str) -> (TempDir, FakeVmm, ReadyBuild, Arc<Gateway>) {
    let (data, vmm) = (tempfile::tempdir().unwrap(), FakeVmm::scripted());
    let template = data.path().join("template");
    fs::write(disk_in(data.path()), "disk").unwrap();
    let maker = GuestVm::start(&vmm, spec(data.path())).await.unwrap();
    maker.vm().snapshot(&template).await.unwrap();
    maker.end().await;
    let mut recipe = Recipe::parse("x", RECIPE).unwrap();
    recipe.user = "agent".into();
    recipe.agent.command = vec!["agent".into(), "--id={session_id}".into(), program.into()];
    recipe.profile = Some(Box::new(Profile { rehearse: true, ..Profile::default() }));
    let build = ReadyBuild { id: "b".into(), recipe, branch: String::new(), layers: vec![], template: Some(template) };
    let gateway = Arc::new(Gateway::new(BareRepositories::at(data.path().join("git"))));
    (data, vmm, build, gateway)
}

#[tokio::test]
async fn an_agent_is_rehearsed_to_its_first_screen_and_ended_before_a_session_has_the_vm() {
    let (data, vmm, build, gateway) = rehearsing("draw").await;
    let stop = CancellationToken::new();
    let warm = make(&vmm, &gateway, &root(data.path()), "demo", &build, &stop, pending()).await.unwrap();
    assert_eq!((warm.lives(), warm.unrehearsed.as_str()), (true, ""));
    let commands = vmm.commands();
    let rehearsed = commands.iter().find(|line| line.contains("session rehearse")).unwrap();
    // As root, who becomes the agent's user once all is in place, and with an id for its conversation.
    assert!(
        rehearsed.starts_with(
            "/: /run/pilothouse/bin/session rehearse --user agent --directory /work/widgets -- agent --id="
        ),
        "{rehearsed}"
    );
    assert!(!rehearsed.contains("{session_id}"), "{rehearsed}");
    let mut plain = build.clone();
    plain.recipe.profile = None;
    let before = vmm.commands().len();
    let other = make(&vmm, &gateway, &root(data.path()), "demo", &plain, &stop, pending()).await.unwrap();
    assert_eq!(vmm.commands()[before..], [": sh -c exec true"], "nobody else is rehearsed");
    warm.end().await;
    other.end().await;
}

#[tokio::test]
async fn a_rehearsal_that_fails_costs_nothing_and_is_told() {
    let (data, vmm, build, gateway) = rehearsing("fail").await;
    let stop = CancellationToken::new();
    let warm = make(&vmm, &gateway, &root(data.path()), "demo", &build, &stop, pending()).await.unwrap();
    assert!(
        warm.lives()
            && warm.unrehearsed.starts_with("it ended with exit code 3: ran /run/pilothouse/bin/session rehearse"),
        "{}",
        warm.unrehearsed
    );
    warm.end().await;
    // One is cut short where somebody waits for room, and its VM is used.
    let (data, vmm, build, gateway) = rehearsing("draw-nothing").await;
    let wanted = tokio::time::sleep(Duration::from_millis(100));
    let warm = make(&vmm, &gateway, &root(data.path()), "demo", &build, &stop, wanted).await.unwrap();
    assert!(warm.lives() && warm.unrehearsed.contains("was wanted before"), "{}", warm.unrehearsed);
    warm.end().await;
}
