//! PID 1 in the initramfs: modules, root file system, and then a reaper for ever.
//!
//! The initramfs holds this binary as `/init`, kernel modules as `/modules/NN-NAME.ko` (loaded in the order of their names;
//! `.ko.xz`, `.ko.zst` and `.ko.gz` are unpacked by kernels that can), and the empty folders `/dev /proc /sys /newroot`.
//! The root file system is ext4 on `/dev/vda` and needs to know nothing of us.
//!
//! Whatever keeps the guest from coming up goes to the kernel's log (and so to the serial console), as its last line; then
//! the machine is reset. A power-off would look like one that was asked for.

mod boot;
mod devices;
mod durable;
mod error;
mod modules;
mod reaper;
mod reset;
mod root;
mod timer;

use std::{io, process::ExitCode};

pub use devices::Devices;
use reset::reset;
pub(crate) use root::loopback;
use rustix::process::Pid;

use crate::boot_log::step;

/// Boots, and is PID 1 and, forked, the supervisor. Returns in the supervisor alone, when that has ended.
#[must_use]
pub fn run() -> ExitCode {
    let mut steps = vec![step("kernel")];
    let devices = match boot::boot(&mut steps) {
        Ok(devices) => devices,
        Err(error) => reset(&format!("the guest does not come up: {error}")),
    };
    match fork() {
        Ok(None) => crate::supervisor::run(&devices, steps),
        Ok(Some(supervisor)) => reaper::run(supervisor),
        Err(error) => reset(&format!("the guest does not come up: fork: {error}")),
    }
}

/// The child's pid in the parent, None in the child.
#[allow(unsafe_code)]
pub(crate) fn fork() -> io::Result<Option<Pid>> {
    // SAFETY: there is one thread, so the child may do whatever the parent may.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        pid => Ok(Pid::from_raw(pid)),
    }
}
