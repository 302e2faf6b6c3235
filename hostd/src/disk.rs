//! The disk of a folder, measured.

use std::path::Path;

use hostd_core::capacity::Disk;

/// Measures the file system of a folder; None: the system cannot tell.
pub(crate) fn measure(folder: &Path) -> Option<Disk> {
    let disk = rustix::fs::statvfs(folder).ok()?;
    let bytes = |blocks: u64| blocks.saturating_mul(disk.f_frsize);
    Some(Disk { total: bytes(disk.f_blocks), available: bytes(disk.f_bavail) })
}
