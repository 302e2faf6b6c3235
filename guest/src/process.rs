//! Starting programs: on pipes or a PTY, in a session and a cgroup of their own.

mod cgroup;
mod launch;
mod pty;

pub use cgroup::Cgroups;
pub use launch::{Launch, LaunchError, Started, Streams, launch};
use pilothouse_proto::guest::v1::Exit;
pub use pty::{Pty, Window};
use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use std::{os::unix::process::ExitStatusExt as _, process::ExitStatus, time::Duration};

/// Longest silence after which a program's output is over that has ended, where something that it left behind keeps its pipe or
/// terminal open; a closed one ends it at once.
pub const SILENCE: Duration = Duration::from_millis(200);
/// Most bytes that are read of a program that has ended: all that it wrote itself fits its pipe (64 KiB) or terminal.
pub const LEFT_MAX: usize = 256 << 10;

/// The exit of a process with this status.
#[must_use]
pub fn exit(status: ExitStatus) -> Exit {
    match status.signal() {
        Some(signal) => Exit { code: 128 + signal, signal },
        None => Exit { code: status.code().unwrap_or(-1), signal: 0 },
    }
}

/// Signals a process group; one that is gone is no error.
pub fn signal_group(leader: u32, signal: Signal) {
    if let Some(group) = group(leader) {
        let _ = kill_process_group(group, signal);
    }
}

/// Whether any process is left in a process group.
#[must_use]
pub fn is_group(leader: u32) -> bool {
    group(leader).is_some_and(|group| test_kill_process_group(group).is_ok())
}

fn group(leader: u32) -> Option<Pid> {
    i32::try_from(leader).ok().and_then(Pid::from_raw)
}
