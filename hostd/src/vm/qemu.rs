//! Real VMs: one QEMU process each, machine `microvm`, no network card.
//!
//! In the data folder: `kernel/RELEASE/`, `initramfs/HASH.cpio`. In a VM's folder: the sockets `qmp.sock`, `link.sock`,
//! `tunnel.sock`, its record `vm.json`, and, when there was something to write, `serial.log` and `qemu.log`.
//!
//! QEMU drops what rights it can by itself (seccomp, no new privileges). A jail around it, with its own user and root, is
//! for a later step; until then a QEMU that a guest has taken over has the rights of hostd's user.

mod argv;
mod diagnosis;
mod disk;
#[cfg(fuzzing)]
pub mod fuzz;
mod halt;
mod hashes;
mod leftover;
mod machine;
mod merge;
mod migration;
mod owner;
mod plan;
mod process;
mod proof;
mod qmp;
mod record;
mod serial;
mod snapshot;
mod sockets;
mod stall;
mod templates;
mod version;

use std::{
    ffi::OsString,
    os::fd::AsRawFd,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use hostd_core::{requirements::Requirements, session::Size};
use serde_json::json;
use tokio::{net::UnixStream, sync::Mutex, time::timeout};

pub use super::accelerator::{Accelerator, Choice};
use super::{
    Memory, Vm, VmError, VmSpec, Vmm, VmmInfo, accelerator,
    file::failed,
    identity::ProcessIdentity,
    initramfs,
    kernel::{self, Fetch, Kernel, Source},
    program::{self, APT_CACHE, APT_GET, DEPMOD, DPKG_DEB, MODPROBE, QEMU, QEMU_IMG, Search},
    snapshot::store::Method,
    tsc::Tsc,
};
pub use diagnosis::{BLANK, Confinement, KernelFiles, Tool};
use machine::Machine;
use owner::KILL;
use process::Process;
pub use proof::{Proof, Prover};
use qmp::Qmp;
use record::Record;
use serial::Serial;
use snapshot::{Layout, Load};
use sockets::Listeners;

/// For QEMU to start and greet: it loads the kernel meanwhile, perhaps from a slow disk.
const GREETING: Duration = Duration::from_secs(60);
const CREATE_DISK: Duration = Duration::from_secs(60);

/// Makes VMs with the host's QEMU. Clones share what they have found out about its files.
#[derive(Clone, Debug)]
pub struct Qemu {
    data: PathBuf,
    guest_binary: PathBuf,
    accelerator: Choice,
    kernel_source: Source,
    search: Search,
    tsc: Arc<Tsc>,
    version: Arc<version::Cache>,
    hashes: Arc<hashes::Cache>,
    initramfs: Arc<initramfs::Cache>,
    templates: Arc<templates::Templates>,
    /// Held while something is fetched or tried: the second who asks waits for the first.
    preparing: Arc<Mutex<()>>,
    /// Whatever was proven.
    method: Option<Method>,
    /// The proof that was last looked for without being asked to, whatever came of it.
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
            kernel_source: Source::Apt,
            search: Search::default(),
            tsc: Arc::new(Tsc::start()),
            version: Arc::default(),
            hashes: Arc::default(),
            initramfs: Arc::default(),
            templates: Arc::default(),
            preparing: Arc::default(),
            method: None,
            tried: Arc::default(),
            prover: None,
        }
    }

    /// Uses this accelerator.
    #[must_use]
    pub fn with_accelerator(self, accelerator: Choice) -> Self {
        Self { accelerator, ..self }
    }

    /// Takes the kernel from a .deb, or from a folder with boot/vmlinuz-RELEASE and lib/modules/RELEASE, instead of
    /// fetching it with apt.
    #[must_use]
    pub fn with_kernel(self, kernel: &Path) -> Self {
        Self { kernel_source: Source::Local(absolute(kernel)), ..self }
    }

    /// Looks for programs here instead of on PATH.
    #[must_use]
    pub fn with_path(self, path: OsString) -> Self {
        Self { search: Search { path: Some(path) }, ..self }
    }

    /// Writes snapshots by this method, whatever was proven.
    #[must_use]
    pub fn with_method(self, method: Method) -> Self {
        Self { method: Some(method), ..self }
    }

    /// Finds out by this which method works with a QEMU that it has not met before: as part of [`Vmm::prepare`], or of
    /// [`Vmm::settle`].
    #[must_use]
    pub fn with_prover(self, prover: Arc<dyn Prover>) -> Self {
        Self { prover: Some(prover), ..self }
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
        let folder = &spec.directory;
        let made = match from {
            Some(from) if !is_template(from, &spec.memory) => Some(snapshot::made_with(from).await?),
            _ => None,
        };
        let plan = self.plan(spec, &program, made).await?;
        let sockets = Listeners::bind(folder).map_err(failed(folder))?;
        let numbers = argv::Sockets {
            qmp: sockets.qmp.as_raw_fd(),
            link: sockets.link.as_raw_fd(),
            tunnel: sockets.tunnel.as_raw_fd(),
        };
        let machine = plan.machine(spec, numbers, from.is_some());
        let requirements = plan.requirements(&machine);
        let opened = match from {
            Some(from) => Some(snapshot::open(from, &requirements).await?),
            None => None,
        };
        let (argv, ram) = (machine.argv()?, machine.ram());
        let serial = Serial::fresh(folder);
        let mut inherited = vec![sockets.qmp, sockets.link, sockets.tunnel];
        let load = opened.map(|(devices, load)| {
            let number = devices.as_raw_fd();
            inherited.push(devices);
            (number, load)
        });
        let mut process = process::spawn(&program, &argv, inherited).map_err(failed(&program))?;
        let disk = spec.disk.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let (pid, layers) = (process.pid, spec.layers.len());
        let layout = Layout { pid, ram, memory: plan.memory, disk, layers, qemu: self.clone(), requirements };
        let words = std::iter::once(program.into_os_string()).chain(argv).map(|a| a.to_string_lossy().into_owned());
        match take_over(folder, &mut process, words.collect(), &layout, load).await {
            Ok((identity, qmp)) => Ok(Machine::start(folder, process, identity, qmp, layout, serial, from.is_some())),
            Err(error) => {
                // It may have ended by itself; one that cannot be killed would stay in its record.
                let _ = timeout(KILL, process.child.kill()).await;
                Err(error)
            }
        }
    }

    async fn begin(&self, spec: VmSpec, from: Option<&Path>) -> Result<Arc<dyn Vm>, VmError> {
        let memory = match spec.memory {
            Memory::Own => Memory::Own,
            Memory::Template(file) => Memory::Template(absolute(&file)),
            Memory::Clone(folder) => Memory::Clone(absolute(&folder)),
        };
        let spec = VmSpec { directory: absolute(&spec.directory), memory, ..spec };
        match self.launch(&spec, from).await {
            Ok(machine) => Ok(Arc::new(machine)),
            Err(error) => {
                sockets::remove(&spec.directory);
                Record::remove(&spec.directory);
                Err(error)
            }
        }
    }
}

