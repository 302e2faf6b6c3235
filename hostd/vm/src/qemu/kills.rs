//! Whether the host's kernel has killed a QEMU for want of memory: by what it says in its log, where hostd may read that, and else by
//! what it counts, for all of the host and for the cgroup that the process was in.

use std::{
    fs::{self, File},
    io::Read,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use hostd_core::{Cause, kernel_log};
use rustix::fs::OFlags;
use tokio::time::{Instant, sleep_until};

use crate::identity::ProcessIdentity;

/// Between two looks at what is counted: a kill that is nearer to another is taken for it.
const EVERY: Duration = Duration::from_secs(5);
/// Most bytes of a file of counts that are read; the largest has some KiB.
const COUNTS_MAX: u64 = 64 << 10;
/// Most records of the kernel's log that are read, and the longest.
const RECORDS: usize = 1 << 16;
const RECORD: usize = 8192;
/// Microseconds of a tick of the clock that processes' start times are counted in (`USER_HZ`).
const TICK: u64 = 10_000;

/// What a host counted when it was last looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Counts {
    /// Processes that its kernel killed for want of memory.
    host: u64,
    /// The same of the process's cgroup and what is below it; None: that has no count of memory.
    cgroup: Option<u64>,
    /// How often the bound of that cgroup, or of one above it, was met.
    bound: u64,
}

/// Watches one process.
#[derive(Clone, Debug)]
pub(super) struct Kills {
    root: PathBuf,
    process: ProcessIdentity,
    /// Folder of the process's cgroup, from the root of its hierarchy on, and that root.
    cgroup: Option<(PathBuf, PathBuf)>,
    counts: Counts,
    next: Instant,
}

impl Kills {
    /// Begins to watch this process.
    pub(super) fn of(process: ProcessIdentity) -> Self {
        Self::below(Path::new("/"), process)
    }

    fn below(root: &Path, process: ProcessIdentity) -> Self {
        let counts = Counts::default();
        let mut kills = Self { root: root.to_owned(), process, cgroup: None, counts, next: Instant::now() };
        kills.look();
        kills
    }

    /// Waits until it is time to look again.
    pub(super) async fn due(&self) {
        sleep_until(self.next).await;
    }

    /// Takes what is counted now for what was before. Not once the process has ended.
    pub(super) fn look(&mut self) {
        self.next = Instant::now() + EVERY;
        self.cgroup = self.find_cgroup();
        self.counts = self.count();
    }

    /// Why the process was killed, which has ended by SIGKILL, or nobody knows how; None: not for want of memory, as far as can be seen.
    /// Reads the kernel's log: to be called where that may take some milliseconds.
    pub(super) fn cause(&self) -> Option<Cause> {
        let cgroup = || self.cgroup.as_ref().map(|(path, _)| path.display().to_string()).unwrap_or_default();
        let of = |of_cgroup| match of_cgroup {
            true => Cause::CgroupOutOfMemory { cgroup: cgroup() },
            false => Cause::HostOutOfMemory,
        };
        if let Some(killed) = self.logged() {
            return Some(of(killed.of_cgroup));
        }
        let now = self.count();
        let killed = match (now.cgroup, self.counts.cgroup) {
            (Some(now), Some(before)) => now > before,
            _ => now.host > self.counts.host,
        };
        killed.then(|| of(now.bound > self.counts.bound))
    }

    /// What the kernel's log says of the process.
    fn logged(&self) -> Option<kernel_log::Killed> {
        let flags = OFlags::NONBLOCK.bits().cast_signed();
        let mut log = File::options().read(true).custom_flags(flags).open(self.root.join("dev/kmsg")).ok()?;
        let mut record = vec![0; RECORD];
        let mut found = None;
        for _ in 0..RECORDS {
            match log.read(&mut record) {
                Ok(0) => break,
                Ok(read) => {
                    let text = String::from_utf8_lossy(record.get(..read).unwrap_or_default());
                    let ours = |killed: &kernel_log::Killed| {
                        killed.pid == self.process.pid && killed.at >= self.process.start_time.saturating_mul(TICK)
                    };
                    found = text.lines().filter_map(kernel_log::killed).rfind(ours).or(found);
                }
                // Records were overwritten before they were read.
                Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {}
                Err(_) => break,
            }
        }
        found
    }

    fn count(&self) -> Counts {
        let host = count(&self.root.join("proc/vmstat"), "oom_kill").unwrap_or_default();
        let Some((folder, top)) = &self.cgroup else { return Counts { host, ..Counts::default() } };
        // The second hierarchy's file, or the first's.
        let killed = ["memory.events", "memory.oom_control"].map(|name| count(&folder.join(name), "oom_kill"));
        let above = folder.ancestors().take_while(|above| above.starts_with(top));
        let met = |folder: &Path| {
            let first = || {
                let text = read(&folder.join("memory.failcnt"))?;
                text.trim().parse().ok()
            };
            count(&folder.join("memory.events"), "oom").or_else(first).unwrap_or_default()
        };
        Counts { host, cgroup: killed.into_iter().flatten().next(), bound: above.map(met).fold(0, u64::saturating_add) }
    }

