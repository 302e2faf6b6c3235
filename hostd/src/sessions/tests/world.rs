//! A host whose VMs are made up: their guests speak the real `guest.v1` over memory.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use hostd_core::{
    Actor, Cause, Session,
    capacity::Room,
    requirements::Requirements,
    session::{NewSession, Size},
};
use hyper::server::conn::http2;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    service::TowerToHyperService,
};
use pilothouse_proto::{
    greet::{greet, shake},
    guest::v1::guest_server::GuestServer,
};
use tokio::{
    io::DuplexStream,
    sync::{Notify, watch},
    task::JoinSet,
};
use tonic::Code;

use super::guest::{Execs, Guest};
use crate::{
    environments::Environments,
    forge::{Forge, Local},
    gateway::Gateway,
    room::Rooms,
    sessions::{Fleet, News, Parts, SessionView},
    store::{Machine, Record, Store},
    vm::{
        Io, Memory, MemoryUse, Port, Vm, VmError, VmSpec, Vmm, VmmInfo,
        snapshot::store::{Manifest, Stored},
    },
};

/// Longest that anything here may take.
const DEADLINE: Duration = Duration::from_secs(30);

/// Makes VMs of memory.
#[derive(Default)]
pub(super) struct MadeUp {
    /// What guests answer to the next starts of their agents, where that is not that they started.
    pub(super) no_agent: Arc<Mutex<Vec<Code>>>,
    /// Guests do not answer while this is set.
    pub(super) silent: Arc<AtomicBool>,
    /// The next start fails so.
    pub(super) fails: Mutex<Option<String>>,
    /// Disks cannot be pivoted while this is set.
    pub(super) stuck: Arc<AtomicBool>,
    /// The next snapshot ends so.
    pub(super) saves: Arc<Mutex<Save>>,
    /// Told when a snapshot begins, which it does not go beyond while this is locked.
    pub(super) saving: Arc<Notify>,
    pub(super) hold: Arc<tokio::sync::Mutex<()>>,
    pub(super) vms: Mutex<Vec<Arc<MadeUpVm>>>,
    pub(super) leftovers: AtomicUsize,
    /// How often it was asked how snapshots are written.
    pub(super) settled: AtomicUsize,
    /// Disks that were made.
    pub(super) disks: AtomicUsize,
    /// No merge comes to its end while this is locked.
    pub(super) merging: tokio::sync::Mutex<()>,
    /// VMs keep layers that were merged while this is set.
    pub(super) clings: Arc<AtomicBool>,
    /// Programs run in guests.
    pub(super) execs: Arc<Execs>,
}

/// How a snapshot ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Save {
    #[default]
    Good,
    Fails,
    Panics,
}

pub(super) struct MadeUpVm {
    pub(super) spec: VmSpec,
    pub(super) guest: Guest,
    /// Attempts to connect its way out.
    pub(super) tunnels: AtomicUsize,
    silent: Arc<AtomicBool>,
    saves: Arc<Mutex<Save>>,
    saving: Arc<Notify>,
    hold: Arc<tokio::sync::Mutex<()>>,
    stuck: Arc<AtomicBool>,
    clings: Arc<AtomicBool>,
    /// What the layers say that it holds, bottom first; the last is written to.
    pub(super) chain: watch::Sender<Vec<String>>,
    tasks: Mutex<JoinSet<()>>,
}

impl MadeUp {
    fn vm_of(&self, spec: VmSpec, mut guest: Guest) -> Arc<MadeUpVm> {
        guest.execs = self.execs.clone();
        let (silent, saves, stuck) = (self.silent.clone(), self.saves.clone(), self.stuck.clone());
        let (saving, hold, clings) = (self.saving.clone(), self.hold.clone(), self.clings.clone());
        let chain = watch::Sender::new(spec.layers.iter().chain([&spec.disk]).map(|layer| content(layer)).collect());
        let tasks = Mutex::default();
        let vm = Arc::new(MadeUpVm {
            spec,
            guest,
            tunnels: AtomicUsize::new(0),
            silent,
            saves,
            saving,
            hold,
            stuck,
            clings,
            chain,
            tasks,
        });
        self.vms.lock().unwrap().push(vm.clone());
        vm
    }

