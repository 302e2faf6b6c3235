//! What sessions use, inside their guests and of the host's disk.

use std::{collections::HashSet, fs, os::unix::fs::MetadataExt as _, path::PathBuf, time::Duration};

use pilothouse_proto::guest::v1::UsageRequest;
use tokio::{sync::watch, time::timeout};

use super::{disk::folder::Folder, vm::running::Live};

/// For a guest to answer; it is asked again soon.
const WITHIN: Duration = Duration::from_secs(2);
/// In these steps, so that not every page and block is news.
const STEP: u64 = 4 << 20;
/// Files are counted in these.
const MIB: u64 = 1 << 20;
/// Files of a session that are counted.
const FILES: usize = 10_000;

/// What a session uses, in bytes; 0 where it is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Memory that its guest has.
    pub memory_total: u64,
    /// What is left of it.
    pub memory_available: u64,
    /// The guest's root file system.
    pub disk_total: u64,
    /// What is left of it.
    pub disk_free: u64,
    /// Its files on the host's disk, those that it shares with forks included.
    pub on_host: u64,
}

/// Looks at what a session uses now. A guest that does not answer, or is an older one, is taken to be as it was.
pub(super) async fn look(folder: &Folder, live: Option<Live>, usage: &watch::Sender<Usage>) {
    let folder = folder.path().to_owned();
    let on_host = tokio::task::spawn_blocking(move || on_disk(folder)).await.unwrap_or_default();
    let asked = async {
        let mut client = live.as_ref()?.link.up().await?;
        Some(client.usage(UsageRequest {}).await.ok()?.into_inner())
    };
    let answer = timeout(WITHIN, asked).await.ok().flatten();
    usage.send_if_modified(|usage| {
        let before = *usage;
        usage.on_host = on_host.next_multiple_of(MIB);
        if let Some(now) = answer {
            *usage = Usage {
                memory_total: now.memory_total,
                memory_available: steps(now.memory_available.min(now.memory_total)),
                disk_total: now.disk_total,
                disk_free: steps(now.disk_free.min(now.disk_total)),
                ..*usage
            };
        }
        *usage != before
    });
}

fn steps(bytes: u64) -> u64 {
    bytes & !(STEP - 1)
}

/// Bytes that the files of a folder take. One with several names there, as layers of checkpoints have, counts once.
fn on_disk(folder: PathBuf) -> u64 {
    let (mut bytes, mut left, mut folders, mut seen) = (0_u64, FILES, vec![folder], HashSet::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten().take(left) {
            left -= 1;
            match entry.metadata() {
                Ok(metadata) if metadata.is_dir() => folders.push(entry.path()),
                Ok(metadata) if metadata.nlink() > 1 && !seen.insert((metadata.dev(), metadata.ino())) => {}
                Ok(metadata) => bytes = bytes.saturating_add(metadata.blocks().saturating_mul(512)),
                Err(_) => {}
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_counted_with_those_in_folders() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("snapshot")).unwrap();
        for name in ["disk.qcow2", "snapshot/memory.zst"] {
            fs::write(folder.path().join(name), vec![1; 64 << 10]).unwrap();
        }
        assert_eq!(on_disk(folder.path().into()), 128 << 10);
        fs::hard_link(folder.path().join("disk.qcow2"), folder.path().join("snapshot/disk.qcow2")).unwrap();
        assert_eq!(on_disk(folder.path().into()), 128 << 10);
        assert_eq!(on_disk(folder.path().join("none")), 0);
    }
}
