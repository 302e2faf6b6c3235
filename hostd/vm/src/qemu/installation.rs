//! What VMs are made of on this host: its programs, the guests' kernel and initramfs, and what was found out about them.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{cpu_model, hashes, sealed, templates, version};
use crate::{
    VmError,
    accelerator::{self, Accelerator, Choice},
    file::absolute,
    initramfs,
    kernel::{self, Kernel},
    program::{QEMU, Search},
    snapshot::store::Method,
    tsc::Tsc,
};

/// The host's QEMU and all else that a VM is made of. Clones share what was found out.
#[derive(Clone, Debug)]
pub(super) struct Installation {
    /// Path of the data folder.
    pub(super) data: PathBuf,
    /// Path of the static `pilothouse-guest`.
    pub(super) guest_binary: PathBuf,
    pub(super) search: Search,
    pub(super) tsc: Arc<Tsc>,
    pub(super) version: Arc<version::Cache>,
    pub(super) hashes: Arc<hashes::Cache>,
    pub(super) templates: Arc<templates::Templates>,
    pub(super) sealed: Arc<sealed::Copies>,
    pub(super) cpu_models: Arc<cpu_model::Cache>,
    /// Method of snapshots that is used whatever was proven; None: the proven one.
    pub(super) forced_method: Option<Method>,
    choice: Choice,
    kvm: Arc<accelerator::Tried>,
    initramfs: Arc<initramfs::Cache>,
}

impl Installation {
    /// The installation with its kernel and initramfs in the data folder.
    pub(super) fn new(data: &Path, guest_binary: PathBuf) -> Self {
        Self {
            data: absolute(data),
            guest_binary: absolute(&guest_binary),
            search: Search::default(),
            tsc: Arc::new(Tsc::start()),
            version: Arc::default(),
            hashes: Arc::default(),
            templates: Arc::default(),
            sealed: Arc::default(),
            cpu_models: Arc::default(),
            forced_method: None,
            choice: Choice::Auto,
            kvm: Arc::default(),
            initramfs: Arc::default(),
        }
    }

    pub(super) fn with_accelerator(self, choice: Choice) -> Self {
        Self { choice, ..self }
    }

    pub(super) fn with_path(self, path: OsString) -> Self {
        Self { search: Search { path: Some(path) }, ..self }
    }

    pub(super) fn with_method(self, method: Method) -> Self {
        Self { forced_method: Some(method), ..self }
    }

    /// The accelerator that is used, and why.
    pub(super) fn accelerator(&self) -> (Accelerator, String) {
        accelerator::choose(self.choice, &self.kvm)
    }

    /// Path of the host's QEMU.
    pub(super) fn program(&self) -> Result<PathBuf, VmError> {
        self.search.find(QEMU)
    }

    /// The newest kernel in the data folder; None: none was prepared yet.
    pub(super) fn kernel(&self) -> Option<Kernel> {
        kernel::newest(&self.data.join("kernel"))
    }

    /// The newest kernel in the data folder; an error that says what to do where there is none.
    pub(super) fn prepared_kernel(&self) -> Result<Kernel, VmError> {
        self.kernel().ok_or_else(|| VmError::Kernel("none was prepared yet; build an environment first".into()))
    }

    /// Path of the initramfs for this kernel, written if it is not there.
    pub(super) fn initramfs(&self, kernel: &Kernel) -> Result<PathBuf, VmError> {
        self.check_guest_binary()?;
        self.initramfs.ensure(&self.data.join("initramfs"), kernel, &self.guest_binary)
    }

    /// Checks that the guest's program is there; an error says what to do.
    pub(super) fn check_guest_binary(&self) -> Result<(), VmError> {
        let help = "build it with tests/build-guest.sh, or name it with PILOTHOUSE_GUEST";
        self.guest_binary.metadata().map(drop).map_err(|error| VmError::File {
            path: self.guest_binary.clone(),
            error: std::io::Error::new(error.kind(), format!("the guest's program is not there ({error}); {help}")),
        })
    }

    /// Path of the kernel with this checksum; None: it is gone. Nothing of hostd's removes kernels.
    pub(super) fn kept_kernel(&self, hash: &str) -> Option<PathBuf> {
        let images = kernel::images(&self.data.join("kernel"));
        images.into_iter().find(|image| self.hashes.of(image).is_ok_and(|of| of == hash))
    }

    /// Path of the initramfs with this checksum; None: it is gone. Nothing of hostd's removes these.
    pub(super) fn kept_initramfs(&self, hash: &str) -> Option<PathBuf> {
        let archive = initramfs::named(&self.data.join("initramfs"), hash)?;
        self.hashes.of(&archive).is_ok_and(|of| of == hash).then_some(archive)
    }
}
