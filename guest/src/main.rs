//! One binary, three programs: as PID 1 the guest's init and supervisor, by its name `modprobe`, else the `session` command.

use std::{env, path::Path, process::ExitCode};

use guest::{command, init, modprobe};

fn main() -> ExitCode {
    if std::process::id() == 1 {
        return init::run();
    }
    let mut arguments = env::args_os().map(|argument| argument.to_string_lossy().into_owned());
    match arguments.next() {
        Some(name) if Path::new(&name).ends_with(modprobe::NAME) => modprobe::run(arguments),
        _ => command::run(),
    }
}
