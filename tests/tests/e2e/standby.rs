//! A VM without a guest stands by for an environment's suspended sessions, and a resume takes it.

use std::{fs, path::PathBuf};

use rustix::process::Signal;
use serde_json::Value;
use tests::{
    Host,
    process::Process,
    until,
    wait::{BOOT, SOON},
};

/// Counts in memory alone.
const COUNTER: &str = "n=0; while :; do n=$((n+1)); echo tick $n; sleep 0.2; done";

/// The process of the VM of this folder.
fn pid(folder: &str, host: &Host) -> Option<i64> {
    let record: Value = serde_json::from_slice(&fs::read(host.data().join(folder).join("vm.json")).ok()?).ok()?;
    record["process"]["pid"].as_i64()
}

fn standing_by(host: &Host) -> Vec<PathBuf> {
    let folders = fs::read_dir(host.data().join("standby")).into_iter().flatten().flatten();
    folders.map(|folder| folder.path()).collect()
}

/// Waits for the one that stands by; its process.
fn one(host: &Host) -> i64 {
    until("a VM to stand by", BOOT, || {
        let folders = standing_by(host);
        let [folder] = &folders[..] else { return None };
        let pid = pid(folder.to_str()?, host)?;
        // Its record is written before it has answered.
        fs::read_to_string(host.log()).ok()?.contains(&format!("pid={pid}")).then_some(pid)
    })
}

/// An environment that may keep something warm.
fn start() -> Host {
    let host = Host::start();
    let recipe = fs::read_to_string(tests::paths::root().join("tests/environments/tools.toml")).unwrap();
    let file = host.data().join("ready.toml");
    fs::write(&file, recipe.replace("name = \"tools\"", "name = \"ready\"\nwarm = { min = 0, max = 1 }")).unwrap();
    let _ = host.cli(["env", "build", file.to_str().unwrap()]).text();
    host
}

fn session(host: &Host, title: &str) -> String {
    let id = host.cli(["new", "--env", "ready", "--title", title, "--", "sh", "-c", COUNTER]).text();
    host.wait_for(&id, "lifecycle", "running");
    id
}

#[test]
fn a_resume_takes_the_vm_that_stands_by() {
    let mut host = start();
    let id = session(&host, "goes on");
    let run = |host: &Host, script: &str| host.exec(&id, &["sh", "-c", script]).text();
    let boot = run(&host, "cat /proc/sys/kernel/random/boot_id");
    assert!(standing_by(&host).is_empty(), "nothing is suspended");
    for cycle in 1..=4 {
        run(&host, &format!("echo {cycle} >>/root/cycles"));
        let _ = host.cli(["suspend", &id]).text();
        let ready = one(&host);
        let _ = host.cli(["resume", &id]).text();
        assert_eq!(pid(&format!("sessions/{id}"), &host), Some(ready), "another process was started");
        // Its disk is like any other: a running fork pivots it.
        if cycle == 2 {
            let fork = host.cli(["fork", &id]).text();
            host.wait_for(&fork, "lifecycle", "running");
            assert_eq!(host.exec(&fork, &["cat", "/root/cycles"]).text(), "1\n2");
            let _ = host.cli(["rm", "--yes", &fork]).text();
        }
    }
    assert_eq!(run(&host, "cat /proc/sys/kernel/random/boot_id"), boot, "it was not booted");
    run(&host, "echo 3 >/proc/sys/vm/drop_caches");
    assert_eq!(run(&host, "cat /root/cycles"), "1\n2\n3\n4");
    let log = host.cli(["log", &id]).text();
    let ticks: Vec<u32> = log.lines().filter_map(|line| line.trim().strip_prefix("tick ")?.parse().ok()).collect();
    assert!(ticks.is_sorted() && ticks.windows(2).all(|pair| pair[1] == pair[0] + 1), "{ticks:?}");
    until("none to stand by for nobody", SOON, || standing_by(&host).is_empty().then_some(()));

    let _ = host.cli(["suspend", &id]).text();
    let _ = one(&host);
    host.stop();
    assert!(host.vms().is_empty() && standing_by(&host).is_empty(), "hostd leaves nothing");
}

#[test]
fn one_that_was_killed_or_left_behind_harms_nobody() {
    let mut host = start();
    let id = session(&host, "unharmed");
    let _ = host.cli(["suspend", &id]).text();
    let process = Process::of(one(&host).try_into().unwrap()).unwrap();
    process.signal(Signal::KILL);
    let _ = host.cli(["resume", &id]).text();
    assert_eq!(host.exec(&id, &["echo", "here"]).text(), "here");

    let _ = host.cli(["suspend", &id]).text();
    let left = Process::of(one(&host).try_into().unwrap()).unwrap();
    host.kill();
    assert!(left.runs());
    host.launch();
    until("what the last hostd left to be ended", SOON, || (!left.runs()).then_some(()));
    let _ = one(&host);
    let _ = host.cli(["rm", "--yes", &id]).text();
    host.wait_for_no_vm();
    until("its folder to be gone", SOON, || standing_by(&host).is_empty().then_some(()));
}
