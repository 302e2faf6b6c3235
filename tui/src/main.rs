//! `pilothouse`: the console and its command line; see `pilothouse --help`.

mod actor;
mod cli;
mod client;
mod console;
mod foreign;
mod usage;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
