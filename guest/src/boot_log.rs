//! What is told of the guest's boot and of its troubles: steps with their times, and lines of the kernel's log.

use std::{fs, io, io::Write as _};

use pilothouse_proto::guest::v1::BootStep;
use rustix::time::{ClockId, clock_gettime};

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
