//! What the memory and the disk of this host are used for. Read when somebody asks, for it takes a while.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashSet},
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use super::Fleet;
use crate::{
    admission::Kind,
    host_status::meminfo,
    sessions::{
        disk::folder::{FileKind, kind, session_of},
        error::FleetError,
        supervisor::Supervisors,
    },
    vm::MemoryUse,
};

/// Files that are looked at; a data folder has some hundreds.
const FILES: usize = 200_000;
/// Sessions that are named.
const LARGEST: usize = 10;
/// How deep folders are looked into.
const DEPTH: usize = 32;

/// Uses of memory and disk, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accounts {
    /// Memory that is one VM's alone, of all sessions' VMs and copies: what the guests have written, and what QEMU needs.
    pub memory_private: u64,
    /// The same of warm VMs that no session has yet, and of those that stand by without a guest.
    pub memory_warm: u64,
    /// The same of VMs of checks under way.
    pub memory_ci: u64,
    /// The same of VMs of builds under way.
    pub memory_builds: u64,
    /// Memory of files that all these VMs have mapped, each page counted once: their templates, QEMU's program.
    pub memory_shared: u64,
    /// Page cache of the whole host, the shared memory above included; the kernel gives it back where it is needed.
    pub memory_cache: u64,
    /// Memory that nobody uses.
    pub memory_free: u64,
    /// Memory that is kept for the host itself: nothing starts that would need it.
    pub memory_reserve: u64,
    /// Memory that sessions' VMs together may use.
    pub memory_most: u64,
    /// Bytes of disk that base systems take.
    pub disk_bases: u64,
    /// Bytes of disk that builds and their templates take.
    pub disk_builds: u64,
    /// Bytes of disk that sessions' disks take.
    pub disk_layers: u64,
    /// Bytes of disk that memory and devices of suspended sessions take.
    pub disk_snapshots: u64,
    /// Bytes of disk that disks of warm VMs take.
    pub disk_warm: u64,
    /// Bytes of disk that disks of checks under way take.
    pub disk_ci: u64,
    /// Bytes of disk that logs of terminals and serial consoles take.
    pub disk_logs: u64,
    /// Bytes of disk that all else in the data folder takes: kernels, repositories, the store.
    pub disk_other: u64,
    /// Sessions that take the most of the disk, with how much, the largest first: their slugs.
    pub largest: Vec<(String, u64)>,
    /// Disk that is kept free, so that a suspend finds room.
    pub disk_reserve: u64,
}

impl Fleet {
    /// What memory and disk are used for now.
    ///
    /// # Errors
    /// [`FleetError::Stopping`].
    pub async fn accounts(&self) -> Result<Accounts, FleetError> {
        let supervisors = self.supervisors.clone();
        tokio::task::spawn_blocking(move || read(&supervisors)).await.map_err(|_| FleetError::Stopping)
    }
}

fn read(supervisors: &Supervisors) -> Accounts {
    let Supervisors { ctx, registry, pool, .. } = supervisors;
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let parts: Vec<_> = registry.lives().iter().map(|live| live.vm.memory_part()).collect();
    let (room, admission) = (ctx.room(), &ctx.admission);
    let warm = [pool.memory_part(), ctx.vmm.standing_by_part()].into_iter().sum::<MemoryUse>();
    let (ci, builds) = (admission.of_kind(Kind::Ci), admission.of_kind(Kind::Build));
    let copies = admission.of_kind(Kind::Copy);
    let others = [warm, ci, builds, copies].map(|part| part.shared).iter().sum::<u64>();
    let mut accounts = Accounts {
        memory_private: parts.iter().chain([&copies]).map(|part| part.private).sum(),
        memory_warm: warm.private,
        memory_ci: ci.private,
        memory_builds: builds.private,
        memory_shared: parts.iter().map(|part| part.shared).sum::<u64>().saturating_add(others),
        memory_cache: meminfo(&memory, "Cached:").saturating_add(meminfo(&memory, "Buffers:")),
        memory_free: meminfo(&memory, "MemFree:"),
        memory_reserve: room.memory_reserve(),
        memory_most: room.memory_most(),
        disk_reserve: room.disk_reserve(),
        ..Accounts::default()
    };
    let by_session = accounts.add_disk(&ctx.data);
    let slug = |(id, bytes): (String, u64)| Some((registry.get(&id)?.slug.clone(), bytes));
    accounts.largest = by_session.into_iter().filter_map(slug).collect();
    accounts.largest.sort_by_key(|(_, bytes)| Reverse(*bytes));
    accounts.largest.truncate(LARGEST);
    accounts
}

