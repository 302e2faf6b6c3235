//! VMs that are made up: their guests speak the real `guest.v1` over memory.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use hostd_core::{Cause, requirements::Requirements};
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
use crate::vm::{
    Io, Memory, MemoryUse, Port, Vm, VmError, VmSpec, Vmm, VmmInfo,
    snapshot::store::{Manifest, Stored},
};

/// Makes VMs of memory.
#[derive(Default)]
pub(in crate::sessions) struct MadeUp {
    /// What guests answer to the next starts of their agents, where that is not that they started.
    pub(in crate::sessions) no_agent: Arc<Mutex<Vec<Code>>>,
    /// Guests do not answer while this is set.
    pub(in crate::sessions) silent: Arc<AtomicBool>,
    /// The next start fails so.
    pub(in crate::sessions) fails: Mutex<Option<String>>,
    /// Disks cannot be pivoted while this is set.
    pub(in crate::sessions) stuck: Arc<AtomicBool>,
    /// The next snapshot ends so.
    pub(in crate::sessions) saves: Arc<Mutex<Save>>,
    /// Told when a snapshot begins, which it does not go beyond while this is locked.
    pub(in crate::sessions) saving: Arc<Notify>,
    pub(in crate::sessions) hold: Arc<tokio::sync::Mutex<()>>,
    pub(in crate::sessions) vms: Mutex<Vec<Arc<MadeUpVm>>>,
    pub(in crate::sessions) leftovers: AtomicUsize,
    /// How often it was asked how snapshots are written.
    pub(in crate::sessions) settled: AtomicUsize,
    /// Disks that were made.
    pub(in crate::sessions) disks: AtomicUsize,
    /// No merge comes to its end while this is locked.
    pub(in crate::sessions) merging: tokio::sync::Mutex<()>,
    /// VMs keep layers that were merged while this is set.
    pub(in crate::sessions) clings: Arc<AtomicBool>,
    /// Programs run in guests.
    pub(in crate::sessions) execs: Arc<Execs>,
}

/// How a snapshot ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::sessions) enum Save {
    #[default]
    Good,
    Fails,
    Panics,
}

pub(in crate::sessions) struct MadeUpVm {
    pub(in crate::sessions) spec: VmSpec,
    pub(in crate::sessions) guest: Guest,
    /// Attempts to connect its way out.
    pub(in crate::sessions) tunnels: AtomicUsize,
    silent: Arc<AtomicBool>,
    saves: Arc<Mutex<Save>>,
    saving: Arc<Notify>,
    hold: Arc<tokio::sync::Mutex<()>>,
    stuck: Arc<AtomicBool>,
    clings: Arc<AtomicBool>,
    /// What the layers say that it holds, bottom first; the last is written to.
    pub(in crate::sessions) chain: watch::Sender<Vec<String>>,
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

    pub(in crate::sessions) fn vm(&self, number: usize) -> Arc<MadeUpVm> {
        self.vms.lock().unwrap()[number].clone()
    }

    pub(in crate::sessions) fn started(&self) -> usize {
        self.vms.lock().unwrap().len()
    }

    pub(in crate::sessions) fn running(&self) -> usize {
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
    pub(in crate::sessions) fn gone(&self, cause: Cause) {
        self.guest.ended.send_if_modified(|ended| {
            let first = ended.is_none();
            ended.get_or_insert(cause);
            first
        });
        self.tasks.lock().unwrap().abort_all();
    }

    /// Its connections break; new ones may be made.
    pub(in crate::sessions) fn unplug(&self) {
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
