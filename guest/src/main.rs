//! One binary, two programs: as PID 1 the guest's init and supervisor, else the `session` command.

use std::process::ExitCode;

use guest::{command, init};

fn main() -> ExitCode {
    if std::process::id() == 1 { init::run() } else { command::run() }
}
