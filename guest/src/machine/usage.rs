//! What the machine's memory and disk are used for.

use std::{convert::Infallible, fs, io, time::Duration};

use pilothouse_proto::guest::v1::{DiskState, UsageResponse, event::Event};
use tokio::time::sleep;

use crate::events::Events;

/// Pause between two looks at the disk, which are one call of the kernel each.
const EVERY: Duration = Duration::from_secs(5);
/// Bytes left below which a disk is full; a 64th of the disk where that is less.
const FULL: u64 = 32 << 20;

/// Memory and disk that are used now. What cannot be read is 0.
#[must_use]
pub fn usage() -> UsageResponse {
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let disk = disk().unwrap_or_default();
    UsageResponse {
        memory_total: meminfo(&memory, "MemTotal:"),
        memory_available: meminfo(&memory, "MemAvailable:"),
        disk_total: disk.total_bytes,
        disk_free: disk.free_bytes,
    }
}

/// Reports when the disk becomes full, and when it is so no longer, for ever. Returns only when the disk cannot be looked at.
///
/// # Errors
/// As of looking at it.
pub async fn watch(events: Events) -> io::Result<Infallible> {
    let mut full = false;
    loop {
        let now = disk()?;
        if now.full != full && (now.full || has_room(&now)) {
            full = now.full;
            events.push(Event::Disk(now));
        }
        sleep(EVERY).await;
    }
}

fn disk() -> io::Result<DiskState> {
    let disk = rustix::fs::statvfs("/")?;
    // As `df` says it: what is kept for root is no room for an agent that is another user.
    let (free, total) = (disk.f_bavail.saturating_mul(disk.f_frsize), disk.f_blocks.saturating_mul(disk.f_frsize));
    let names = disk.f_files > 0 && disk.f_ffree == 0;
    Ok(DiskState { full: names || free < limit(total), free_bytes: free, total_bytes: total })
}

fn limit(total: u64) -> u64 {
    FULL.min(total / 64)
}

/// Whether a full disk has room again: not at the first byte, or it would be told again and again.
fn has_room(disk: &DiskState) -> bool {
    disk.free_bytes >= limit(disk.total_bytes) * 2
}

/// Bytes that a line of /proc/meminfo says; 0: there is no such line.
fn meminfo(text: &str, name: &str) -> u64 {
    let kib =
        text.lines().find_map(|line| line.strip_prefix(name)?.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kib.unwrap_or(0) << 10
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_there_is() {
        let usage = usage();
        assert!(usage.memory_total >= usage.memory_available && usage.memory_available > 0, "{usage:?}");
        assert!(usage.disk_total >= usage.disk_free && usage.disk_total > 0, "{usage:?}");
        assert_eq!(meminfo("MemTotal:  3 kB\nMemFree: x kB\n", "MemTotal:"), 3072);
        assert_eq!(meminfo("MemTotal:  3 kB\nMemFree: x kB\n", "MemFree:"), 0);
    }
}
