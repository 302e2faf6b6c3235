//! Processes, named for good by pid and start time.

use std::{fs, path::Path, time::Duration};

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, prlimit};

use crate::wait::until;

/// A process that may be gone, but is never mistaken for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    pid: i32,
    start: u64,
}

impl Process {
    /// The process that has this pid now, unless it is gone or a zombie.
    #[must_use]
    pub fn of(pid: i32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let mut fields = stat.rsplit_once(") ")?.1.split(' ');
        if fields.next()? == "Z" {
            return None;
        }
        Some(Self { pid, start: fields.nth(18)?.parse().ok()? })
    }

    /// Id of the process.
    #[must_use]
    pub fn pid(self) -> i32 {
        self.pid
    }

    /// Whether the process runs.
    #[must_use]
    pub fn runs(self) -> bool {
        Self::of(self.pid) == Some(self)
    }

    /// Time that the processors have worked for the process, in ticks of the kernel's clock; 0 where it is gone.
    #[must_use]
    pub fn worked(self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap_or_default();
        let fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields).split(' ');
        fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum()
    }

    /// Has every write of the process to a regular file fail from this offset on; None: none fails for that.
    pub fn limit_files(self, offset: Option<u64>) {
        let pid = Pid::from_raw(self.pid);
        let hard = getrlimit(Resource::Fsize).maximum;
        prlimit(pid, Resource::Fsize, Rlimit { current: offset.or(hard), maximum: hard }).unwrap();
    }

    /// Sends a signal to the process, if it still runs.
    pub fn signal(self, signal: Signal) {
        if self.runs() {
            let _ = kill_process(Pid::from_raw(self.pid).unwrap(), signal);
        }
    }

    /// Ends the process in good order, or after `patience` without it, and waits until it is gone.
    pub fn end(self, patience: Duration) {
        self.signal(Signal::TERM);
        let began = std::time::Instant::now();
        until("a process to end", patience + Duration::from_secs(20), || {
            if began.elapsed() > patience {
                self.signal(Signal::KILL);
            }
            (!self.runs()).then_some(())
        });
    }
}

/// The QEMUs that have a file open in `folder`.
#[must_use]
pub fn vms_in(folder: &Path) -> Vec<Process> {
    let pids = fs::read_dir("/proc").unwrap().flatten();
    pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter_map(|pid| vm_in(pid, folder)).collect()
}

fn vm_in(pid: i32, folder: &Path) -> Option<Process> {
    let program = fs::read_link(format!("/proc/{pid}/exe")).ok()?;
    if !program.file_name()?.to_str()?.starts_with("qemu-system") {
        return None;
    }
    let process = Process::of(pid)?;
    let mut files = fs::read_dir(format!("/proc/{pid}/fd")).ok()?.flatten();
    files.any(|fd| fs::read_link(fd.path()).is_ok_and(|to| to.starts_with(folder))).then_some(process)
}
