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
mod modules;
mod reaper;
mod root;
mod timer;

use std::{fs, io, io::Write as _, process::ExitCode};

use pilothouse_proto::guest::v1::BootStep;
use rustix::{
    process::Pid,
    system::{RebootCommand, reboot},
    time::{ClockId, clock_gettime},
};

pub use devices::Devices;

/// Why the guest does not come up.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {error}")]
pub struct BootError {
    what: String,
    error: io::Error,
}

/// Names what was being done when an error came.
trait Doing<T> {
    fn doing(self, what: impl Into<String>) -> Result<T, BootError>;
}

impl<T, E: Into<io::Error>> Doing<T> for Result<T, E> {
    fn doing(self, what: impl Into<String>) -> Result<T, BootError> {
        self.map_err(|error| BootError { what: what.into(), error: error.into() })
    }
}

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

/// A step of the boot that has just ended.
pub(crate) fn step(name: &str) -> BootStep {
    let now = clock_gettime(ClockId::Boottime);
    let micros = now.tv_sec * 1_000_000 + now.tv_nsec / 1000;
    BootStep { name: name.into(), uptime_micros: u64::try_from(micros).unwrap_or(0) }
}

/// Writes a line to the kernel's log, at a level that reaches the serial console even when the kernel is quiet.
pub(crate) fn report(line: &str) {
    // One write: each is a line of the log.
    let text = format!("<2>pilothouse-guest: {line}\n");
    let written =
        fs::OpenOptions::new().write(true).open("/dev/kmsg").and_then(|mut kmsg| kmsg.write_all(text.as_bytes()));
    if written.is_err() {
        // Before /dev is mounted there is only the console that the kernel gave us.
        let _ = writeln!(io::stderr(), "pilothouse-guest: {line}");
    }
}

/// Says why and resets the machine; with QEMU's -no-reboot that ends it.
pub(crate) fn reset(why: &str) -> ! {
    report(why);
    rustix::fs::sync();
    loop {
        // Fails only without the right to do so; then the kernel panics when PID 1 ends, which the host notices too.
        if reboot(RebootCommand::Restart).is_err() {
            std::process::abort();
        }
    }
}

/// The child's pid in the parent, None in the child.
#[allow(unsafe_code)]
fn fork() -> io::Result<Option<Pid>> {
    // SAFETY: there is one thread, so the child may do whatever the parent may.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        pid => Ok(Pid::from_raw(pid)),
    }
}
