//! Real VMs: one QEMU process each, machine `microvm`, no network card.
//!
//! In the data folder: `kernel/RELEASE/`, `initramfs/HASH.cpio`. In a VM's folder: the sockets `qmp.sock`, `link.sock`,
//! `tunnel.sock`, its record `vm.json`, and, when there was something to write, `serial.log` and `qemu.log`.
//!
//! QEMU drops what rights it can by itself (seccomp, no new privileges). A jail around it, with its own user and root, is
//! for a later step; until then a QEMU that a guest has taken over has the rights of hostd's user.

mod age;
mod ahead;
mod argv;
mod bare;
mod cpu_model;
pub mod cpu_state;
mod diagnosis;
mod disk;
#[cfg(fuzzing)]
pub mod fuzz;
mod halt;
mod hashes;
mod leftover;
mod loaded;
mod machine;
mod merge;
mod migration;
mod owner;
mod plan;
mod process;
mod proof;
mod qmp;
mod record;
mod sealed;
mod serial;
mod snapshot;
mod sockets;
mod stall;
mod standby;
mod templates;
mod version;
mod waiting;

use std::{
    ffi::OsString,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use hostd_core::{recipe::Cpu, requirements::Requirements, session::Size};
use serde_json::json;
use tokio::{net::UnixStream, sync::Mutex};

pub use super::accelerator::{Accelerator, Choice};
use super::{
    Io, Memory, MemoryUse, Port, Standby, Vm, VmError, VmSpec, Vmm, VmmInfo, accelerator,
    identity::ProcessIdentity,
    initramfs,
    kernel::{self, Fetch, Kernel, Source},
    program::{APT_CACHE, APT_GET, DEPMOD, DPKG_DEB, MODPROBE, QEMU, QEMU_IMG, Search},
    snapshot::store::Method,
    tsc::Tsc,
};
pub use bare::Loaded;
pub use diagnosis::{BLANK, Confinement, KernelFiles, Tool};
use disk::Disk;
use machine::Machine;
use plan::{Begin, Plan};
pub use proof::{Proof, Prover};
use serial::Serial;
use snapshot::{Layout, Load};
use waiting::Waiting;

/// Longest time for QEMU to start and greet: it loads the kernel meanwhile, perhaps from a slow disk.
const GREETING: Duration = Duration::from_secs(60);
const CREATE_DISK: Duration = Duration::from_secs(60);

/// Makes VMs with the host's QEMU. Clones share what they have found out about its files.
#[derive(Clone, Debug)]
pub struct Qemu {
    data: PathBuf,
    guest_binary: PathBuf,
    accelerator: Choice,
    kvm: Arc<accelerator::Tried>,
    kernel_source: Source,
    search: Search,
    tsc: Arc<Tsc>,
    version: Arc<version::Cache>,
    hashes: Arc<hashes::Cache>,
    initramfs: Arc<initramfs::Cache>,
    templates: Arc<templates::Templates>,
    sealed: Arc<sealed::Copies>,
    cpu_models: Arc<cpu_model::Cache>,
    ready: Arc<standby::Ready>,
    /// Held while something is fetched or tried: the second who asks waits for the first.
    preparing: Arc<Mutex<()>>,
    /// Method of snapshots that is used whatever was proven; None: the proven one.
    method: Option<Method>,
    /// File of the proof that was last looked for without being asked to, whatever came of it.
    tried: Arc<std::sync::Mutex<Option<PathBuf>>>,
    prover: Option<Arc<dyn Prover>>,
}

impl Qemu {
    /// Keeps kernel and initramfs in the data folder; `guest_binary` is the static `pilothouse-guest`.
    #[must_use]
    pub fn new(data: &Path, guest_binary: PathBuf) -> Self {
        Self {
            data: absolute(data),
            guest_binary: absolute(&guest_binary),
            accelerator: Choice::Auto,
            kvm: Arc::default(),
            kernel_source: Source::Apt,
            search: Search::default(),
            tsc: Arc::new(Tsc::start()),
            version: Arc::default(),
            hashes: Arc::default(),
            initramfs: Arc::default(),
            templates: Arc::default(),
            sealed: Arc::default(),
            cpu_models: Arc::default(),
            ready: Arc::default(),
            preparing: Arc::default(),
            method: None,
            tried: Arc::default(),
            prover: None,
        }
    }

    /// Sets the accelerator that is used.
    #[must_use]
    pub fn with_accelerator(self, accelerator: Choice) -> Self {
        Self { accelerator, ..self }
    }

    /// Has the kernel taken from a .deb, or from a folder with boot/vmlinuz-RELEASE and lib/modules/RELEASE, instead of fetched
    /// with apt.
    #[must_use]
    pub fn with_kernel(self, kernel: &Path) -> Self {
        Self { kernel_source: Source::Local(absolute(kernel)), ..self }
    }

    /// Has programs looked for in this path instead of on PATH.
    #[must_use]
    pub fn with_path(self, path: OsString) -> Self {
        Self { search: Search { path: Some(path) }, ..self }
    }

    /// Has snapshots written by this method, whatever was proven.
    #[must_use]
    pub fn with_method(self, method: Method) -> Self {
        Self { method: Some(method), ..self }
    }

    /// Sets what finds out which method works with a QEMU that was not met before: as part of [`Vmm::prepare`], or of
    /// [`Vmm::settle`].
    #[must_use]
    pub fn with_prover(self, prover: Arc<dyn Prover>) -> Self {
        Self { prover: Some(prover), ..self }
    }

    /// The accelerator that is used, and why.
    fn accelerator(&self) -> (Accelerator, String) {
        accelerator::choose(self.accelerator, &self.kvm)
    }

    /// Whether this QEMU opens the RAM of templates for reading only; one that does not gets a sealed copy of it in memory.
    #[must_use]
    pub fn maps_read_only(version: &str) -> bool {
        version::at_least(version, (8, 2))
    }

    fn kernel(&self) -> Option<Kernel> {
        kernel::newest(&self.data.join("kernel"))
    }

    fn initramfs(&self, kernel: &Kernel) -> Result<PathBuf, VmError> {
        self.check_guest_binary()?;
        self.initramfs.ensure(&self.data.join("initramfs"), kernel, &self.guest_binary)
    }

    fn check_guest_binary(&self) -> Result<(), VmError> {
        let help = "build it with tests/build-guest.sh, or name it with PILOTHOUSE_GUEST";
        self.guest_binary.metadata().map(drop).map_err(|error| VmError::File {
            path: self.guest_binary.clone(),
            error: std::io::Error::new(error.kind(), format!("the guest's program is not there ({error}); {help}")),
        })
    }

    async fn launch(&self, spec: &VmSpec, from: Option<&Path>) -> Result<Machine, VmError> {
        let program = self.search.find(QEMU)?;
        let resumed = from.filter(|from| !is_template(from, &spec.memory));
        let made = match resumed {
            Some(from) => Some(snapshot::made_with(from).await?),
            None => None,
        };
        let plan = self.plan(spec, &program, made).await?;
        let requirements = plan.requirements_of(spec);
        let load = match from {
            Some(from) => Some(snapshot::open(from, &requirements).await?),
            None => None,
        };
        let launch = Launch { qemu: self, plan, spec, requirements, load };
        // A session that begins takes a warm VM, or takes its time.
        if resumed.is_some()
            && let Some((waiting, disk)) = self.take_ready(spec, &launch.requirements).await
        {
            match launch.run(waiting, disk).await {
                Err((error, true)) => tracing::warn!(%error, "what stood by for a resume is of no use"),
                ran => return ran.map_err(|(error, _)| error),
            }
        }
        let begin = if from.is_some() { Begin::Snapshot } else { Begin::Boot };
        let waiting = Waiting::start(&launch.plan, spec, &program, begin).await?;
        launch.run(waiting, Disk::new(spec.layers.len())).await.map_err(|(error, _)| error)
    }

    async fn begin(&self, spec: VmSpec, from: Option<&Path>) -> Result<Arc<dyn Vm>, VmError> {
        let memory = match spec.memory {
            Memory::Own => Memory::Own,
            Memory::Template(file) => Memory::Template(absolute(&file)),
            Memory::Clone(folder) => Memory::Clone(absolute(&folder)),
        };
        let spec = VmSpec { directory: absolute(&spec.directory), memory, ..spec };
        Ok(Arc::new(self.launch(&spec, from).await?))
    }
}

/// A session that begins gets today's guest: one whose template has another boots, and it is said how to mend that.
fn is_template(snapshot: &Path, memory: &Memory) -> bool {
    matches!(memory, Memory::Clone(template) if template == snapshot)
}

fn no_kernel() -> VmError {
    VmError::Kernel("none was prepared yet; build an environment first".into())
}

/// What makes a VM of a QEMU that waits.
struct Launch<'a> {
    qemu: &'a Qemu,
    plan: Plan,
    spec: &'a VmSpec,
    requirements: Requirements,
    load: Option<Load>,
}

