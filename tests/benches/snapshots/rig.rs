//! Our VMs: the library as hostd uses it, on the base and build of the `tools` environment.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use hostd::{
    admission::Admission,
    environments::Environments,
    forge::BareRepositories,
    gateway::Gateway,
    vm::{Memory, Standby, VmSpec, Vmm, qemu::Qemu},
};
use hostd_core::{recipe::Cpu, session::Size};
use tempfile::TempDir;
use tests::{golden, paths, process::vms_in};

use crate::guest::{self, Guest};

const MEMORY: u64 = 512 << 20;

/// Makes VMs in a data folder of its own.
pub(crate) struct Rig {
    folder: TempDir,
    qemu: Qemu,
    /// Of the build.
    pub(crate) layers: Vec<PathBuf>,
    disk: u64,
    number: u64,
}

/// A VM that was booted and put down.
pub(crate) struct Template {
    folder: PathBuf,
    layers: Vec<PathBuf>,
}

impl Rig {
    pub(crate) async fn new() -> Self {
        let folder = paths::folder();
        golden::give(folder.path());
        let qemu = Qemu::new(folder.path(), paths::program("pilothouse-guest-static"));
        qemu.prepare(&|_| ()).await.unwrap();
        let mirror = BareRepositories::at(folder.path().join("git"));
        let (gateway, vmm) = (Arc::new(Gateway::new(mirror.clone())), Arc::new(qemu.clone()));
        let admission = Admission::new(folder.path().into(), None);
        let environments = Environments::open(folder.path(), vmm, gateway, mirror, admission).await.unwrap();
        let build = environments.ready("tools").unwrap();
        Self { folder, qemu, layers: build.layers, disk: build.recipe.size.disk, number: 0 }
    }

    /// What everything is measured on.
    pub(crate) fn machine(&self) -> String {
        let info = self.qemu.info();
        format!("QEMU {}, accelerator {} ({})", info.version, info.accelerator.to_uppercase(), info.accelerator_reason)
    }

    /// Boots a VM with this memory.
    pub(crate) async fn start(&mut self, memory: Memory) -> Guest {
        self.wake(memory, self.layers.clone(), None).await
    }

    /// Boots a VM and makes a template of it.
    pub(crate) async fn template(&mut self) -> Template {
        let guest = self.start(Memory::Template(self.folder.path().join("maker.ram"))).await;
        guest.rehearse().await;
        let folder = self.folder.path().join("template");
        let layers = self.layers.iter().cloned().chain([guest.disk.clone()]).collect();
        guest.suspend(&folder).await;
        Template { folder, layers }
    }

    /// A clone of the template.
    pub(crate) async fn clone(&mut self, template: &Template) -> Guest {
        self.wake(Memory::Clone(template.folder.clone()), template.layers.clone(), Some(&template.folder)).await
    }

    /// A clone that was put down, whose layer is frozen with it. Not counted: what stood by for it, as hostd has it.
    pub(crate) async fn resume(&mut self, template: &Template, layer: &Path, snapshot: &Path) -> Guest {
        let (template_folder, size) = (template.folder.clone(), self.size());
        self.qemu
            .stand_by(&[Standby {
                template: template_folder,
                size,
                cpu: Cpu::default(),
                layers: template.layers.clone(),
            }])
            .await;
        let layers = template.layers.iter().cloned().chain([layer.to_owned()]).collect();
        self.wake(Memory::Clone(template.folder.clone()), layers, Some(snapshot)).await
    }

    fn size(&self) -> Size {
        Size { vcpus: 1, memory: MEMORY, disk: self.disk }
    }

    /// An empty layer in a folder of its own.
    pub(crate) async fn fresh_disk(&mut self) -> PathBuf {
        self.number += 1;
        let directory = self.folder.path().join(format!("vm-{}", self.number));
        fs::create_dir(&directory).unwrap();
        let disk = directory.join("disk.qcow2");
        self.qemu.create_disk(&disk, self.disk).await.unwrap();
        disk
    }

    /// Not counted: its disk, which hostd makes beforehand.
    async fn wake(&mut self, memory: Memory, layers: Vec<PathBuf>, from: Option<&Path>) -> Guest {
        let disk = self.fresh_disk().await;
        let directory = disk.parent().unwrap().to_owned();
        let size = self.size();
        let spec = VmSpec {
            name: "bench".into(),
            directory: directory.clone(),
            size,
            layers,
            disk: disk.clone(),
            memory,
            cpu: Cpu::default(),
        };
        let began = Instant::now();
        let vm = match from {
            Some(snapshot) => self.qemu.resume(spec, snapshot).await.unwrap(),
            None => self.qemu.start(spec).await.unwrap(),
        };
        let runs = began.elapsed();
        let mut guest = guest::shake(vm, self.number).await;
        guest.part("vm", runs);
        guest.part("link", began.elapsed() - runs);
        guest.directory = directory;
        guest.disk = disk;
        guest
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        for vm in vms_in(self.folder.path()) {
            vm.end(Duration::ZERO);
        }
    }
}
