//! VMs that are fakes: their guests speak the real `guest.v1` over memory.

use std::{
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use hostd_core::{Cause, recipe::Cpu, requirements::Requirements, session::Size};
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

use super::{fake_exec::Execs, fake_guest::FakeGuest};
use crate::vm::{
    Adopted, Io, Memory, MemoryUse, Port, Vm, VmError, VmSpec, Vmm, VmmInfo,
    snapshot::store::{Manifest, Stored},
};

/// Makes VMs that are fakes, and does what a test wants of it.
#[derive(Default)]
pub(crate) struct FakeVmm {
    /// What guests answer to the next starts of their agents, where that is not that they started.
    pub(crate) no_agent: Arc<Mutex<Vec<Code>>>,
    /// Guests do not answer while this is set.
    pub(crate) silent: Arc<AtomicBool>,
    /// The next start fails so.
    pub(crate) fails: Mutex<Option<String>>,
    /// Disks cannot be pivoted while this is set.
    pub(crate) stuck: Arc<AtomicBool>,
    /// The next snapshot ends so.
    pub(crate) saves: Arc<Mutex<Save>>,
    /// Told when a snapshot begins, which it does not go beyond while this is locked.
    pub(crate) saving: Arc<Notify>,
    pub(crate) hold: Arc<tokio::sync::Mutex<()>>,
    pub(crate) vms: Mutex<Vec<Arc<FakeVm>>>,
    /// VMs of an earlier hostd cannot be taken over, for this reason.
    pub(crate) unknown: Mutex<Option<String>>,
    /// How often taking over a VM fails yet, for a reason that passes.
    pub(crate) passing: AtomicUsize,
    /// Folders whose VMs of an earlier hostd were ended.
    pub(crate) orphans: Mutex<Vec<PathBuf>>,
    /// How often it was asked how snapshots are written.
    pub(crate) settled: AtomicUsize,
    /// Disks that were made.
    pub(crate) disks: AtomicUsize,
    /// No merge comes to its end while this is locked.
    pub(crate) merging: tokio::sync::Mutex<()>,
    /// VMs keep layers that were merged while this is set.
    pub(crate) clings: Arc<AtomicBool>,
    /// Programs run in guests.
    pub(crate) execs: Arc<Execs>,
    /// What snapshots depend on; None: VMs cannot be snapshot as templates.
    pub(crate) fingerprint: Mutex<Option<String>>,
    /// Clones boot instead of going on while this is set.
    pub(crate) forgets: AtomicBool,
    /// VMs hold none of the host's memory while this is set; else 64 MiB each.
    pub(crate) weightless: AtomicBool,
    /// The store of its hostd: every layer that a session's VM begins to write to is to be named there.
    store: Arc<Mutex<Option<PathBuf>>>,
}

/// How a snapshot ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Save {
    #[default]
    Good,
    Fails,
    Panics,
}

pub(crate) struct FakeVm {
    /// Bytes of the host's memory that it holds.
    resident: u64,
    pub(crate) spec: VmSpec,
    pub(crate) guest: FakeGuest,
    /// Attempts to connect its way out.
    pub(crate) tunnels: AtomicUsize,
    silent: Arc<AtomicBool>,
    saves: Arc<Mutex<Save>>,
    saving: Arc<Notify>,
    hold: Arc<tokio::sync::Mutex<()>>,
    stuck: Arc<AtomicBool>,
    clings: Arc<AtomicBool>,
    /// Whether it stands still.
    pub(crate) stands: watch::Sender<bool>,
    /// The layer that it writes to.
    top: Mutex<PathBuf>,
    store: Arc<Mutex<Option<PathBuf>>>,
    /// What the layers say that it holds, bottom first; the last is written to.
    pub(crate) chain: watch::Sender<Vec<String>>,
    tasks: Mutex<JoinSet<()>>,
    /// What its guest wrote to its serial console.
    pub(crate) console: Mutex<Vec<u8>>,
    /// Whether a signal has stopped its process.
    pub(crate) stopped: AtomicBool,
}

impl FakeVmm {
    /// Has VMs of sessions run only on layers that are named in this store.
    pub(crate) fn has_store(&self, store: &Path) {
        *self.store.lock().unwrap() = Some(store.into());
    }

    /// One whose VMs can be snapshot as templates, and in whose guests programs only play a part: see [`Execs`].
    pub(crate) fn scripted() -> Self {
        let vmm = Self { fingerprint: Mutex::new(Some("qemu".into())), ..Self::default() };
        vmm.execs.scripted.store(true, Ordering::Relaxed);
        vmm.weightless.store(true, Ordering::Relaxed);
        vmm
    }

    /// What was to be run in guests, in order, as `USER@DIRECTORY: COMMAND`.
    pub(crate) fn commands(&self) -> Vec<String> {
        self.execs.commands.lock().unwrap().clone()
    }

    /// What each of its VMs was started with, in order.
    pub(crate) fn specs(&self) -> Vec<VmSpec> {
        self.vms.lock().unwrap().iter().map(|vm| vm.spec.clone()).collect()
    }