impl Launch<'_> {
    /// Fills the QEMU, where it is to be, and lets it run. An error comes with whether the process is gone.
    async fn run(&self, mut waiting: Waiting, mut disk: Disk) -> Result<Machine, (VmError, bool)> {
        let layout = Layout {
            pid: waiting.process.pid,
            base: waiting.base,
            ram: self.plan.ram(self.spec),
            memory: self.plan.memory.clone(),
            disk: self.spec.disk.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            qemu: self.qemu.clone(),
            requirements: self.requirements.clone(),
        };
        match self.fill(&mut waiting, &mut disk, &layout).await {
            Ok(link) => {
                let folder = &self.spec.directory;
                Ok(Machine::start(folder, waiting, layout, disk, Serial::fresh(folder), link))
            }
            Err(error) => Err((error, waiting.end().await)),
        }
    }

    /// Fills the QEMU from the snapshot, its link's port connected before its devices are loaded. So it was when the guest was
    /// suspended: the guest sees no change, and has nothing to do before it hears its host.
    async fn fill(
        &self,
        waiting: &mut Waiting,
        disk: &mut Disk,
        layout: &Layout,
    ) -> Result<Option<UnixStream>, VmError> {
        let ahead = self.plan.read_ahead();
        let link = match &self.load {
            Some(load) => {
                let link = waiting.connect().await?;
                let give = async |qmp: &mut _| disk.give(qmp, &self.spec.layers, &self.spec.disk).await;
                snapshot::load(&mut waiting.qmp, layout, load, &self.spec.directory, give).await?;
                Some(link)
            }
            None => None,
        };
        if let Some(ahead) = ahead {
            // It runs either way, and then takes more memory.
            match ahead.await {
                Ok(Ok(bytes)) => tracing::debug!(bytes, "what the page cache had not of a template was read"),
                Ok(Err(error)) => tracing::warn!(%error, "a template is not read ahead of its guest"),
                Err(error) => tracing::warn!(%error, "a template is not read ahead of its guest"),
            }
        }
        let runs = waiting.qmp.execute("cont", json!({}), GREETING).await;
        runs.map(|_| link).map_err(|error| waiting.said(&error))
    }
}

