//! What the machine itself offers.

use std::{
    fs::{self, File},
    path::Path,
};

use rustix::fs::{Access, FlockOperation, access, flock, statvfs};
use serde_json::json;

use super::{check::Check, table::size};
use crate::{
    data_folder::{LOCK, Unfit},
    host_status,
    service::{self, KillMode},
    stop,
};

const GIB: u64 = 1 << 30;
/// Room for a base, a build and some sessions.
const DISK_COMFORT: u64 = 10 * GIB;
const DISK_LEAST: u64 = GIB;
/// Room for a VM and for building in it.
const MEMORY_COMFORT: u64 = 2 * GIB;
const MEMORY_LEAST: u64 = 512 << 20;

/// Checks who may look into another process: hostd reads and writes the memory of its VMs.
pub(super) fn ptrace() -> Check {
    let scope = fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope").ok();
    judge_ptrace(scope.as_deref().map(str::trim), rustix::process::geteuid().is_root())
}

fn judge_ptrace(scope: Option<&str>, root: bool) -> Check {
    let name = "ptrace";
    let to_mend = "set kernel.yama.ptrace_scope to 1 (sysctl)";
    let check = match (scope, root) {
        (None, _) => Check::ok(name, "without Yama: hostd may read the memory of its VMs"),
        (Some("0"), _) => Check::ok(name, "scope 0: hostd may read the memory of its VMs"),
        (Some("1"), _) => Check::ok(
            name,
            "scope 1: hostd may read the memory of its VMs, which allow it to any program of its user (PR_SET_PTRACER)",
        ),
        (Some("2"), true) => Check::ok(name, "scope 2: root may read the memory of VMs"),
        (Some(scope), _) => {
            Check::failed(name, format!("scope {scope}: hostd may not read the memory of its VMs"), to_mend)
        }
    };
    check.with(json!({"yama_scope": scope, "root": root}))
}

/// Checks whether systemd leaves VMs running where it ends the hostd that runs on this data folder; None: none runs there, or
/// systemd has not started it.
pub(super) fn kill_mode(data: &Path) -> Option<Check> {
    let hostd = stop::holder(&fs::canonicalize(data).ok()?.join(LOCK))?;
    judge_kill_mode(&service::of_holder(hostd.pid)?)
}

fn judge_kill_mode(kill: &KillMode) -> Option<Check> {
    let name = "service";
    let check = match (kill.trouble(), kill.ends_vms()) {
        (Some((found, advice)), _) => Check::warning(name, found, advice),
        (None, Some(_)) => Check::ok(name, format!("{}: VMs of sessions run on where hostd ends", kill.unit)),
        (None, None) => Check::warning(
            name,
            format!("what {} does with VMs where hostd ends is not known: systemctl does not say", kill.unit),
            "see that its unit has KillMode=process",
        ),
    };
    Some(check.with(json!({"unit": kill.unit, "kill_mode": kill.mode})))
}

/// Which control groups there are, and whether this user may make some.
pub(super) fn cgroups() -> Check {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let (version, mount) = cgroup_mount(&mounts);
    let writable = mount.is_some_and(|mount| access(mount, Access::WRITE_OK).is_ok());
    let name = "cgroups";
    let facts = json!({"version": version, "mount": mount, "writable": writable});
    let check = match (version, mount) {
        ("none", _) | (_, None) => Check::warning(
            name,
            "none are mounted",
            "mount cgroup2 at /sys/fs/cgroup: VMs are to get limits of their own by it",
        ),
        (version, Some(mount)) if writable => {
            Check::ok(name, format!("{version} at {mount}, this user may make groups"))
        }
        (version, Some(mount)) => Check::ok(name, format!("{version} at {mount}, this user may make none at its top")),
    };
    check.with(facts)
}

/// v2 wherever it is mounted as the only one; else v1 by its memory controller.
fn cgroup_mount(mounts: &str) -> (&'static str, Option<&str>) {
    let of = |kind: &str, option: Option<&str>| {
        mounts.lines().find_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let [_, at, its_kind, options, ..] = fields[..] else { return None };
            let fits = its_kind == kind && option.is_none_or(|option| options.split(',').any(|word| word == option));
            fits.then_some(at)
        })
    };
    match (of("cgroup", Some("memory")), of("cgroup2", None)) {
        (Some(mount), _) => ("v1", Some(mount)),
        (None, Some(mount)) => ("v2", Some(mount)),
        (None, None) => ("none", None),
    }
}