    /// The folder of the process's cgroup that counts memory.
    fn find_cgroup(&self) -> Option<(PathBuf, PathBuf)> {
        let text = read(&self.root.join(format!("proc/{}/cgroup", self.process.pid)))?;
        let top = self.root.join("sys/fs/cgroup");
        let folders = text.lines().take(64).filter_map(|line| {
            let (_, rest) = line.split_once(':')?;
            let (controllers, path) = rest.split_once(':')?;
            let path = path.strip_prefix('/').filter(|path| !path.split('/').any(|part| part == ".."))?;
            match controllers {
                "" => Some((top.join(path), top.clone())),
                of if of.split(',').any(|one| one == "memory") => {
                    Some((top.join("memory").join(path), top.join("memory")))
                }
                _ => None,
            }
        });
        folders
            .into_iter()
            .find(|(folder, _)| ["memory.events", "memory.oom_control"].iter().any(|name| folder.join(name).exists()))
    }
}

/// The number that follows this name in a file of names and numbers.
fn count(file: &Path, name: &str) -> Option<u64> {
    let text = read(file)?;
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

fn read(path: &Path) -> Option<String> {
    // Its size is not known before it is read.
    let mut text = String::new();
    fs::File::open(path).ok()?.take(COUNTS_MAX).read_to_string(&mut text).ok()?;
    Some(text)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const PID: u32 = 412;

    /// A host whose files say what a test writes into them.
    struct Host(tempfile::TempDir);

    impl Host {
        fn new(cgroup: &str) -> Self {
            let host = Self(tempfile::tempdir().unwrap());
            host.write("proc/vmstat", "nr_free_pages 1\noom_kill 7\n");
            host.write("proc/412/cgroup", cgroup);
            host
        }

        fn write(&self, path: &str, text: &str) {
            let path = self.0.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }

        fn watch(&self) -> Kills {
            let process = ProcessIdentity { pid: PID, start_time: 100, boot_id: String::new() };
            Kills::below(self.0.path(), process)
        }
    }

    const EVENTS: &str = "sys/fs/cgroup/vms/a/memory.events";

    /// The cause's word after these files have changed.
    #[rstest]
    #[case::nothing(&[], None)]
    #[case::another_cgroup(&[("proc/vmstat", "oom_kill 8\n")], None)]
    #[case::own_bound(&[("proc/vmstat", "oom_kill 8\n"), (EVENTS, "oom 1\noom_kill 1\noom_group_kill 0\n")],
        Some("cgroup-out-of-memory"))]
    #[case::bound_above(&[(EVENTS, "oom 0\noom_kill 1\n"), ("sys/fs/cgroup/vms/memory.events", "oom 3\noom_kill 1\n")],
        Some("cgroup-out-of-memory"))]
    #[case::of_the_host(&[("proc/vmstat", "oom_kill 8\n"), (EVENTS, "oom 0\noom_kill 1\n")], Some("host-out-of-memory"))]
    #[case::logged(&[("dev/kmsg", "3,1,5000000,-;Out of memory: Killed process 412 (qemu) total-vm:1kB\n")],
        Some("host-out-of-memory"))]
    #[case::logged_before_it_was_started(&[("dev/kmsg", "3,1,9,-;Out of memory: Killed process 412 (qemu) total-vm:1kB\n")],
        None)]
    #[case::logged_of_another(&[("dev/kmsg", "3,1,5000000,-;Out of memory: Killed process 413 (qemu) total-vm:1kB\n")], None)]
    #[tokio::test]
    async fn who_was_killed_for_want_of_memory_is_seen(#[case] changes: &[(&str, &str)], #[case] word: Option<&str>) {
        let host = Host::new("0::/vms/a\n");
        host.write(EVENTS, "oom 0\noom_kill 0\n");
        let kills = host.watch();
        changes.iter().for_each(|(path, text)| host.write(path, text));
        let cause = kills.cause();
        assert_eq!(cause.as_ref().map(Cause::word), word, "{cause:?}");
        if let Some(Cause::CgroupOutOfMemory { cgroup }) = cause {
            assert!(cgroup.ends_with("/vms/a"), "{cgroup}");
        }
    }

    #[tokio::test]
    async fn the_first_hierarchy_of_cgroups_counts_too() {
        let host = Host::new("9:name=systemd:/\n4:memory:/vms/b\n0::/\n");
        let control = "sys/fs/cgroup/memory/vms/b/memory.oom_control";
        host.write(control, "oom_kill_disable 0\nunder_oom 0\noom_kill 0\n");
        host.write("sys/fs/cgroup/memory/vms/b/memory.failcnt", "0\n");
        let kills = host.watch();
        assert_eq!(kills.cause(), None);
        host.write(control, "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n");
        assert_eq!(kills.cause(), Some(Cause::HostOutOfMemory));
        host.write("sys/fs/cgroup/memory/vms/b/memory.failcnt", "12\n");
        assert_eq!(kills.cause().unwrap().word(), "cgroup-out-of-memory");
    }

    #[tokio::test]
    async fn where_no_cgroup_counts_memory_the_host_does() {
        let host = Host::new("0::/../..\n");
        let mut kills = host.watch();
        host.write("proc/vmstat", "oom_kill 8\n");
        assert_eq!(kills.cause(), Some(Cause::HostOutOfMemory));
        kills.look();
        assert_eq!(kills.cause(), None, "that was another");
    }
}