#[async_trait]
impl Vmm for Qemu {
    fn info(&self) -> VmmInfo {
        let (accelerator, accelerator_reason) = self.accelerator();
        let kernel = self.kernel();
        let mut needed = vec![QEMU, QEMU_IMG];
        if kernel.is_none() {
            needed.extend([DPKG_DEB, DEPMOD, MODPROBE]);
            if self.kernel_source == Source::Apt {
                needed.extend([APT_CACHE, APT_GET]);
            }
        }
        let problems = needed.into_iter().filter_map(|program| self.search.find(program).err());
        let problems = problems.chain(self.check_guest_binary().err()).map(|error| error.to_string()).collect();
        VmmInfo {
            name: "qemu",
            warnings: self.proof().and_then(|proof| proof.warning()).into_iter().collect(),
            accelerator: accelerator.name(),
            accelerator_reason,
            version: self.search.find(QEMU).map(|program| self.version.of(&program)).unwrap_or_default(),
            kernel: kernel.map(|kernel| kernel.release).unwrap_or_default(),
            problems,
        }
    }

    async fn prepare(&self, progress: &(dyn Fn(String) + Send + Sync)) -> Result<(), VmError> {
        let _one_at_a_time = self.preparing.lock().await;
        let folder = self.data.join("kernel");
        if self.kernel().is_none() {
            Fetch { folder: &folder, search: &self.search, progress }.run(&self.kernel_source).await?;
        }
        let none = || VmError::Kernel(format!("{} has none after preparing it", folder.display()));
        let (qemu, kernel) = (self.clone(), self.kernel().ok_or_else(none)?);
        snapshot::blocking(move || qemu.initramfs(&kernel)).await?;
        self.prove(progress).await
    }