/// A session that begins gets today's guest: one whose template has another boots, and it is said how to mend that.
fn is_template(snapshot: &Path, memory: &Memory) -> bool {
    matches!(memory, Memory::Clone(template) if template == snapshot)
}

fn no_kernel() -> VmError {
    VmError::Kernel("none was prepared yet; build an environment first".into())
}

/// From a started process to a running VM: recorded first, so that a later hostd finds whatever runs.
async fn take_over(
    folder: &Path,
    process: &mut Process,
    argv: Vec<String>,
    layout: &Layout,
    load: Option<(i32, Load)>,
) -> Result<(ProcessIdentity, Qmp<UnixStream>), VmError> {
    let identity = ProcessIdentity::of(process.pid).map_err(failed(folder))?;
    Record::new(identity.clone(), argv).write(folder).map_err(failed(folder))?;
    let said = |error: qmp::QmpError| VmError::Failed {
        program: QEMU.name.into(),
        output: program::message(&process.output.read(), &error.to_string()),
    };
    let greeted = async {
        let stream = sockets::connect(folder, sockets::QMP).await?;
        Qmp::open(stream, GREETING).await
    };
    let mut qmp = greeted.await.map_err(said)?;
    if let Some((devices, load)) = load {
        snapshot::load(&mut qmp, layout, load, devices).await?;
    }
    qmp.execute("cont", json!({}), GREETING).await.map_err(said)?;
    Ok((identity, qmp))
}

#[async_trait]
impl Vmm for Qemu {
    fn info(&self) -> VmmInfo {
        let (accelerator, accelerator_reason) = accelerator::choose(self.accelerator);
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

    async fn fingerprint(&self, size: Size) -> Result<Option<String>, VmError> {
        self.requirements(size).await.map(|requirements| Some(fingerprint(&requirements)))
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

    async fn end_leftover(&self, directory: &Path) -> Result<bool, VmError> {
        leftover::end(&absolute(directory)).await
    }
}

/// One word for all of them but the clock's rate, which is measured and never quite the same.
fn fingerprint(requirements: &Requirements) -> String {
    let timeless = Requirements { tsc_khz: None, ..requirements.clone() };
    blake3::hash(serde_json::json!(timeless).to_string().as_bytes()).to_hex().to_string()
}

/// QEMU runs in another folder. A path that cannot be made absolute fails where it is used.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

#[cfg(test)]
mod refusals;
#[cfg(test)]
#[path = "qemu/tests.rs"]
mod tests;
