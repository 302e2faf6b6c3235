//! What a VM's memory and disk are, and which files it starts from.

use std::path::PathBuf;

use hostd_core::requirements::Requirements;

use super::installation::Installation;
use crate::{
    Memory, VmError,
    accelerator::Accelerator,
    snapshot::{delta::Ram, store::Method},
};

/// What is known of a VM's memory and disk from its start on.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    /// Process id of the VM's QEMU.
    pub(super) pid: u32,
    /// Address of the guest's first byte of RAM in the process.
    pub(super) base: u64,
    /// Size of the guest's RAM in bytes.
    pub(super) ram: u64,
    /// Memory that the VM runs on.
    pub(super) memory: Memory,
    /// File name of the layer that the VM writes to.
    pub(super) disk: String,
    /// The installation, which knows how snapshots are written: it may be found out after the VM was started.
    pub(super) installation: Installation,
    /// What a snapshot of the VM depends on.
    pub(super) requirements: Requirements,
}

impl Layout {
    /// Whether KVM runs the guest.
    pub(super) fn kvm(&self) -> bool {
        self.requirements.accelerator == Accelerator::Kvm.name()
    }

    /// Opens the guest's RAM in the process.
    pub(super) fn open_ram(&self) -> Result<Ram, VmError> {
        Ok(Ram::open(self.pid, self.base, self.ram)?)
    }
}

/// Files that a VM is filled with which starts from a snapshot.
#[derive(Debug)]
pub(super) struct Load {
    /// Path of the device state.
    pub(super) devices: PathBuf,
    /// Path of the delta; None: a template's RAM is mapped, or a whole stream has it with the devices.
    pub(super) delta: Option<PathBuf>,
    /// Method that the snapshot was written by.
    pub(super) method: Method,
}