/// Whether it can be written, and who uses it.
pub(super) fn data(data: &Path, claimed: Result<(), Unfit>) -> Check {
    let name = "data folder";
    if let Err(error) = claimed {
        return Check::failed(name, error.to_string(), "");
    }
    let used =
        File::open(data.join(LOCK)).is_ok_and(|lock| flock(&lock, FlockOperation::NonBlockingLockShared).is_err());
    let by = if used { "in use by a hostd that runs" } else { "in use by none" };
    Check::ok(name, format!("{}, {by}", data.display())).with(json!({"path": data, "in_use": used}))
}

pub(super) fn disk(data: &Path) -> Check {
    match statvfs(data) {
        Ok(fs) => {
            let (free, total) = (fs.f_bavail.saturating_mul(fs.f_frsize), fs.f_blocks.saturating_mul(fs.f_frsize));
            room("disk", free, total, DISK_COMFORT, DISK_LEAST)
        }
        Err(error) => Check::failed("disk", format!("{}: {error}", data.display()), "see data folder"),
    }
}

pub(super) fn memory() -> Check {
    room("memory", host_status::memory_available(), host_status::memory_total(), MEMORY_COMFORT, MEMORY_LEAST)
}

fn room(name: &'static str, free: u64, total: u64, comfort: u64, least: u64) -> Check {
    let found = format!("{} free of {}", size(free), size(total));
    let check = if free < least {
        Check::failed(name, found, format!("a session does not fit; free at least {}", size(least)))
    } else if free < comfort {
        Check::warning(name, found, format!("not much fits; {} and more is better", size(comfort)))
    } else {
        Check::ok(name, found)
    };
    check.with(json!({"free_bytes": free, "total_bytes": total}))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::doctor::Status;

    #[rstest]
    #[case(None, false, Status::Ok)]
    #[case(Some("0"), false, Status::Ok)]
    #[case(Some("1"), false, Status::Ok)]
    #[case(Some("2"), true, Status::Ok)]
    #[case(Some("2"), false, Status::Failed)]
    #[case(Some("3"), true, Status::Failed)]
    fn judges_who_may_look(#[case] scope: Option<&str>, #[case] root: bool, #[case] want: Status) {
        assert_eq!(judge_ptrace(scope, root).status, want);
    }

    #[test]
    fn finds_cgroups() {
        let v2 = "cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid 0 0\n";
        let v1 = "cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\ncgroup /sys/fs/cgroup/memory cgroup rw,memory 0 0\n";
        assert_eq!(cgroup_mount(v2), ("v2", Some("/sys/fs/cgroup")));
        assert_eq!(cgroup_mount(&format!("{v2}{v1}")), ("v1", Some("/sys/fs/cgroup/memory")));
        assert_eq!(cgroup_mount("proc /proc proc rw 0 0\ngarbage\n"), ("none", None));
    }

    #[test]
    fn judges_room() {
        assert_eq!(room("disk", DISK_COMFORT, 2 * DISK_COMFORT, DISK_COMFORT, DISK_LEAST).status, Status::Ok);
        assert_eq!(room("disk", DISK_COMFORT - 1, DISK_COMFORT, DISK_COMFORT, DISK_LEAST).status, Status::Warning);
        assert_eq!(room("disk", 0, DISK_COMFORT, DISK_COMFORT, DISK_LEAST).status, Status::Failed);
    }

    #[test]
    fn a_folder_that_cannot_be_used_fails() {
        let check = data(Path::new("/x"), Err(Unfit::Foreign { path: "/x".into(), owner: 7 }));
        assert_eq!(check.status, Status::Failed);
        assert!(check.found.contains("/x belongs to the user with the id 7"), "{}", check.found);
        let folder = tempfile::tempdir().unwrap();
        let check = data(folder.path(), Ok(()));
        assert_eq!((check.status, &check.facts["in_use"]), (Status::Ok, &json!(false)));
    }
}
