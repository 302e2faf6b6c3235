//! What a VM is started with, as the data folder and the machine have it, and what a snapshot of it will depend on.

use std::{
    io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::Arc,
};

use hostd_core::{recipe::Cpu, requirements::Requirements, session::Size};
use tokio::task::{JoinHandle, spawn_blocking};

use super::{ahead, argv, errors::blocking, installation::Installation, version};
use crate::{
    Memory, VmError, VmSpec,
    accelerator::{self, Accelerator},
    file::absolute,
    snapshot::{
        RAM_NAME,
        store::{Manifest, Method},
    },
};

/// Values that are the same for VMs of a kind.
pub(super) struct Plan {
    accelerator: Accelerator,
    tsc_khz: Option<u64>,
    copies_slowly: bool,
    version: String,
    pub(super) memory: Memory,
    maps_read_only: bool,
    /// Copy of the template's RAM that is mapped instead of the template's file; None: the file is mapped.
    pub(super) sealed: Option<Arc<OwnedFd>>,
    /// Model of the processor that guests get; see [`cpu_model`](super::cpu_model).
    cpu: Option<String>,
    layers: Vec<PathBuf>,
    disk: PathBuf,
    boot: Boot,
    qemu: String,
    /// Name of the template that is mapped; empty: none is.
    template: String,
}

/// How a VM begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Begin {
    /// The guest boots.
    Boot,
    /// QEMU waits for the snapshot of this VM.
    Snapshot,
    /// QEMU waits for a snapshot, and for the disk that goes with it.
    StandBy,
}

/// Kernel and initramfs that a guest boots, with their checksums. One that is resumed has them in its memory, and QEMU wants
/// them all the same.
struct Boot {
    kernel: PathBuf,
    kernel_hash: String,
    initramfs: PathBuf,
    initramfs_hash: String,
}

impl Installation {
    /// Makes the plan of a VM. One that was `made` before gets the processor, the kernel and the initramfs that it was made with, so
    /// that an upgrade of any strands nobody; today's where they are gone, and then [`Requirements::refusal`] tells.
    pub(super) async fn plan(
        &self,
        spec: &VmSpec,
        program: &Path,
        made: Option<Requirements>,
    ) -> Result<Plan, VmError> {
        let tsc_khz = self.tsc.khz().await;
        let (installation, spec, program) = (self.clone(), spec.clone(), program.to_owned());
        blocking(move || installation.plan_from_files(&spec, &program, made.as_ref(), tsc_khz)).await
    }

    /// Makes the plan from files that may have to be read from the disk and hashed.
    fn plan_from_files(
        &self,
        spec: &VmSpec,
        program: &Path,
        made: Option<&Requirements>,
        tsc_khz: Option<u64>,
    ) -> Result<Plan, VmError> {
        let version = self.version.of(program);
        let (accelerator, qemu) = (self.accelerator().0, self.hashes.of(program)?);
        let (memory, template) = (mapped(&spec.memory)?, self.template(&spec.memory)?);
        let maps_read_only = version::maps_read_only(&version);
        let sealed = match &memory {
            Memory::Clone(folder) if !maps_read_only => Some(self.sealed.of(&template, &folder.join(RAM_NAME))?),
            _ => None,
        };
        let cpu = match accelerator {
            Accelerator::Kvm => Some(self.cpu_models.of(program, &qemu, spec.cpu)?),
            Accelerator::Tcg => None,
        };
        Ok(Plan {
            accelerator,
            tsc_khz,
            copies_slowly: made.is_some_and(|made| argv::copies_slowly(&made.arguments)),
            memory,
            maps_read_only,
            sealed,
            cpu,
            layers: spec.layers.iter().map(|layer| absolute(layer)).collect(),
            disk: absolute(&spec.disk),
            boot: self.boot(made)?,
            qemu,
            template,
            version,
        })
    }

    /// Name of the template that a VM is a clone of; empty: it is none.
    fn template(&self, memory: &Memory) -> Result<String, VmError> {
        let Memory::Clone(folder) = memory else { return Ok(String::new()) };
        let name = Manifest::template(folder)?;
        self.templates.read(folder);
        Ok(name)
    }

