//! `pilothouse`: the console and its command line; see `pilothouse --help`.

mod cli;
mod client;
mod console;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
