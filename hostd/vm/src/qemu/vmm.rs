//! [`Qemu`]: makes VMs with the host's QEMU.

use std::{
    ffi::OsString,
    fmt, io,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError},
};

use async_trait::async_trait;
use hostd_core::{recipe::Cpu, requirements::Requirements, session::Size};
use tokio::sync::Mutex;

use super::{
    adopt,
    bare::Loaded,
    errors::blocking,
    images::create_layer,
    installation::Installation,
    launch::{fits, launch},
    merge, orphan,
    proof::Proof,
    serial, sockets,
    standby::Ready,
    version,
};
use crate::{
    Adopted, Io, Memory, MemoryUse, Port, Standby, Vm, VmError, VmSpec, Vmm, VmmInfo,
    accelerator::Choice,
    file::absolute,
    identity::ProcessIdentity,
    kernel::{self, Fetch, Source},
    program::{APT_CACHE, APT_GET, DEPMOD, DPKG_DEB, MODPROBE, QEMU, QEMU_IMG},
    snapshot::store::Method,
};

/// Makes VMs with the host's QEMU. Clones share what they have found out about its files.
#[derive(Clone, Debug)]
pub struct Qemu {
    pub(super) installation: Installation,
    kernel_source: Source,
    ready: Arc<Ready>,
    /// Held while something is fetched or tried: the second who asks waits for the first.
    preparing: Arc<Mutex<()>>,
    /// File of the proof that was last looked for without being asked to, whatever came of it.
    tried: Arc<std::sync::Mutex<Option<PathBuf>>>,
    prover: Option<Arc<dyn Prover>>,
}

/// Finds out which method of snapshots works.
#[async_trait]
pub trait Prover: fmt::Debug + Send + Sync {
    /// Tries `qemu`, which has no prover, and tells `progress` of it in lines for people. None: nothing works, or it was cut
    /// short; it is tried again then.
    async fn prove(&self, qemu: Qemu, progress: &(dyn Fn(String) + Send + Sync)) -> Option<Proof>;
}

impl Qemu {
    /// Keeps kernel and initramfs in the data folder; `guest_binary` is the static `pilothouse-guest`.
    #[must_use]
    pub fn new(data: &Path, guest_binary: PathBuf) -> Self {
        Self {
            installation: Installation::new(data, guest_binary),
            kernel_source: Source::Apt,
            ready: Arc::default(),
            preparing: Arc::default(),
            tried: Arc::default(),
            prover: None,
        }
    }

    /// Sets the accelerator that is used.
    #[must_use]
    pub fn with_accelerator(self, accelerator: Choice) -> Self {
        Self { installation: self.installation.with_accelerator(accelerator), ..self }
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
        Self { installation: self.installation.with_path(path), ..self }
    }

    /// Has snapshots written by this method, whatever was proven.
    #[must_use]
    pub fn with_method(self, method: Method) -> Self {
        Self { installation: self.installation.with_method(method), ..self }
    }

    /// Sets what finds out which method works with a QEMU that was not met before: as part of [`Vmm::prepare`], or of
    /// [`Vmm::settle`].
    #[must_use]
    pub fn with_prover(self, prover: Arc<dyn Prover>) -> Self {
        Self { prover: Some(prover), ..self }
    }

    /// Whether this QEMU opens the RAM of templates for reading only; one that does not gets a sealed copy of it in memory.
    #[must_use]
    pub fn maps_read_only(version: &str) -> bool {
        version::maps_read_only(version)
    }

    /// Proof of the QEMU here; None: it was not tried yet.
    #[must_use]
    pub fn proof(&self) -> Option<Proof> {
        self.installation.proof()
    }

    /// Keeps the proof for this build of QEMU.
    ///
    /// # Errors
    /// There is no QEMU, or the file cannot be written.
    pub fn keep(&self, proof: &Proof) -> Result<(), VmError> {
        self.installation.keep(proof)
    }

    /// Loads the state of a VM that never ran, with its clocks where a Linux guest has them, into a clone of it, and saves it
    /// again; `folder` is empty and stays.
    ///
    /// # Errors
    /// Why nothing was loaded.
    pub async fn try_load(&self, folder: &Path) -> Result<Loaded, VmError> {
        self.installation.try_load(folder).await
    }

    /// Tries the QEMU here, unless that was done. That nothing works keeps no VM from running.
    async fn prove(&self, progress: &(dyn Fn(String) + Send + Sync)) -> Result<(), VmError> {
        let Some(prover) = self
            .prover
            .as_ref()
            .filter(|_| self.installation.forced_method.is_none() && self.installation.proof().is_none())
        else {
            return Ok(());
        };
        let bare = Self { prover: None, ..self.clone() };
        match prover.prove(bare, progress).await {
            Some(proof) => self.installation.keep(&proof),
            None => Ok(()),
        }
    }

    /// Waits for a try that is under way, or tries, where the method for this QEMU is not known. Once for each QEMU: one that
    /// tells nothing is not worth the wait of every suspend.
    async fn find_method(&self) {
        let unknown = || {
            self.installation.forced_method.is_none() && self.prover.is_some() && self.installation.proof().is_none()
        };
        if !unknown() {
            return;
        }
        let _one_at_a_time = self.preparing.lock().await;
        let Ok(file) = self.installation.proof_file() else { return };
        if !unknown() || self.installation.kernel().is_none() {
            return;
        }
        let before = self.tried.lock().unwrap_or_else(PoisonError::into_inner).replace(file.clone());
        if before.as_ref() == Some(&file) {
            return;
        }
        tracing::info!("tries how snapshots work with this QEMU, which was not met before");
        if let Err(error) = self.prove(&|line| tracing::info!("{line}")).await {
            tracing::warn!(%error, "what was found out about this QEMU is not kept");
        }
    }