    fn boot(&self, made: Option<&Requirements>) -> Result<Boot, VmError> {
        let today = || self.prepared_kernel();
        let kernel = match made.and_then(|made| self.kept_kernel(&made.kernel)) {
            Some(image) => image,
            None => today()?.image,
        };
        let initramfs = match made.and_then(|made| self.kept_initramfs(&made.initramfs)) {
            Some(archive) => archive,
            None => self.initramfs(&today()?)?,
        };
        let (kernel_hash, initramfs_hash) = (self.hashes.of(&kernel)?, self.hashes.of(&initramfs)?);
        Ok(Boot { kernel, kernel_hash, initramfs, initramfs_hash })
    }

    /// Requirements of a snapshot of a VM of this kind, whatever its disks and its template.
    pub(super) async fn requirements(&self, size: Size, cpu: Cpu) -> Result<Requirements, VmError> {
        let program = self.program()?;
        let none = PathBuf::new;
        let (directory, disk, memory) = (none(), none(), Memory::Own);
        let spec = VmSpec { name: String::new(), directory, size, layers: vec![], disk, memory, cpu };
        let plan = self.plan(&spec, &program, None).await?;
        Ok(plan.requirements_of(&spec))
    }
}

impl Plan {
    pub(super) fn machine<'a>(
        &'a self,
        spec: &'a VmSpec,
        inherited: argv::Inherited,
        begin: Begin,
    ) -> argv::Machine<'a> {
        argv::Machine {
            name: &spec.name,
            accelerator: self.accelerator,
            vcpus: spec.size.vcpus,
            size: spec.size.memory,
            memory: &self.memory,
            cpu: spec.cpu,
            incoming: begin != Begin::Boot,
            maps_read_only: self.maps_read_only,
            kernel: &self.boot.kernel,
            initramfs: &self.boot.initramfs,
            tsc_khz: self.tsc_khz,
            copies_slowly: self.copies_slowly,
            layers: &self.layers,
            disk: (begin != Begin::StandBy).then_some(&self.disk),
            inherited,
        }
    }

    /// Begins to bring the RAM that is mapped into the page cache, where the guest is not to run before it is there.
    pub(super) fn read_ahead(&self) -> Option<JoinHandle<io::Result<u64>>> {
        match &self.memory {
            Memory::Clone(folder) if self.accelerator == Accelerator::Kvm && self.sealed.is_none() => {
                let file = folder.join(RAM_NAME);
                Some(spawn_blocking(move || ahead::read(&file)))
            }
            _ => None,
        }
    }

    /// Bytes of RAM that a VM has.
    pub(super) fn ram(&self, spec: &VmSpec) -> u64 {
        self.machine(spec, argv::Inherited::default(), Begin::Boot).ram()
    }

    /// Requirements of a snapshot of this VM.
    pub(super) fn requirements_of(&self, spec: &VmSpec) -> Requirements {
        let machine = self.machine(spec, argv::Inherited::default(), Begin::Boot);
        let kvm = self.accelerator == Accelerator::Kvm;
        Requirements {
            accelerator: self.accelerator.name().into(),
            qemu: self.qemu.clone(),
            qemu_version: self.version.clone(),
            kernel: self.boot.kernel_hash.clone(),
            initramfs: self.boot.initramfs_hash.clone(),
            template: self.template.clone(),
            arguments: machine.canonical(),
            tsc_khz: self.tsc_khz,
            cpu: kvm.then(accelerator::processor),
            cpu_model: self.cpu.clone(),
        }
    }
}

/// Memory that QEMU is started with: a template that QEMU wrote as one stream cannot be mapped, so its clone has its own.
fn mapped(memory: &Memory) -> Result<Memory, VmError> {
    Ok(match memory {
        Memory::Clone(folder) if Manifest::read(folder)?.method == Method::Full => Memory::Own,
        other => other.clone(),
    })
}
