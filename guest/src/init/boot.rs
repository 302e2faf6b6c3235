//! The boot, from the first process to a root file system.

use std::time::Duration;

use pilothouse_proto::{console::BOOT_AGAIN, guest::v1::BootStep};
use rustix::mount::{MountFlags, mount};

use super::{
    devices::{self, Devices},
    error::{BootError, Doing as _},
    modules,
    reset::reset,
    root, timer,
};
use crate::boot_log::step;

/// Longest wait for disk and ports to appear. Long: a busy host starves its emulated guests.
const DEVICES_WITHIN: Duration = Duration::from_secs(60);

/// Boots from the kernel's first process to a root file system that programs can live in.
pub(super) fn boot(steps: &mut Vec<BootStep>) -> Result<Devices, BootError> {
    let quiet = MountFlags::NOSUID | MountFlags::NOEXEC | MountFlags::NODEV;
    mount("proc", "/proc", "proc", quiet, None).doing("mounting /proc")?;
    mount("sysfs", "/sys", "sysfs", quiet, None).doing("mounting /sys")?;
    mount("devtmpfs", "/dev", "devtmpfs", MountFlags::NOSUID, Some(c"mode=0755")).doing("mounting /dev")?;
    if let Some(why) = timer::fault() {
        reset(&format!("{BOOT_AGAIN}: {why}"));
    }

    // Before the modules, or a device could appear unheard.
    let news = devices::News::listen().doing("listening for devices")?;
    modules::load_all("/modules")?;
    steps.push(step("modules"));

    let devices = devices::wait(&news, DEVICES_WITHIN)?;
    root::enter(&devices.disk)?;
    steps.push(step("root"));
    Ok(devices)
}