    async fn begin(&self, spec: VmSpec, from: Option<&Path>) -> Result<Arc<dyn Vm>, VmError> {
        Ok(Arc::new(launch(&self.installation, &self.ready, &absolute_spec(spec), from).await?))
    }
}

fn absolute_spec(spec: VmSpec) -> VmSpec {
    let memory = match spec.memory {
        Memory::Own => Memory::Own,
        Memory::Template(file) => Memory::Template(absolute(&file)),
        Memory::Clone(folder) => Memory::Clone(absolute(&folder)),
    };
    VmSpec { directory: absolute(&spec.directory), memory, ..spec }
}

#[async_trait]
impl Vmm for Qemu {
    fn info(&self) -> VmmInfo {
        let (accelerator, accelerator_reason) = self.installation.accelerator();
        let kernel = self.installation.kernel();
        let mut needed = vec![QEMU, QEMU_IMG];
        if kernel.is_none() {
            needed.extend([DPKG_DEB, DEPMOD, MODPROBE]);
            if self.kernel_source == Source::Apt {
                needed.extend([APT_CACHE, APT_GET]);
            }
        }
        let problems = needed.into_iter().filter_map(|program| self.installation.search.find(program).err());
        let problems =
            problems.chain(self.installation.check_guest_binary().err()).map(|error| error.to_string()).collect();
        VmmInfo {
            name: "qemu",
            warnings: self.installation.proof().and_then(|proof| proof.warning()).into_iter().collect(),
            accelerator: accelerator.name(),
            accelerator_reason,
            version: self
                .installation
                .search
                .find(QEMU)
                .map(|program| self.installation.version.of(&program))
                .unwrap_or_default(),
            kernel: kernel.map(|kernel| kernel.release).unwrap_or_default(),
            problems,
        }
    }

    async fn prepare(&self, progress: &(dyn Fn(String) + Send + Sync)) -> Result<(), VmError> {
        let _one_at_a_time = self.preparing.lock().await;
        let folder = self.installation.data.join("kernel");
        let fetch = Fetch { folder: &folder, search: &self.installation.search, progress };
        match self.installation.kernel() {
            None => fetch.run(&self.kernel_source).await?,
            Some(kernel) if !kernel::are_kept(&folder, &kernel.release) => {
                if let Err(error) = fetch.run(&self.kernel_source).await {
                    progress(format!(
                        "kernel {} has no modules but those that every guest has, so containers and much else will not work in \
                         sessions until a build can fetch them: {error}",
                        kernel.release
                    ));
                }
            }
            Some(_) => {}
        }
        let none = || VmError::Kernel(format!("{} has none after preparing it", folder.display()));
        let (installation, kernel) = (self.installation.clone(), self.installation.kernel().ok_or_else(none)?);
        blocking(move || installation.initramfs(&kernel)).await?;
        self.prove(progress).await
    }

    async fn settle(&self) {
        self.find_method().await;
    }

    async fn fingerprint(&self, size: Size, cpu: Cpu) -> Result<Option<String>, VmError> {
        self.installation.requirements(size, cpu).await.map(|requirements| Some(fingerprint(&requirements)))
    }

    async fn create_disk(&self, disk: &Path, bytes: u64) -> Result<(), VmError> {
        create_layer(&self.installation.search, disk, bytes).await
    }

    async fn merge(&self, layers: &[PathBuf], own: usize, to: &Path, bytes: u64) -> Result<(), VmError> {
        let layers: Vec<_> = layers.iter().map(|layer| absolute(layer)).collect();
        let to = absolute(to);
        self.create_disk(&to, bytes).await?;
        let merged = merge::merge(&self.installation.search, &layers, own, &to).await;
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

    async fn fits(&self, spec: &VmSpec, snapshot: &Path) -> Result<(), VmError> {
        fits(&self.installation, &absolute_spec(spec.clone()), &absolute(snapshot)).await
    }

    async fn stand_by(&self, wanted: &[Standby]) {
        self.ready.keep(&self.installation, wanted).await;
    }

    fn standing_by(&self) -> MemoryUse {
        self.ready.memory(ProcessIdentity::memory)
    }

    fn standing_by_part(&self) -> MemoryUse {
        self.ready.memory(ProcessIdentity::memory_part)
    }

    async fn adopt(&self, directory: &Path) -> Result<Adopted, VmError> {
        adopt::adopt(&self.installation, &absolute(directory)).await
    }

    fn left(&self, directory: &Path) -> bool {
        orphan::lives(&absolute(directory))
    }

    fn last_console(&self, directory: &Path) -> Vec<u8> {
        serial::kept(&absolute(directory))
    }

    async fn connect_orphan(&self, directory: &Path, port: Port) -> io::Result<Box<dyn Io>> {
        Ok(Box::new(sockets::connect_port(&absolute(directory), port).await?))
    }

    async fn end_orphan(&self, directory: &Path) -> Result<bool, VmError> {
        orphan::end(&absolute(directory)).await
    }
}

/// One word for all requirements but the clock's rate, which is measured and never quite the same.
fn fingerprint(requirements: &Requirements) -> String {
    let timeless = Requirements { tsc_khz: None, ..requirements.clone() };
    blake3::hash(serde_json::json!(timeless).to_string().as_bytes()).to_hex().to_string()
}

#[cfg(test)]
#[path = "vmm_tests.rs"]
mod tests;