    pub(super) fn vm(&self, number: usize) -> Arc<MadeUpVm> {
        self.vms.lock().unwrap()[number].clone()
    }

    pub(super) fn started(&self) -> usize {
        self.vms.lock().unwrap().len()
    }

    pub(super) fn running(&self) -> usize {
        self.vms.lock().unwrap().iter().filter(|vm| vm.guest.ended.borrow().is_none()).count()
    }
}

#[async_trait]
impl Vmm for MadeUp {
    fn info(&self) -> VmmInfo {
        VmmInfo { name: "made-up", ..VmmInfo::default() }
    }

    async fn prepare(&self, _: &(dyn Fn(String) + Send + Sync)) -> Result<(), VmError> {
        Ok(())
    }

    async fn settle(&self) {
        self.settled.fetch_add(1, Ordering::Relaxed);
    }

    async fn create_disk(&self, disk: &Path, _: u64) -> Result<(), VmError> {
        self.disks.fetch_add(1, Ordering::Relaxed);
        std::fs::write(disk, "disk").map_err(|error| VmError::File { path: disk.into(), error })
    }

    async fn start(&self, spec: VmSpec) -> Result<Arc<dyn Vm>, VmError> {
        assert!(spec.disk.exists());
        if let Some(output) = self.fails.lock().unwrap().take() {
            return Err(VmError::Failed { program: "made-up".into(), output });
        }
        Ok(self.vm_of(spec, Guest::failing(self.no_agent.clone())))
    }

    async fn merge(&self, layers: &[PathBuf], own: usize, to: &Path, _: u64) -> Result<(), VmError> {
        drop(self.merging.lock().await);
        let all: Vec<String> = layers[own..].iter().map(|layer| std::fs::read_to_string(layer).unwrap()).collect();
        std::fs::write(to, all.concat()).map_err(|error| VmError::File { path: to.into(), error })
    }

    /// Its guest is as the last of that name was; a fork's has its snapshot alone.
    async fn resume(&self, spec: VmSpec, snapshot: &Path) -> Result<Arc<dyn Vm>, VmError> {
        for layer in spec.layers.iter().filter(|layer| layer.extension().is_some_and(|e| e == "qcow2")) {
            assert!(layer.exists(), "{} is gone", layer.display());
        }
        assert!(spec.disk.exists());
        if let Memory::Clone(template) = &spec.memory {
            Manifest::template(template)?;
        }
        Manifest::read(snapshot)?.check(snapshot, &Requirements::default())?;
        let last =
            self.vms.lock().unwrap().iter().rev().find(|vm| vm.spec.name == spec.name).map(|vm| vm.guest.again());
        let guest = last.unwrap_or_else(|| Guest::with_output(std::fs::read(snapshot.join("memory.zst")).unwrap()));
        guest.frozen.store(true, Ordering::Relaxed);
        Ok(self.vm_of(spec, guest))
    }

    async fn connect_leftover(&self, directory: &Path, port: Port) -> io::Result<Box<dyn Io>> {
        let left = |vm: &&Arc<MadeUpVm>| vm.spec.directory == directory && vm.guest.ended.borrow().is_none();
        let left = self.vms.lock().unwrap().iter().rev().find(left).cloned();
        left.ok_or(io::ErrorKind::NotFound)?.connect(port).await
    }

    async fn end_leftover(&self, _: &Path) -> Result<bool, VmError> {
        self.leftovers.fetch_add(1, Ordering::Relaxed);
        Ok(true)
    }
}

impl MadeUpVm {
    /// It is gone, so.
    pub(super) fn gone(&self, cause: Cause) {
        self.guest.ended.send_if_modified(|ended| {
            let first = ended.is_none();
            ended.get_or_insert(cause);
            first
        });
        self.tasks.lock().unwrap().abort_all();
    }

    /// Its connections break; new ones may be made.
    pub(super) fn unplug(&self) {
        self.tasks.lock().unwrap().abort_all();
    }
}

