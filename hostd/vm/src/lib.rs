//! The VM engine: one trait, [`Vmm`], carried out by [`qemu`] and, for tests and load, by [`simulated`].
//!
//! A [`Vm`] belongs to one owner, whoever started it; nobody else touches it. The engine knows no session.

mod accelerator;
mod cpio;
pub mod disk;
mod file;
pub mod identity;
mod initramfs;
mod kernel;
pub mod kvm;
pub mod modules {
    //! Modules of guests' kernels.
    pub use crate::kernel::{NoModule, needed};
}
mod program;
pub mod qemu;
pub mod simulated;
pub mod snapshot;
mod tsc;

#[cfg(fuzzing)]
pub use kernel::unpack;

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use hostd_core::{
    recipe::Cpu,
    session::{Cause, Size},
};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite};

/// What a [`Vmm`] says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VmmInfo {
    /// Name of the [`Vmm`]: qemu or simulated.
    pub name: &'static str,
    /// Name of the accelerator: kvm, tcg or none.
    pub accelerator: &'static str,
    /// Why this accelerator is used, in words for a person.
    pub accelerator_reason: String,
    /// Version of QEMU, e.g. 7.2.22; empty where it could not be found.
    pub version: String,
    /// Release of the guests' kernel; empty where there is none yet.
    pub kernel: String,
    /// What keeps VMs from starting, each with what to do. Empty: nothing does.
    pub problems: Vec<String>,
    /// What works, but worse than it could, each in words for a person.
    pub warnings: Vec<String>,
}

/// Values that a VM is started with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VmSpec {
    /// Name for messages and the process title: session slug or build id.
    pub name: String,
    /// Folder of the VM, which exists. Its sockets, its record and its serial log go here.
    pub directory: PathBuf,
    /// Virtual processors and memory; `size.disk` is that of the disk below.
    pub size: Size,
    /// Immutable images below the VM's disk, bottom first: `.ext4` is raw, `.qcow2` has no backing name in its header.
    pub layers: Vec<PathBuf>,
    /// Path of the VM's own writable layer (qcow2); made by [`Vmm::create_disk`].
    pub disk: PathBuf,
    /// Memory that the VM runs on.
    pub memory: Memory,
    /// What the VM's guest gets of the host's processor beside the usual.
    pub cpu: Cpu,
}

/// Kind of a VM's memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Memory {
    /// Memory of the VM's own, gone with it.
    Own,
    /// This file, made if it is not there, which moves into the template's folder when [`Vm::snapshot`] makes it one.
    Template(PathBuf),
    /// A private view of the memory of the template in this folder: what the VM writes is its own, all else is everybody's.
    Clone(PathBuf),
}

/// Virtio-serial ports of a VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    /// `pilothouse.link`: the guest serves `guest.v1.Guest`.
    Link,
    /// `pilothouse.tunnel`: hostd serves `guest.v1.Gateway`.
    Tunnel,
}

impl Port {
    /// What follows `pilothouse.` in the port's name.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Link => "link",
            Self::Tunnel => "tunnel",
        }
    }
}

/// A VM that stands by for snapshots of VMs that are clones of this template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standby {
    /// Folder of the template.
    pub template: PathBuf,
    /// Size of the template's VM.
    pub size: Size,
    /// What the template's guest got of the host's processor beside the usual.
    pub cpu: Cpu,
    /// Layers that the disks of all these VMs begin with, bottom first.
    pub layers: Vec<PathBuf>,
}

/// A byte stream to a guest.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin + 'static {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Io for T {}

/// Why a VM could not be made or started. The text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum VmError {
    /// QEMU or a helper program is not installed.
    #[error("{program} was not found; install it ({package}) and try again")]
    Missing {
        /// Name of the program.
        program: String,
        /// Debian package that has the program.
        package: &'static str,
    },
    /// The guests' kernel is not there, or could not be fetched or unpacked.
    #[error("no guest kernel: {0}")]
    Kernel(String),
    /// QEMU, or a helper program, ended with an error; what it printed.
    #[error("{program} failed: {output}")]
    Failed {
        /// Name of the program.
        program: String,
        /// What the program wrote to its error output, bounded.
        output: String,
    },
    /// A file or socket of the VM cannot be used.
    #[error("{path}: {error}")]
    File {
        /// Path of the file.
        path: PathBuf,
        /// Error of the system.
        error: io::Error,
    },
    /// The VM that an earlier hostd left cannot be taken over; what is the matter, as the end of a sentence.
    #[error("{0}")]
    NotAdopted(String),
    /// The VM that an earlier hostd left has ended.
    #[error("{0}")]
    Over(Cause),
    /// A snapshot cannot be written or used.
    #[error(transparent)]
    Snapshot(#[from] snapshot::SnapshotError),
}