    fn vm_of(&self, spec: VmSpec, mut guest: FakeGuest) -> Arc<FakeVm> {
        guest.execs = self.execs.clone();
        let (silent, saves, stuck) = (self.silent.clone(), self.saves.clone(), self.stuck.clone());
        let (saving, hold, clings) = (self.saving.clone(), self.hold.clone(), self.clings.clone());
        let chain = watch::Sender::new(spec.layers.iter().chain([&spec.disk]).map(|layer| content(layer)).collect());
        let (tasks, top, store) = (Mutex::default(), Mutex::new(spec.disk.clone()), self.store.clone());
        let vm = Arc::new(FakeVm {
            spec,
            stands: watch::Sender::new(false),
            console: Mutex::new(b"kernel: last words\n".into()),
            stopped: AtomicBool::new(false),
            top,
            store,
            guest,
            tunnels: AtomicUsize::new(0),
            silent,
            saves,
            saving,
            hold,
            stuck,
            clings,
            resident: if self.weightless.load(Ordering::Relaxed) { 0 } else { 64 << 20 },
            chain,
            tasks,
        });
        vm.check_top();
        self.vms.lock().unwrap().push(vm.clone());
        vm
    }

    /// The VM that runs in this folder.
    fn of_folder(&self, directory: &Path) -> Option<Arc<FakeVm>> {
        let left = |vm: &&Arc<FakeVm>| vm.spec.directory == directory && vm.guest.ended.borrow().is_none();
        self.vms.lock().unwrap().iter().rev().find(left).cloned()
    }

    pub(crate) fn vm(&self, number: usize) -> Arc<FakeVm> {
        self.vms.lock().unwrap()[number].clone()
    }

    pub(crate) fn started(&self) -> usize {
        self.vms.lock().unwrap().len()
    }

    pub(crate) fn running(&self) -> usize {
        self.vms.lock().unwrap().iter().filter(|vm| vm.guest.ended.borrow().is_none()).count()
    }
}

#[async_trait]
impl Vmm for FakeVmm {
    fn info(&self) -> VmmInfo {
        VmmInfo { name: "fake", ..VmmInfo::default() }
    }

    async fn prepare(&self, progress: &(dyn Fn(String) + Send + Sync)) -> Result<(), VmError> {
        progress("prepared".into());
        Ok(())
    }

    async fn fingerprint(&self, _: Size, _: Cpu) -> Result<Option<String>, VmError> {
        Ok(self.fingerprint.lock().unwrap().clone())
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
            return Err(VmError::Failed { program: "fake".into(), output });
        }
        Ok(self.vm_of(spec, FakeGuest::failing(self.no_agent.clone())))
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
        if spec.memory == Memory::Clone(snapshot.into()) {
            Manifest::read(snapshot)?;
            let boot_id = if self.forgets.load(Ordering::Relaxed) { "second" } else { "first" };
            return Ok(self.vm_of(spec, FakeGuest::of_boot(boot_id)));
        }
        if let Memory::Clone(template) = &spec.memory {
            Manifest::template(template)?;
        }
        let manifest = Manifest::read(snapshot)?;
        manifest.check(snapshot, &Requirements::default())?;
        manifest.verify(snapshot)?;
        let last =
            self.vms.lock().unwrap().iter().rev().find(|vm| vm.spec.name == spec.name).map(|vm| vm.guest.again());
        let guest = last.unwrap_or_else(|| FakeGuest::with_output(std::fs::read(snapshot.join("memory.zst")).unwrap()));
        guest.frozen.store(true, Ordering::Relaxed);
        Ok(self.vm_of(spec, guest))
    }

    async fn fits(&self, spec: &VmSpec, snapshot: &Path) -> Result<(), VmError> {
        for layer in spec.layers.iter().filter(|layer| layer.extension().is_some_and(|e| e == "qcow2")) {
            std::fs::metadata(layer).map_err(|error| VmError::File { path: layer.clone(), error })?;
        }
        let manifest = Manifest::read(snapshot)?;
        manifest.check(snapshot, &Requirements::default())?;
        Ok(manifest.verify(snapshot)?)
    }

    async fn adopt(&self, directory: &Path) -> Result<Adopted, VmError> {
        if let Some(why) = self.unknown.lock().unwrap().clone() {
            return Err(VmError::NotAdopted(why));
        }
        if self.passing.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
            return Err(VmError::File { path: directory.into(), error: io::ErrorKind::TimedOut.into() });
        }
        let vm = self.of_folder(directory).ok_or(VmError::Over(Cause::EndedUnseen))?;
        let disk = vm.top.lock().unwrap().file_name().unwrap().to_str().unwrap().to_owned();
        Ok(Adopted { vm, disk })
    }

    fn left(&self, directory: &Path) -> bool {
        self.of_folder(directory).is_some()
    }

    async fn connect_orphan(&self, directory: &Path, port: Port) -> io::Result<Box<dyn Io>> {
        self.of_folder(directory).ok_or(io::ErrorKind::NotFound)?.connect(port).await
    }

    async fn end_orphan(&self, directory: &Path) -> Result<bool, VmError> {
        self.orphans.lock().unwrap().push(directory.into());
        if let Some(vm) = self.of_folder(directory) {
            vm.gone(Cause::VmDied("ended".into()));
        }
        Ok(true)
    }
}