#[async_trait]
impl Vm for MadeUpVm {
    async fn connect(&self, port: Port) -> io::Result<Box<dyn Io>> {
        if port == Port::Tunnel {
            self.tunnels.fetch_add(1, Ordering::Relaxed);
        }
        if port == Port::Tunnel || self.guest.ended.borrow().is_some() {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let (host, mut guest) = tokio::io::duplex(256 << 10);
        if !self.silent.load(Ordering::Relaxed) {
            // The server keeps its connections; what can be cut is the cable.
            let (mut inner, server) = tokio::io::duplex(256 << 10);
            tokio::spawn(serve(self.guest.clone(), server));
            self.tasks.lock().unwrap().spawn(async move {
                let _ = tokio::io::copy_bidirectional(&mut guest, &mut inner).await;
            });
        } else {
            self.tasks.lock().unwrap().spawn(async move {
                let _ = tokio::io::copy(&mut guest, &mut tokio::io::sink()).await;
            });
        }
        Ok(Box::new(host))
    }

    async fn ended(&self) -> Cause {
        let mut ended = self.guest.ended.subscribe();
        let ended = ended.wait_for(Option::is_some).await.unwrap().clone();
        self.tasks.lock().unwrap().abort_all();
        ended.unwrap()
    }

    async fn end(&self) {
        self.gone(Cause::VmDied("ended".into()));
    }

    async fn serial(&self) -> Vec<u8> {
        b"Linux version 6\n".into()
    }

    async fn snapshot(&self, folder: &Path) -> Result<Manifest, VmError> {
        self.saving.notify_one();
        drop(self.hold.lock().await);
        let save = std::mem::take(&mut *self.saves.lock().unwrap());
        match save {
            Save::Good => {}
            Save::Fails => return Err(VmError::Failed { program: "made-up".into(), output: "no room".into() }),
            Save::Panics => panic!("as the test wants it"),
        }
        let beside = folder.with_extension("new");
        std::fs::create_dir_all(&beside).unwrap();
        let stored = |name: &str| {
            std::fs::write(beside.join(name), self.guest.output()).unwrap();
            Stored::of(&beside, name).unwrap()
        };
        let disk = self.spec.disk.file_name().unwrap().to_str().unwrap().to_owned();
        let manifest = Manifest::new(1, Requirements::default(), 0, disk, stored("memory.zst"), stored("devices"));
        manifest.publish(&beside, folder)?;
        Ok(manifest)
    }

    async fn go_on(&self) -> Result<(), VmError> {
        Ok(())
    }

    async fn pivot(&self, top: &Path) -> Result<(), VmError> {
        assert!(top.exists());
        if self.stuck.load(Ordering::Relaxed) {
            return Err(VmError::Failed { program: "made-up".into(), output: "the disk is stuck".into() });
        }
        self.chain.send_modify(|chain| chain.push(content(top)));
        Ok(())
    }

    async fn rebase(&self, below: usize, merged: &Path) -> Result<(), VmError> {
        if self.clings.load(Ordering::Relaxed) {
            return Err(VmError::Failed { program: "made-up".into(), output: "it clings to its layers".into() });
        }
        self.chain.send_modify(|chain| {
            let top = chain.len() - 1;
            let old: Vec<String> = chain.splice(below..top, [content(merged)]).collect();
            assert_eq!(chain[below], old.concat());
        });
        Ok(())
    }

    fn memory(&self) -> MemoryUse {
        let lives = self.guest.ended.borrow().is_none();
        MemoryUse { private: if lives { 64 << 20 } else { 0 }, shared: 0 }
    }

    fn memory_part(&self) -> MemoryUse {
        self.memory()
    }
}

/// What a layer says; that of an environment is made up, and says nothing.
fn content(layer: &Path) -> String {
    std::fs::read_to_string(layer).unwrap_or_default()
}

async fn serve(guest: Guest, io: DuplexStream) {
    let Ok(mut io) = greet(io).await else { return };
    let Ok(true) = shake(&mut io, &guest).await else { return };
    let service = TowerToHyperService::new(GuestServer::new(guest));
    let server = http2::Builder::new(TokioExecutor::new());
    // However it ends: the host's end is what is tested.
    let _ = server.serve_connection(TokioIo::new(io), service).await;
}

/// A data folder with made-up VMs.
#[derive(Clone)]
pub(super) struct World {
    pub(super) folder: Arc<tempfile::TempDir>,
    pub(super) vmm: Arc<MadeUp>,
    /// Bytes of memory that sessions may use.
    pub(super) memory: Option<u64>,
    /// What the host has, in place of what this machine has.
    pub(super) room: Option<Arc<Mutex<Room>>>,
    /// In place of the one that is built in.
    pub(super) forge: Option<Arc<dyn Forge>>,
}

impl World {
    pub(super) fn new() -> Self {
        Self {
            folder: Arc::new(tempfile::tempdir().unwrap()),
            vmm: Arc::default(),
            memory: None,
            room: None,
            forge: None,
        }
    }