/// Makes and starts virtual machines.
#[async_trait]
pub trait Vmm: Send + Sync + 'static {
    /// Accelerator, versions, problems. Cheap; read afresh at each call.
    fn info(&self) -> VmmInfo;
    /// Fetches and prepares what every VM needs (kernel, initramfs) if it is not there. `progress` gets lines for people.
    async fn prepare(&self, progress: &(dyn Fn(String) + Send + Sync)) -> Result<(), VmError>;
    /// Returns when it is known how snapshots are written with what is installed here now, or that it cannot be known; finds it
    /// out, once, which takes VMs of its own and their time. To be called before a VM is stopped for [`Vm::snapshot`].
    async fn settle(&self) {}
    /// What a snapshot of a VM of this kind that is made here now depends on, without its disks, in one word; None where VMs
    /// cannot be snapshot. To be called after [`Vmm::prepare`].
    async fn fingerprint(&self, _size: Size, _cpu: Cpu) -> Result<Option<String>, VmError> {
        Ok(None)
    }
    /// Makes an empty writable layer of `bytes` virtual size.
    async fn create_disk(&self, disk: &Path, bytes: u64) -> Result<(), VmError>;
    /// Merges the layers from number `own` on into one new layer of `bytes` virtual size, at `to`, which stands for them above
    /// the others. They are only read: VMs may run on them. On an error nothing is left at `to`.
    async fn merge(&self, layers: &[PathBuf], own: usize, to: &Path, bytes: u64) -> Result<(), VmError>;
    /// Starts a VM; returns when its process runs and its control socket has answered. Nothing is left behind on an error.
    async fn start(&self, spec: VmSpec) -> Result<Arc<dyn Vm>, VmError>;
    /// Starts a VM from a snapshot: `spec.memory` is [`Memory::Clone`] of the template that the snapshot is against, or that
    /// it is. Everything that the snapshot depends on is compared first; nothing of it is changed. Returns with the VM running.
    async fn resume(&self, spec: VmSpec, snapshot: &Path) -> Result<Arc<dyn Vm>, VmError>;
    /// Whether [`Vmm::resume`] would take this snapshot for a VM like this, on a new disk: compares everything that the snapshot
    /// depends on, looks whether all layers are there, and reads all files of the snapshot. Starts nothing, and changes nothing.
    ///
    /// # Errors
    /// With what differs, or with the name of the first file that is missing or damaged.
    async fn fits(&self, _spec: &VmSpec, _snapshot: &Path) -> Result<(), VmError> {
        Ok(())
    }
    /// Has one VM without a guest stand by for each of `wanted`, and none for anything else: the next [`Vmm::resume`] of that
    /// kind takes it, and need not wait for its start. Returns when they stand by, or have failed to: then a resume starts its
    /// own.
    async fn stand_by(&self, _wanted: &[Standby]) {}
    /// Memory that the VMs which stand by hold of the host now. Cheap.
    fn standing_by(&self) -> MemoryUse {
        MemoryUse::default()
    }
    /// As [`Vmm::standing_by`], but of what others have mapped too only its part. Takes milliseconds.
    fn standing_by_part(&self) -> MemoryUse {
        MemoryUse::default()
    }
    /// Takes over the VM that an earlier hostd left in this folder, whose guest had shaken hands. It runs, or stands where it was
    /// brought to a stand: [`Vm::go_on`] is right either way. What was under way with it, a snapshot or a change of its disk, has
    /// happened or has not when this returns. Nothing is ended.
    ///
    /// # Errors
    /// [`VmError::NotAdopted`]: there is none, or it is not known well enough. Then [`Vmm::end_orphan`]. [`VmError::Over`]: it has ended,
    /// for this cause as far as it is known. Any other error may pass: the same may be tried again.
    async fn adopt(&self, _directory: &Path) -> Result<Adopted, VmError> {
        Err(VmError::NotAdopted("nothing is left of its VM".into()))
    }
    /// Whether a VM that an earlier hostd left in this folder runs, by its record.
    fn left(&self, _directory: &Path) -> bool {
        false
    }
    /// What is kept of what the last VM of this folder wrote to its serial console, at most 64 KiB; empty: nothing is.
    fn last_console(&self, _directory: &Path) -> Vec<u8> {
        vec![]
    }
    /// Connects to a port of a VM that an earlier hostd left in this folder.
    async fn connect_orphan(&self, _directory: &Path, _port: Port) -> io::Result<Box<dyn Io>> {
        Err(io::ErrorKind::NotFound.into())
    }
    /// Ends a VM that an earlier hostd left in this folder, found by its record (pid and start time). True if one was ended.
    async fn end_orphan(&self, directory: &Path) -> Result<bool, VmError>;
}

