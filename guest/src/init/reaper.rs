//! PID 1, once the supervisor runs.

use rustix::{
    io::Errno,
    process::{Pid, WaitOptions, WaitStatus, wait},
};

use super::reset::reset;

/// Reaps orphans until the supervisor ends; a guest without one is of no use, so then the machine is reset.
pub(super) fn run(supervisor: Pid) -> ! {
    loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid == supervisor => reset(&ended(status)),
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => reset(&format!("the supervisor was lost: {error}")),
        }
    }
}

fn ended(status: WaitStatus) -> String {
    match (status.exit_status(), status.terminating_signal()) {
        (_, Some(signal)) => format!("the supervisor was ended by signal {signal}"),
        (code, None) => format!("the supervisor ended with code {}", code.unwrap_or(-1)),
    }
}
