//! What git looks for on PATH where a remote is `pilothouse::[HOST/]NAME`: hands over to the `pilothouse` beside it.

use std::{
    os::unix::process::CommandExt as _,
    process::{Command, ExitCode},
};

fn main() -> ExitCode {
    let beside = std::env::current_exe().map(|own| own.with_file_name("pilothouse"));
    let error = match beside {
        Ok(pilothouse) => Command::new(pilothouse).arg("git-remote").args(std::env::args_os().skip(1)).exec(),
        Err(error) => error,
    };
    eprintln!("git-remote-pilothouse: the program `pilothouse` beside it does not run: {error}");
    ExitCode::FAILURE
}
