//! `pilothouse`: the console and its command line; see `pilothouse --help`.

mod client;

fn main() {}
