//! Each way in which a VM or its agent comes to an end has its own cause.

use std::{fs, time::Instant};

use rustix::process::Signal;
use serde_json::Value;
use tests::{Host, process::Process, until, wait::SOON};

/// The QEMU of a session, by its record.
fn qemu(host: &Host, id: &str) -> Process {
    let record = fs::read(host.sessions().join(id).join("vm.json")).unwrap();
    let record: Value = serde_json::from_slice(&record).unwrap();
    Process::of(record["process"]["pid"].as_i64().unwrap().try_into().unwrap()).unwrap()
}

/// The session once it has this cause, and in how many seconds it had.
fn ended(host: &Host, id: &str, word: &str) -> (Value, f64) {
    let began = Instant::now();
    let shown = until(word, SOON, || {
        let shown = host.show(id);
        (shown["cause_word"] == word).then_some(shown)
    });
    (shown, began.elapsed().as_secs_f64())
}

fn told(shown: &Value, words: &str) {
    assert!(shown["reason"].as_str().unwrap().contains(words), "{words}: {shown}");
}

#[test]
fn each_end_has_its_own_cause() {
    let host = Host::start();
    // Those of agents, whose VMs run on or do not come up.
    let missing = host.dispatch("missing", &["/opt/no/such-agent"]);
    let no_program = host.dispatch("no-program", &["/etc/passwd"]);
    let segfault = host.dispatch("segfault", &["sh", "-c", "echo its last words; kill -SEGV $$"]);
    let hungry = host.dispatch("hungry", &["perl", "-e", "push @all, 'x' x 1048576 while 1"]);
    for (id, word, words) in [
        (&missing, "agent-not-found", "the agent `/opt/no/such-agent` was not found in its environment"),
        (&no_program, "agent-not-executable", "the agent `/etc/passwd` may not be executed in its environment"),
        (&segfault, "agent-killed", "the agent was killed by signal 11"),
        (&hungry, "agent-out-of-memory", "out of memory: the guest's kernel killed `perl`"),
    ] {
        told(&ended(&host, id, word).0, words);
    }
    for id in [&missing, &no_program, &segfault, &hungry] {
        let _ = host.cli(["rm", "--yes", id]).text();
    }

    // Those of VMs.
    let panics = host.session("panics", &["sh", "-c", "echo before the end; sleep 1000000"]);
    let _ = host.exec(&panics, &["sh", "-c", "echo c >/proc/sysrq-trigger"]);
    let (shown, seconds) = ended(&host, &panics, "guest-panic");
    told(&shown, "the guest's kernel panicked: sysrq triggered crash");
    let lines = shown["cause_lines"].as_array().unwrap();
    assert!(lines.len() > 2 && lines.iter().any(|line| line.as_str().unwrap().contains("Comm: ")), "{shown}");
    eprintln!("a panic was known after {seconds:.1} s");

    for (signal, word, words) in [
        (Signal::KILL, "qemu-killed", "its QEMU was killed by signal 9 (SIGKILL), sent by somebody on the host"),
        (Signal::TERM, "qemu-killed", "its QEMU was killed by signal 15 (SIGTERM), sent by pid "),
        (Signal::ABORT, "qemu-aborted", "its QEMU failed, and was ended by signal 6 (SIGABRT)"),
    ] {
        let _ = host.cli(["restart", &panics]).text();
        host.wait_for(&panics, "lifecycle", "running");
        qemu(&host, &panics).signal(signal);
        let (shown, seconds) = ended(&host, &panics, word);
        told(&shown, words);
        eprintln!("{signal:?} to QEMU was known after {seconds:.1} s");
    }

    let listed = host.cli(["triage"]).text();
    assert!(listed.contains("qemu-aborted"), "{listed}");
    let all: Value = serde_json::from_str(&host.cli(["triage", &panics, "--json"]).text()).unwrap();
    let triage = &all[0];
    assert!(triage["terminal"].as_array().unwrap().iter().any(|row| row == "before the end"), "{triage}");
    let words: Vec<_> = triage["choices"].as_array().unwrap().iter().map(|choice| choice["word"].clone()).collect();
    assert_eq!(words, ["bundle", "rescue", "restart", "delete"]);
    let story = host.cli(["events", &panics]).text();
    assert_eq!(story.matches("  crashed  ").count(), 4, "{story}");
}
