//! The start of QEMU alone: what no resume can be faster than.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

/// Starts a QEMU with the arguments of one that was started for a clone, until it has answered its first command. Only
/// its sockets are others: the control socket is its standard input and output.
pub(crate) fn measure(argv: &[String]) -> Duration {
    let folder = tempfile::tempdir().unwrap();
    let arguments = argv[1..].iter().map(|word| match word.strip_prefix("socket,id=") {
        Some(rest) if rest.starts_with("qmp,") => "stdio,id=qmp,signal=off".to_owned(),
        Some(rest) => {
            let id = rest.split(',').next().unwrap();
            format!("socket,id={id},path={},server=on,wait=off", folder.path().join(id).display())
        }
        None => word.clone(),
    });
    let mut command = Command::new(&argv[0]);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
    let began = Instant::now();
    let mut qemu = command.spawn().unwrap();
    let mut input = qemu.stdin.take().unwrap();
    writeln!(input, r#"{{"execute": "qmp_capabilities"}}"#).unwrap();
    let mut lines = BufReader::new(qemu.stdout.take().unwrap()).lines().map(Result::unwrap);
    let answered = lines.by_ref().any(|line| line.contains(r#""return""#));
    let took = began.elapsed();
    assert!(answered, "QEMU did not answer");
    writeln!(input, r#"{{"execute": "quit"}}"#).unwrap();
    lines.for_each(drop);
    assert!(qemu.wait().unwrap().success());
    took
}
