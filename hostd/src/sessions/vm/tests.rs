//! One session's VM without a fleet: a folder, a terminal, and VMs that are made up.

use std::{
    future::ready,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use hostd_core::{Lifecycle, capacity::Room, session::NewFork};
use tempfile::TempDir;
use tokio::{
    sync::{mpsc, watch},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::{
    fork::{self, Draft, part},
    read_copy::Copies,
    resume::{Awake, resume, run_on},
    running::Running,
    site::Site,
    start::{NotStarted, Started, start},
    suspend::{recover, suspend},
};
use crate::{
    admission::Admission,
    diff::Diffs,
    forge::BareRepositories,
    gateway::Gateway,
    guest_vm::GuestVm,
    sessions::{
        disk::{folder::Folder, next_layer},
        error::FleetError,
        message::Report,
        meter::Meter,
        tests::world,
    },
    store::{Machine, Record},
    terminals::Terminal,
    testing::{FakeVmm, Save},
    vm::Vmm as _,
};

/// Longest that anything here may take.
const DEADLINE: Duration = Duration::from_secs(30);

/// A session in a data folder of its own, and nobody but the test to supervise it.
struct Life {
    data: TempDir,
    vmm: Arc<FakeVmm>,
    record: watch::Sender<Arc<Record>>,
    site: Site,
    still: watch::Sender<bool>,
    _inbox: mpsc::Receiver<Report>,
}

impl Life {
    /// In its first generation.
    fn new() -> Self {
        let data = tempfile::tempdir().unwrap();
        let (mut first, _) = world::record(0, "fix", None);
        first.session.generation = 1;
        let (vmm, folder) = (Arc::<FakeVmm>::default(), Folder::of(data.path(), &first.session.id));
        let (record, seen) = watch::channel(Arc::new(first));
        let (reports, inbox) = mpsc::channel(64);
        let still = watch::Sender::new(false);
        let site = Site {
            vmm: vmm.clone(),
            gateway: Arc::new(Gateway::new(BareRepositories::at(data.path().join("git")))),
            terminal: Terminal::new(folder.path(), None),
            folder,
            record: seen,
            reports,
            hooks: watch::Sender::new(None),
            still: still.subscribe(),
            closing: CancellationToken::new(),
            leaving: CancellationToken::new(),
            timings: world::timings(),
            meter: Meter::default(),
        };
        Self { data, vmm, record, site, still, _inbox: inbox }
    }

    fn change(&self, change: impl FnOnce(&mut Record)) {
        self.record.send_modify(|record| change(Arc::make_mut(record)));
    }

    async fn start(&self) -> Result<Started, NotStarted> {
        start(self.site.clone(), 1, ready(None), CancellationToken::new()).await
    }

    /// Started, as its supervisor would have it.
    async fn running(&self) -> Running {
        let Ok(Started { running, machine, .. }) = self.start().await else { panic!("it did not start") };
        self.change(|record| {
            record.machine = machine;
            record.session.lifecycle = Lifecycle::Running;
        });
        running
    }

    /// Suspended, as its supervisor would have it.
    async fn suspended(&self) -> Machine {
        let running = self.running().await;
        let Ok(machine) = suspend(self.site.clone(), running).await else { panic!("it was not suspended") };
        self.change(|record| {
            record.machine = machine.clone();
            record.session.lifecycle = Lifecycle::Suspended;
        });
        machine
    }

    /// Waits until none of its VMs runs.
    async fn all_ended(&self) {
        let vms: Vec<_> = self.vmm.vms.lock().unwrap().iter().map(|vm| vm.guest.ended.subscribe()).collect();
        for mut ended in vms {
            timeout(DEADLINE, ended.wait_for(Option::is_some)).await.unwrap().unwrap();
        }
    }
}

fn failed(result: Result<Started, NotStarted>) -> String {
    match result {
        Err(NotStarted::Failed(why)) => why,
        _ => panic!("it did not fail"),
    }
}

fn rights(file: &Path) -> u32 {
    std::fs::metadata(file).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn a_start_boots_and_starts_the_agent() {
    let life = Life::new();
    let Ok(started) = life.start().await else { panic!("it did not start") };
    let phases: Vec<_> = started.machine.phases.iter().map(|phase| phase.name.as_str()).collect();
    assert_eq!(phases, ["disk", "vm", "kernel", "handshake", "agent"]);
    let vm = life.vmm.vm(0);
    assert_eq!(vm.guest.agent.lock().unwrap().as_ref().unwrap().command, ["agent", "--fast"]);
    assert_eq!((vm.spec.disk.clone(), started.why_booted), (life.site.folder.layer("disk.qcow2"), None));
    started.running.end().await;
    assert_eq!(life.vmm.running(), 0);
}

#[tokio::test]
async fn a_start_that_is_given_up_leaves_no_vm() {
    let life = Life::new();
    life.vmm.silent.store(true, Ordering::Relaxed);
    let cancel = CancellationToken::new();
    let starting = tokio::spawn(start(life.site.clone(), 1, ready(None), cancel.clone()));
    while life.vmm.started() == 0 {
        tokio::task::yield_now().await;
    }
    cancel.cancel();
    assert!(matches!(starting.await.unwrap(), Err(NotStarted::Cancelled)));
    assert_eq!(life.vmm.running(), 0);
    // Nor one that is cut off.
    let starting = tokio::spawn(start(life.site.clone(), 1, ready(None), CancellationToken::new()));
    while life.vmm.started() == 1 {
        tokio::task::yield_now().await;
    }
    starting.abort();
    life.all_ended().await;
}

#[tokio::test]
async fn a_start_that_fails_says_why_and_leaves_no_vm() {
    let life = Life::new();
    *life.vmm.fails.lock().unwrap() = Some("no".into());
    assert_eq!(failed(life.start().await), "fake failed: no");
    life.vmm.no_agent.lock().unwrap().push(tonic::Code::InvalidArgument);
    let Err(NotStarted::Ended(cause)) = life.start().await else { panic!("it did not end") };
    assert_eq!(
        (cause.word(), cause.to_string().contains("as the test wants it")),
        ("agent-not-started", true),
        "{cause}"
    );
    assert_eq!((life.vmm.started(), life.vmm.running()), (1, 0));
}

#[tokio::test]
async fn a_first_start_takes_the_warm_vm_that_it_is_given() {
    let life = Life::new();
    life.change(|record| record.machine.template = Some("/template".into()));
    let (record, folder) = (life.site.record(), life.site.folder.clone());
    let warm = async {
        next_layer::make(&*life.vmm, &folder, &record.machine.disk, 1).await.unwrap();
        let spec = super::spec::spec(&record, &folder);
        Some(GuestVm::of(life.vmm.start(spec).await.unwrap()))
    };
    let Ok(started) = start(life.site.clone(), 1, warm, CancellationToken::new()).await else { panic!("not started") };
    assert_eq!(started.machine.phases[0].name, "warm");
    assert_eq!(started.machine.view_of.as_deref(), Some(Path::new("/template")));
    assert_eq!(life.vmm.started(), 1);
    started.running.end().await;
}

#[tokio::test]
async fn a_suspend_keeps_memory_and_disk_and_a_resume_goes_on_with_them() {
    let life = Life::new();
    let machine = life.suspended().await;
    let folder = &life.site.folder;
    assert_eq!(life.vmm.running(), 0);
    assert_eq!(machine.layers, [Path::new("/base.ext4").to_owned(), folder.layer("disk.qcow2")]);
    assert_eq!((machine.disk.as_str(), rights(&machine.layers[1])), ("disk-2.qcow2", 0o444));
    assert_eq!(machine.snapshot.as_ref().map(|snapshot| snapshot.folder.clone()), Some(folder.snapshot()));
    assert!(folder.next_layer(1 << 30).exists());
    let Ok(resumed) = resume(life.site.clone(), 2, CancellationToken::new()).await else { panic!("not resumed") };
    assert_eq!(resumed.running.generation, 2);
    assert!(!folder.next_layer(1 << 30).exists());
    assert_eq!(life.vmm.vm(1).spec.disk, folder.layer("disk-2.qcow2"));
    resumed.running.end().await;
}

#[tokio::test]
async fn nothing_begins_to_run_while_the_session_stands_still() {
    let life = Life::new();
    life.still.send_replace(true);
    let starting = tokio::spawn(start(life.site.clone(), 1, ready(None), CancellationToken::new()));
    while life.vmm.started() == 0 {
        tokio::task::yield_now().await;
    }
    assert!(life.vmm.vm(0).guest.agent.lock().unwrap().is_none(), "its agent runs");
    life.still.send_replace(false);
    let Ok(Ok(started)) = timeout(DEADLINE, starting).await.unwrap() else { panic!("it did not start") };
    let Ok(machine) = suspend(life.site.clone(), started.running).await else { panic!("it was not suspended") };
    life.change(|record| record.machine = machine);
    life.still.send_replace(true);
    let resuming = tokio::spawn(resume(life.site.clone(), 2, CancellationToken::new()));
    while life.vmm.started() == 1 {
        tokio::task::yield_now().await;
    }
    assert!(life.vmm.vm(1).guest.frozen.load(Ordering::Relaxed), "its processes run");
    life.still.send_replace(false);
    let Ok(Ok(resumed)) = timeout(DEADLINE, resuming).await.unwrap() else { panic!("it was not resumed") };
    assert!(!life.vmm.vm(1).guest.frozen.load(Ordering::Relaxed));
    resumed.running.end().await;
}

#[tokio::test]
async fn what_cannot_be_resumed_stays_as_it_is() {
    let life = Life::new();
    assert!(failed(resume(life.site.clone(), 2, CancellationToken::new()).await).contains("it has no snapshot"));
    life.suspended().await;
    let (folder, memory) = (&life.site.folder, life.site.folder.snapshot().join("memory.zst"));
    std::fs::write(&memory, "memory.zsd").unwrap();
    let why = failed(resume(life.site.clone(), 2, CancellationToken::new()).await);
    assert!(why.contains("memory.zst is damaged") && why.contains("restart it"), "{why}");
    assert_eq!((life.vmm.running(), memory.exists(), folder.layer("disk-2.qcow2").exists()), (0, true, false));
}

#[tokio::test]
async fn a_suspend_that_fails_lets_the_vm_run_on() {
    let life = Life::new();
    let running = life.running().await;
    *life.vmm.saves.lock().unwrap() = Save::Fails;
    let Err(Awake::Runs { running, why }) = suspend(life.site.clone(), running).await else { panic!("it is gone") };
    assert_eq!((why.as_str(), life.vmm.running()), ("fake failed: no room", 1));
    assert!(!life.vmm.vm(0).guest.frozen.load(Ordering::Relaxed));
    // Cut off in the middle, it leaves none.
    timeout(DEADLINE, life.vmm.saving.notified()).await.unwrap();
    let hold = life.vmm.hold.lock().await;
    let suspending = tokio::spawn(suspend(life.site.clone(), running));
    timeout(DEADLINE, life.vmm.saving.notified()).await.unwrap();
    suspending.abort();
    life.all_ended().await;
    drop(hold);
}

#[tokio::test]
async fn a_suspend_that_hostd_did_not_survive_is_finished_where_it_is_whole() {
    let life = Life::new();
    let before = life.running().await;
    let (vmm, folder) = (&*life.vmm, &life.site.folder);
    assert!(suspend(life.site.clone(), before).await.is_ok());
    let offset = life.site.terminal.offset();
    // Of what was not committed nothing is known.
    assert!(recover(vmm, folder, &life.site.record()).await.is_none());
    life.change(|record| record.session.lifecycle = Lifecycle::Suspending);
    let machine = recover(vmm, folder, &life.site.record()).await.unwrap();
    assert_eq!((machine.layers.len(), machine.snapshot.unwrap().terminal), (2, offset));
    life.change(|record| record.machine.disk = "disk-7.qcow2".into());
    assert!(recover(vmm, folder, &life.site.record()).await.is_none());
}

fn draft(life: &Life, id: &str) -> Draft {
    let (id, slug, title, owner) = (id.to_owned(), "twin".into(), "twin".into(), "kim".into());
    let folder = Folder::of(life.data.path(), &id);
    Draft::of(NewFork { id, slug, title, owner, budget: None }, folder)
}

#[tokio::test]
async fn a_fork_of_a_vm_that_runs_has_its_snapshot_and_both_have_a_layer_of_their_own() {
    let life = Life::new();
    let running = life.running().await;
    let draft = draft(&life, "01TWIN");
    let twin = Folder::of(life.data.path(), "01TWIN");
    let Ok(parted) = part(life.site.clone(), running, draft.clone()).await else { panic!("it did not stand still") };
    assert!(twin.is_half_made().await);
    let mut original = Record::clone(&life.site.record());
    original.machine.layers.push(life.site.folder.layer(&original.machine.disk));
    original.machine.disk.clone_from(&parted.top);
    let (fork, _) = draft.of_parted(&life.site.folder, &original, &parted).await.unwrap();
    draft.done().await;
    assert!(!twin.is_half_made().await);
    assert_eq!(fork.machine.layers[1..], [twin.layer("disk.qcow2")]);
    assert_eq!((fork.machine.disk.as_str(), original.machine.disk.as_str()), ("disk-2.qcow2", "disk-1-01twin.qcow2"));
    assert_eq!(fork.machine.snapshot.unwrap().folder, twin.snapshot());
    let awake = run_on(&life.site, &original, 1, parted.guest, String::new()).await;
    let Awake::Runs { running, .. } = awake else { panic!("it did not go on") };
    assert_eq!(life.vmm.running(), 1);
    running.end().await;
}

#[tokio::test]
async fn a_fork_that_fails_leaves_nothing() {
    let life = Life::new();
    let running = life.running().await;
    life.vmm.stuck.store(true, Ordering::Relaxed);
    let draft = draft(&life, "01TWIN");
    let Err(Awake::Runs { running, why }) = part(life.site.clone(), running, draft.clone()).await else {
        panic!("it is gone, or parted")
    };
    assert!(why.contains("the disk is stuck"), "{why}");
    assert!(!life.site.folder.layer("disk-1-01twin.qcow2").exists());
    draft.undo().await;
    assert!(!Folder::of(life.data.path(), "01TWIN").path().exists());
    running.end().await;
    assert_eq!(life.vmm.running(), 0);
}

#[tokio::test]
async fn a_fork_of_a_suspended_session_has_names_of_its_own_for_its_files() {
    let life = Life::new();
    life.suspended().await;
    let (original, twin) = (life.site.record(), Folder::of(life.data.path(), "01TWIN"));
    let (fork, _) = draft(&life, "01TWIN").of_suspended(&life.site.folder, &original).await.unwrap();
    let (lost, _) = draft(&life, "01LOST").of_suspended(&life.site.folder, &original).await.unwrap();
    life.site.folder.remove().await.unwrap();
    assert!(fork.machine.layers[1..].iter().all(|layer| layer.starts_with(twin.path()) && layer.exists()));
    assert!(twin.snapshot().join("manifest.json").exists());
    // What was not committed is swept; what was keeps its files.
    fork::sweep(life.data.path(), std::slice::from_ref(&fork)).await;
    assert_eq!((fork.machine.layers[1].exists(), lost.machine.layers[1].exists()), (true, false));
    assert!(!twin.is_half_made().await);
}

fn admission() -> Admission {
    let room = Room {
        memory_total: 16 << 30,
        memory_available: 8 << 30,
        memory_promised: 0,
        memory_limit: None,
        memory_used: 0,
        disk_total: 100 << 30,
        disk_available: 50 << 30,
        descriptors: 1024,
    };
    Admission::measured(move || room)
}

#[tokio::test]
async fn a_copy_leaves_nothing_of_itself_and_the_session_as_it_was() {
    let life = Life::new();
    let diffs = Arc::new(Diffs::open(life.data.path(), BareRepositories::at(life.data.path().join("git"))).unwrap());
    let (admission, closing) = (admission(), CancellationToken::new());
    let copies = Copies::new(life.data.path(), life.vmm.clone(), admission.clone(), diffs, closing.clone(), DEADLINE);
    let read = async || copies.read(life.site.folder.clone(), life.record.subscribe()).await.map(drop);
    // It is not suspended.
    assert!(matches!(read().await, Err(FleetError::NotRead(why)) if why.contains("does not lie on disk")));
    let machine = life.suspended().await;
    // There is no working tree in it.
    *life.vmm.execs.work.lock().unwrap() = life.data.path().join("nowhere");
    assert!(read().await.is_err());
    assert_eq!((life.vmm.started(), life.vmm.running()), (2, 0));
    let copy = life.vmm.vm(1);
    assert_eq!((copy.spec.name.as_str(), copy.tunnels.load(Ordering::Relaxed)), ("copy-of-fix", 0));
    assert!(!copy.spec.directory.exists());
    assert_eq!(admission.room().memory_promised, 0);
    assert!(machine.layers[1].exists() && life.site.folder.snapshot().join("manifest.json").exists());
    closing.cancel();
    assert!(matches!(read().await, Err(FleetError::Stopping)));
    copies.close().await;
}
