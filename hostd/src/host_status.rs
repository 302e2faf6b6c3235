//! The host as it stands: its memory, its disk, what starts its VMs.

use std::path::{Path, PathBuf};

use hostd_core::UnixMillis;

use crate::vm::{VmmInfo, identity::kib};

/// The host as it stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostStatus {
    /// Its hostname.
    pub name: String,
    /// What starts its VMs.
    pub vmm: VmmInfo,
    /// Processors.
    pub cpus: u32,
    /// Bytes of memory.
    pub memory_total: u64,
    /// Bytes of memory that new programs could have.
    pub memory_available: u64,
    /// Bytes of the file system of the data folder.
    pub disk_total: u64,
    /// Bytes of it that hostd could still write.
    pub disk_available: u64,
    /// How many sessions there are.
    pub sessions: u32,
    /// How many of them run.
    pub running: u32,
    /// Start of this hostd.
    pub started_at: UnixMillis,
    /// The data folder.
    pub data: PathBuf,
    /// User name of whoever has drained it, and since when; None: it takes VMs.
    pub drained: Option<(String, UnixMillis)>,
}

impl HostStatus {
    /// Reads what the system says. Blocks, shortly.
    pub(crate) fn read(data: &Path, vmm: VmmInfo, started_at: UnixMillis) -> Self {
        let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let disk = rustix::fs::statvfs(data).ok();
        Self {
            name: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            vmm,
            cpus: cpus(),
            memory_total: meminfo(&memory, "MemTotal:"),
            memory_available: meminfo(&memory, "MemAvailable:"),
            disk_total: disk.as_ref().map_or(0, |d| d.f_blocks.saturating_mul(d.f_frsize)),
            disk_available: disk.as_ref().map_or(0, |d| d.f_bavail.saturating_mul(d.f_frsize)),
            sessions: 0,
            running: 0,
            started_at,
            data: data.into(),
            drained: None,
        }
    }
}

/// Bytes of memory that this host has; 0 where the system does not say.
#[must_use]
pub fn memory_total() -> u64 {
    meminfo(&std::fs::read_to_string("/proc/meminfo").unwrap_or_default(), "MemTotal:")
}

/// Bytes of memory that new programs could have; 0 where the system does not say.
#[must_use]
pub fn memory_available() -> u64 {
    meminfo(&std::fs::read_to_string("/proc/meminfo").unwrap_or_default(), "MemAvailable:")
}

pub(crate) fn cpus() -> u32 {
    std::thread::available_parallelism().map_or(1, |n| u32::try_from(n.get()).unwrap_or(u32::MAX))
}

/// A line of /proc/meminfo, in bytes.
pub(crate) fn meminfo(text: &str, name: &str) -> u64 {
    kib(text, name).unwrap_or(0)
}