    async fn settle(&self) {
        self.find_method().await;
    }

    async fn fingerprint(&self, size: Size, cpu: Cpu) -> Result<Option<String>, VmError> {
        self.requirements(size, cpu).await.map(|requirements| Some(fingerprint(&requirements)))
    }

    async fn create_disk(&self, disk: &Path, bytes: u64) -> Result<(), VmError> {
        let disk = absolute(disk);
        let arguments: [OsString; 6] =
            ["create".into(), "-q".into(), "-f".into(), "qcow2".into(), disk.clone().into(), bytes.to_string().into()];
        let made = self.search.run(QEMU_IMG, &arguments, None, CREATE_DISK).await;
        if made.is_err() {
            // Half a disk is of no use.
            let _ = std::fs::remove_file(&disk);
        }
        made.map(drop)
    }

    async fn merge(&self, layers: &[PathBuf], own: usize, to: &Path, bytes: u64) -> Result<(), VmError> {
        let layers: Vec<_> = layers.iter().map(|layer| absolute(layer)).collect();
        let to = absolute(to);
        self.create_disk(&to, bytes).await?;
        let merged = merge::merge(&self.search, &layers, own, &to).await;
        if merged.is_err() {
            let _ = std::fs::remove_file(&to);
        }
        merged
    }

    async fn start(&self, spec: VmSpec) -> Result<Arc<dyn Vm>, VmError> {
        self.begin(spec, None).await
    }

    async fn resume(&self, spec: VmSpec, snapshot: &Path) -> Result<Arc<dyn Vm>, VmError> {
        self.begin(spec, Some(&absolute(snapshot))).await
    }

    async fn stand_by(&self, wanted: &[Standby]) {
        self.keep_ready(wanted).await;
    }

    fn standing_by(&self) -> MemoryUse {
        self.ready.memory(ProcessIdentity::memory)
    }

    fn standing_by_part(&self) -> MemoryUse {
        self.ready.memory(ProcessIdentity::memory_part)
    }

    async fn connect_leftover(&self, directory: &Path, port: Port) -> io::Result<Box<dyn Io>> {
        Ok(Box::new(sockets::connect_port(&absolute(directory), port).await?))
    }

    async fn end_leftover(&self, directory: &Path) -> Result<bool, VmError> {
        leftover::end(&absolute(directory)).await
    }
}

/// One word for all requirements but the clock's rate, which is measured and never quite the same.
fn fingerprint(requirements: &Requirements) -> String {
    let timeless = Requirements { tsc_khz: None, ..requirements.clone() };
    blake3::hash(serde_json::json!(timeless).to_string().as_bytes()).to_hex().to_string()
}

/// The path made absolute, since QEMU runs in another folder. One that cannot be made so fails where it is used.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

#[cfg(test)]
mod refusals;
#[cfg(test)]
#[path = "qemu/tests.rs"]
mod tests;
