//! The end of a guest that cannot go on.

use rustix::system::{RebootCommand, reboot};

use crate::boot_log::report;

/// Says why and resets the machine; with QEMU's -no-reboot that ends it.
pub(super) fn reset(why: &str) -> ! {
    report(why);
    rustix::fs::sync();
    loop {
        // Fails only without the right to do so; then the kernel panics when PID 1 ends, which the host notices too.
        if reboot(RebootCommand::Restart).is_err() {
            std::process::abort();
        }
    }
}
