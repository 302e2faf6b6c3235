//! `hostd`: see `hostd --help`.

fn main() {}