    fn rooms(&self) -> Rooms {
        match &self.room {
            Some(room) => {
                let room = room.clone();
                Rooms::measured(move || *room.lock().unwrap())
            }
            None => Rooms::new(self.folder.path().into(), self.memory),
        }
    }

    /// A hostd on the folder, as after a start; an earlier one must be stopped or is taken for killed.
    pub(super) async fn fleet(&self) -> Arc<Fleet> {
        let data = self.folder.path();
        let (store, records) = Store::open(&data.join("store.sqlite")).unwrap();
        let vmm: Arc<dyn Vmm> = self.vmm.clone();
        let gateway = Arc::new(Gateway::new(data.join("git")));
        let rooms = self.rooms();
        let environments = Environments::open(data, vmm.clone(), gateway.clone(), rooms.clone()).await.unwrap();
        let forge = self.forge.clone().unwrap_or_else(|| Arc::new(Local::new(store.clone(), data)));
        let diffs = crate::diff::Diffs::open(data).unwrap();
        let parts = Parts { data: data.into(), store, vmm, gateway, environments, forge, diffs, rooms };
        Fleet::open(parts, records, "epoch".into()).await.unwrap()
    }

    /// Puts a new session into the store, for the next hostd.
    pub(super) async fn session(&self, slug: &str) -> Record {
        self.session_that(slug, None).await
    }

    /// The same, suspended so many seconds after it began to wait.
    pub(super) async fn session_that(&self, slug: &str, suspend_after: Option<u64>) -> Record {
        let (store, known) = Store::open(&self.folder.path().join("store.sqlite")).unwrap();
        let (session, effects) = Session::new(
            NewSession {
                id: format!("01J{:023}", known.len()),
                slug: slug.into(),
                title: slug.into(),
                task: "do it".into(),
                environment: "demo".into(),
                build: "b".into(),
                owner: "sam".into(),
                command: vec!["agent".into(), "--fast".into()],
                directory: "/work".into(),
                repository: Some("widgets".into()),
                size: Size { vcpus: 1, memory: 256 << 20, disk: 1 << 30 },
                typed_events: false,
            },
            1,
        );
        let machine = Machine { layers: vec!["/base.ext4".into()], suspend_after, ..Machine::default() };
        let record = Record { session, machine };
        store.add(&record, effects).await.unwrap();
        record
    }
}

/// Whose sessions these are.
pub(super) fn sam() -> Actor {
    Actor::person("sam")
}

/// Waits until the feed shows the session so.
pub(super) async fn until(fleet: &Fleet, slug: &str, what: impl Fn(&SessionView) -> bool) -> SessionView {
    let mut reader = fleet.feed().read("", 0);
    let wait = async {
        loop {
            if let Ok(view) = fleet.get(slug)
                && what(&view)
            {
                return view;
            }
            let (_, News::Snapshot(_) | News::Change(_)) = reader.next().await;
        }
    };
    match tokio::time::timeout(DEADLINE, wait).await {
        Ok(view) => view,
        Err(_) => panic!("not in time: {:?}", fleet.get(slug)),
    }
}

pub(super) async fn until_is(fleet: &Fleet, slug: &str, lifecycle: &str) -> SessionView {
    until(fleet, slug, |view| view.session.lifecycle.word() == lifecycle).await
}
