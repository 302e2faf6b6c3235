//! The disk of a folder, measured.

use std::path::Path;

use hostd_core::capacity::Disk;

/// Bytes that must be free before a VM that stands still because of a full disk goes on: else it would take what was given up
/// for somebody else.
pub const GO_ON: u64 = 16 << 20;

/// Measures the file system of a folder; None: the system cannot tell.
#[must_use]
pub fn measure(folder: &Path) -> Option<Disk> {
    let disk = rustix::fs::statvfs(folder).ok()?;
    let bytes = |blocks: u64| blocks.saturating_mul(disk.f_frsize);
    Some(Disk { total: bytes(disk.f_blocks), available: bytes(disk.f_bavail) })
}
