//! How a process has ended, told to who is no parent of it: Linux does so from 6.15 on (`PIDFD_GET_INFO`).

use std::{
    os::{
        fd::{AsRawFd, BorrowedFd},
        unix::process::ExitStatusExt as _,
    },
    process::ExitStatus,
};

/// `struct pidfd_info` of linux/pidfd.h, as it was first: 64 bytes.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Info {
    /// What is asked for, and then what is told.
    mask: u64,
    cgroup: u64,
    /// Ids of the process, of its parents and of its users.
    ids: [u32; 11],
    /// As `wait` has it.
    exit_code: i32,
}

/// `PIDFD_INFO_EXIT`: how it ended is asked for, or told.
const EXIT: u64 = 1 << 3;
/// `PIDFD_GET_INFO`: `_IOWR(0xff, 11, struct pidfd_info)`.
const GET_INFO: u32 = 0xC040_FF0B;

/// How the process of this handle has ended; None: it has not, nobody has waited for it yet, or the kernel does not tell.
#[allow(unsafe_code)]
pub(super) fn of(pidfd: BorrowedFd<'_>) -> Option<ExitStatus> {
    let mut info = Info { mask: EXIT, ..Info::default() };
    // SAFETY: the kernel writes at most the 64 bytes whose size is in the request, all of `info`, in which any bytes are valid.
    let answer = unsafe { libc::ioctl(pidfd.as_raw_fd(), GET_INFO.into(), &raw mut info) };
    (answer == 0 && info.mask & EXIT != 0).then(|| ExitStatus::from_raw(info.exit_code))
}

#[cfg(test)]
mod tests {
    use std::{os::fd::AsFd as _, process::Command};

    use super::*;
    use crate::identity::ProcessIdentity;

    #[test]
    fn of_one_that_runs_nothing_is_told() {
        assert_eq!(std::mem::size_of::<Info>(), 64);
        let mut child = Command::new("sleep").arg("600").spawn().unwrap();
        let handle = ProcessIdentity::of(child.id()).unwrap().open().unwrap().unwrap();
        assert_eq!(of(handle.as_fd()), None);
        child.kill().unwrap();
        let ended = child.wait().unwrap();
        assert!(of(handle.as_fd()).is_none_or(|told| told == ended), "as its parent is told");
    }
}
