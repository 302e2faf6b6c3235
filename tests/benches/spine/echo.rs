//! A key's way through everything and back, and bulk through `exec`, against plain ssh.

use std::{process::Command, time::Instant};

use tests::{Console, Host, api::Attached, run, wait::SOON};
use tokio::runtime::Runtime;

use crate::{
    ssh::Ssh,
    table::{Samples, round_trip, sample, throughput},
};

/// Characters that no escape sequence has: what is typed is found again in what is drawn.
const KEYS: &[u8] = b"@#%&=+_^";
/// Gives each byte back as it comes.
const MIRROR: &str = "stty raw -echo; echo ready; exec cat";
const BULK: usize = 64 << 20;

/// Prints what a keystroke takes by API, by `pilothouse attach` and by ssh, and how fast bulk is.
pub(crate) fn measure(runtime: &Runtime, host: &Host) {
    let id = host.session("mirror", &["sh", "-c", MIRROR]);
    let ssh = Ssh::prepare(host, &id);
    let by_ssh = on_terminal(&ssh.command(&["-tt"], MIRROR));
    let by_api = runtime.block_on(by_api(host, &id));
    round_trip("keystroke echo, hostd.v1 Attach", &by_api, "ssh", &by_ssh);
    let mut attach = host.pilothouse();
    attach.args(["attach", &id]);
    let by_attach = on_terminal(&attach);
    round_trip("keystroke echo, pilothouse attach", &by_attach, "ssh", &by_ssh);

    let bytes = vec![7; BULK];
    let exec = |line: &str| {
        let mut command = host.pilothouse();
        command.args(["exec", &id, "--", "sh", "-c", line]);
        command
    };
    let (out, into) = (format!("head -c {BULK} /dev/zero"), "cat >/dev/null");
    let theirs = timed(&mut ssh.command(&[], &out), &[]);
    throughput("out of the guest, pilothouse exec", BULK, timed(&mut exec(&out), &[]), "ssh", theirs);
    let theirs = timed(&mut ssh.command(&[], into), &bytes);
    throughput("into the guest, pilothouse exec", BULK, timed(&mut exec(into), &bytes), "ssh", theirs);
}

fn on_terminal(command: &Command) -> Samples {
    let mut console = Console::start(command, 80, 24);
    console.wait_for("ready", SOON);
    sample(|number| {
        let key = KEYS[number % KEYS.len()];
        let drawn = console.drawn();
        console.send(std::str::from_utf8(&[key]).unwrap());
        console.wait_for_byte(drawn, key, SOON);
    })
}

async fn by_api(host: &Host, id: &str) -> Samples {
    let mut terminal = Attached::open(host, id, false).await;
    terminal.read_role(|role| role.writer).await;
    let mut times = Vec::new();
    for number in 0..crate::table::SAMPLES {
        let key = KEYS[number % KEYS.len()];
        terminal.output.clear();
        let began = Instant::now();
        terminal.send([key]).await;
        terminal.read_until(std::str::from_utf8(&[key]).unwrap()).await;
        times.push(began.elapsed());
    }
    Samples::new(times)
}

fn timed(command: &mut Command, stdin: &[u8]) -> std::time::Duration {
    let began = Instant::now();
    let outcome = run(command, stdin);
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    began.elapsed()
}