impl FakeVm {
    /// It writes to a layer that the next hostd knows.
    fn check_top(&self) {
        let (top, store) = (self.top.lock().unwrap().clone(), self.store.lock().unwrap().clone());
        let Some(store) = store.filter(|store| top.starts_with(store.with_file_name("sessions"))) else { return };
        let named = rusqlite::Connection::open(&store).unwrap().query_row(
            "SELECT count(*) FROM sessions WHERE id = ?1 AND json_extract(machine, '$.disk') = ?2",
            [top.parent().unwrap().file_name().unwrap().to_str(), top.file_name().unwrap().to_str()],
            |row| row.get::<_, u32>(0),
        );
        assert_eq!(named, Ok(1), "no record names {}", top.display());
    }

    /// It is gone, so.
    pub(crate) fn gone(&self, cause: Cause) {
        self.guest.ended.send_if_modified(|ended| {
            let first = ended.is_none();
            ended.get_or_insert(cause);
            first
        });
        self.tasks.lock().unwrap().abort_all();
    }

    /// Its connections break; new ones may be made.
    pub(crate) fn unplug(&self) {
        self.tasks.lock().unwrap().abort_all();
    }
}

#[async_trait]
impl Vm for FakeVm {
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
        self.console.lock().unwrap().clone()
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    async fn snapshot(&self, folder: &Path) -> Result<Manifest, VmError> {
        self.stands.send_replace(true);
        self.saving.notify_one();
        drop(self.hold.lock().await);
        let save = std::mem::take(&mut *self.saves.lock().unwrap());
        match save {
            Save::Good => {}
            Save::Fails => return Err(VmError::Failed { program: "fake".into(), output: "no room".into() }),
            Save::Panics => panic!("as the test wants it"),
        }
        let beside = folder.with_extension("new");
        std::fs::create_dir_all(&beside).unwrap();
        let write = |name: &str| std::fs::write(beside.join(name), self.guest.output()).unwrap();
        let memory = if matches!(self.spec.memory, Memory::Template(_)) { "ram" } else { "memory.zst" };
        [memory, "devices"].into_iter().for_each(write);
        let stored = if memory == "ram" { Stored::stamped } else { Stored::of };
        let (stored, devices) = (stored(&beside, memory)?, Stored::of(&beside, "devices")?);
        let template = if memory == "ram" { stored.hash.clone() } else { String::new() };
        let disk = self.spec.disk.file_name().unwrap().to_str().unwrap().to_owned();
        let requirements = Requirements { template, ..Requirements::default() };
        let manifest = Manifest::new(1, requirements, 0, disk, stored, devices);
        manifest.publish(&beside, folder)?;
        Ok(manifest)
    }

    async fn pause(&self) -> Result<(), VmError> {
        self.stands.send_replace(true);
        Ok(())
    }

    async fn go_on(&self) -> Result<(), VmError> {
        self.check_top();
        self.stands.send_replace(false);
        Ok(())
    }

    async fn pivot(&self, top: &Path) -> Result<(), VmError> {
        assert!(top.exists());
        if self.stuck.load(Ordering::Relaxed) {
            return Err(VmError::Failed { program: "fake".into(), output: "the disk is stuck".into() });
        }
        *self.top.lock().unwrap() = top.into();
        self.chain.send_modify(|chain| chain.push(content(top)));
        Ok(())
    }

    async fn rebase(&self, below: usize, merged: &Path) -> Result<(), VmError> {
        if self.clings.load(Ordering::Relaxed) {
            return Err(VmError::Failed { program: "fake".into(), output: "it clings to its layers".into() });
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
        MemoryUse { private: if lives { self.resident } else { 0 }, shared: 0 }
    }

    fn memory_part(&self) -> MemoryUse {
        self.memory()
    }
}

/// What a layer says; that of an environment is made up, and says nothing.
fn content(layer: &Path) -> String {
    // A base that was really made has gibibytes of nothing.
    let mut text = String::new();
    let read = std::fs::File::open(layer).and_then(|file| file.take(64 << 10).read_to_string(&mut text));
    read.map_or_else(|_| String::new(), |_| text)
}

async fn serve(guest: FakeGuest, io: DuplexStream) {
    let Ok(mut io) = greet(io).await else { return };
    let Ok(true) = shake(&mut io, &guest).await else { return };
    let service = TowerToHyperService::new(GuestServer::new(guest));
    let server = http2::Builder::new(TokioExecutor::new());
    // However it ends: the host's end is what is tested.
    let _ = server.serve_connection(TokioIo::new(io), service).await;
}