/// A VM that was taken over.
pub struct Adopted {
    /// The VM.
    pub vm: Arc<dyn Vm>,
    /// File name of the layer that it writes to.
    pub disk: String,
}

/// A virtual machine. Its process lives on when this is dropped; [`Vm::end`] ends it.
#[async_trait]
pub trait Vm: Send + Sync + 'static {
    /// Connects to one of the VM's ports; the bytes are the guest's, from wherever it stands. One connection a port at a time.
    async fn connect(&self, port: Port) -> io::Result<Box<dyn Io>>;
    /// Waits until the VM is gone and says why. Cancel safe; may be called again and by several.
    async fn ended(&self) -> Cause;
    /// Ends the VM at once and waits until it is gone. A repeat is harmless.
    async fn end(&self);
    /// What the guest wrote to its serial console lately (at most 64 KiB).
    async fn serial(&self) -> Vec<u8>;
    /// Stops the VM and writes a snapshot of its memory and devices, which replaces the one at `folder` when it is whole. The
    /// VM stays stopped, also on an error: then [`Vm::go_on`], or [`Vm::end`].
    async fn snapshot(&self, folder: &Path) -> Result<snapshot::store::Manifest, VmError>;
    /// Freezes what the disk of a stopped VM is now: from here on it writes to `top`, an empty layer made by
    /// [`Vmm::create_disk`], and what it wrote to before is one more layer below. On an error its disk is as it was.
    async fn pivot(&self, top: &Path) -> Result<(), VmError>;
    /// Has the VM read from `merged` what the layers of its disk between the lowest `below` and the one that it writes to have
    /// said so far: made from them by [`Vmm::merge`], `merged` stands for all of them. What the VM does not use any more is
    /// closed. It may run or stand still. On an error it uses the old ones or the new one, which hold the same.
    async fn rebase(&self, below: usize, merged: &Path) -> Result<(), VmError>;
    /// Stops a VM that runs, where it is; a repeat is harmless. On an error it may stand all the same, or will: then, too,
    /// [`Vm::go_on`] is what lets it run.
    async fn pause(&self) -> Result<(), VmError>;
    /// Lets a stopped VM run.
    async fn go_on(&self) -> Result<(), VmError>;
    /// Notes that the guest has shaken hands: it does not boot again from now on.
    fn came_up(&self) {}
    /// Whether the VM stands still because the host's disk is full; it goes on by itself when there is room.
    fn stalled(&self) -> bool {
        false
    }
    /// Whether the VM's process stands still because a signal or a debugger has stopped it: it answers nobody until it is continued.
    fn is_stopped(&self) -> bool {
        false
    }
    /// Processor time that the VM's process has taken so far. Cheap.
    fn processor_time(&self) -> Duration {
        Duration::ZERO
    }
    /// Memory that the VM's process holds of the host now. Cheap.
    fn memory(&self) -> MemoryUse;
    /// As [`Vm::memory`], but of what others have mapped too only its part, so that those of all VMs add up. Takes
    /// milliseconds.
    fn memory_part(&self) -> MemoryUse;
}

/// Memory that a VM holds of its host, in bytes; nothing when it is gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryUse {
    /// Bytes of the VM's own: what the guest has written, and what QEMU itself needs. Gone with it.
    pub private: u64,
    /// Bytes of files in the page cache, which others may use too: its template, QEMU's program.
    pub shared: u64,
}

impl std::iter::Sum for MemoryUse {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |sum, one| Self {
            private: sum.private + one.private,
            shared: sum.shared + one.shared,
        })
    }
}
