//! Maximum times that hostd waits for QEMU.

use std::time::Duration;

/// Maximum time for QEMU to start and greet: it loads the kernel meanwhile, perhaps from a slow disk.
pub(super) const GREETING: Duration = Duration::from_secs(60);
/// Maximum time for the answer to a command that needs neither the disk nor a copy of memory.
pub(super) const ANSWER: Duration = Duration::from_secs(5);
/// Maximum time for the answer to a command that waits for the host's disk.
pub(super) const DISK: Duration = Duration::from_secs(60);
/// Maximum time for QEMU to write or load device state, which has some KiB.
pub(super) const DEVICES: Duration = Duration::from_secs(30);
/// Maximum time for the kernel to clear away a killed process.
pub(super) const KILL: Duration = Duration::from_secs(30);