impl Accounts {
    /// A file that has several names, as layers of forks have, counts once. What goes away meanwhile does not count. What each
    /// session takes, by id.
    fn add_disk(&mut self, data: &Path) -> BTreeMap<String, u64> {
        let mut by_session = BTreeMap::new();
        let mut seen = HashSet::new();
        let mut folders: Vec<(PathBuf, usize)> = vec![(data.into(), 0)];
        let mut left = FILES;
        while let Some((folder, depth)) = folders.pop() {
            for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
                let Ok(metadata) = entry.metadata() else { continue };
                if left == 0 {
                    return by_session;
                }
                left -= 1;
                if metadata.is_dir() && depth < DEPTH {
                    folders.push((entry.path(), depth + 1));
                } else if metadata.is_file() && seen.insert((metadata.dev(), metadata.ino())) {
                    let path = entry.path();
                    let path = path.strip_prefix(data).unwrap_or(&path);
                    let bytes = metadata.blocks().saturating_mul(512);
                    *self.kind(path) += bytes;
                    if let Some(session) = session_of(path) {
                        *by_session.entry(session.to_owned()).or_default() += bytes;
                    }
                }
            }
        }
        by_session
    }

    /// Where this file of the data folder counts.
    fn kind(&mut self, path: &Path) -> &mut u64 {
        let parts: Vec<&str> = path.iter().map(|part| part.to_str().unwrap_or_default()).collect();
        match parts.as_slice() {
            ["bases", ..] => &mut self.disk_bases,
            ["builds", ..] => &mut self.disk_builds,
            ["warm" | "standby", ..] => &mut self.disk_warm,
            ["ci", ..] => &mut self.disk_ci,
            ["sessions" | "copies", _, below @ ..] => match kind(below) {
                FileKind::Layer => &mut self.disk_layers,
                FileKind::Log => &mut self.disk_logs,
                FileKind::Snapshot => &mut self.disk_snapshots,
                FileKind::Other => &mut self.disk_other,
            },
            _ => &mut self.disk_other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_counts_once_and_by_its_kind() {
        let data = tempfile::tempdir().unwrap();
        let write = |path: &str, kib: usize| {
            let path = data.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, vec![1; kib << 10]).unwrap();
        };
        for (path, kib) in [
            ("bases/a.ext4", 64),
            ("builds/b/disk.qcow2", 32),
            ("builds/b/template/ram", 16),
            ("sessions/c/disk.qcow2", 128),
            ("sessions/c/snapshot/memory.zst", 256),
            ("sessions/c/terminal.log", 8),
            ("warm/e/disk.qcow2", 12),
            ("ci/f/disk.qcow2", 20),
            ("store.sqlite", 4),
        ] {
            write(path, kib);
        }
        fs::create_dir_all(data.path().join("sessions/d")).unwrap();
        fs::hard_link(data.path().join("sessions/c/disk.qcow2"), data.path().join("sessions/d/disk.qcow2")).unwrap();
        let mut accounts = Accounts::default();
        let by_session = accounts.add_disk(data.path());
        // The hard link counts for one of them.
        assert_eq!(by_session.values().sum::<u64>() >> 10, 128 + 256 + 8);
        let Accounts { disk_bases, disk_builds, disk_layers, disk_snapshots, disk_logs, disk_other, .. } = accounts;
        assert_eq!([accounts.disk_warm, accounts.disk_ci].map(|bytes| bytes >> 10), [12, 20]);
        let kib =
            [disk_bases, disk_builds, disk_layers, disk_snapshots, disk_logs, disk_other].map(|bytes| bytes >> 10);
        assert_eq!(kib, [64, 48, 128, 256, 8, 4]);
    }
}
