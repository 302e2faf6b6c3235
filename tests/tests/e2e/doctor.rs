//! `hostd doctor`: the circle of snapshots with real VMs, and nothing left of it.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use hostd::{
    selftest::{self, Exam},
    vm::{qemu::Qemu, snapshot::store::Method},
};
use rustix::process::Signal;
use tests::{
    Host, paths,
    process::{Process, vms_in},
    run, until,
    wait::BOOT,
};
use tokio_util::sync::CancellationToken;

fn doctor(data: &Path) -> Command {
    let mut command = Command::new(paths::program("hostd"));
    command.args(["doctor", "--json", "--data"]).arg(data);
    command
}

fn assert_nothing_left(data: &Path) {
    assert!(vms_in(data).is_empty());
    let names = fs::read_dir(data).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let left: Vec<String> = names.filter(|name| name.starts_with("selftest-")).collect();
    assert!(left.is_empty(), "{left:?}");
}

/// Beside a hostd that runs, whose session is not disturbed.
#[test]
fn goes_round_the_circle_of_snapshots() {
    let host = Host::start();
    let id = host.session("beside", &[]);
    let outcome = run(&mut doctor(host.data()), &[]);
    let report = outcome.json();
    let checks = report["checks"].as_array().unwrap();
    let check = |name: &str| checks.iter().find(|check| check["name"] == name).unwrap();
    for (name, found) in [
        ("device state", "loaded without a guest"),
        ("processor state", "saved again: the processors are the same"),
        ("snapshots", "was cloned, suspended and resumed"),
    ] {
        assert_eq!(check(name)["status"], "ok", "{outcome}");
        assert!(check(name)["found"].as_str().unwrap().contains(found), "{outcome}");
    }
    assert_eq!(check("data folder")["facts"]["in_use"], true, "{outcome}");
    assert_eq!(check("jail")["facts"]["seccomp"], true, "{outcome}");
    assert_ne!(report["status"], "failed", "{outcome}");
    let steps = report["circle"]["steps"].as_array().unwrap();
    let names: Vec<&str> = steps.iter().map(|step| step["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["cold boot", "template", "clone", "suspend", "resume"]);
    assert!(steps.iter().all(|step| step["micros"].as_u64().unwrap() > 0), "{outcome}");
    assert!(steps[3]["bytes"].as_u64().unwrap() > 0, "{outcome}");
    for step in names {
        assert!(outcome.stderr.contains(&format!("self-test: {step}")), "{outcome}");
    }
    assert_eq!(host.vms().len(), 1);
    assert_eq!(host.exec(&id, &["echo", "here"]).text(), "here");
    let _ = host.cli(["rm", "--yes", &id]).text();
    assert_nothing_left(host.data());
}

/// Interrupted while its VM boots.
#[test]
fn leaves_nothing_when_interrupted() {
    let folder = paths::folder();
    tests::golden::give(folder.path());
    let child = doctor(folder.path()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let process = Process::of(child.id().try_into().unwrap()).unwrap();
    until("its VM", BOOT, || (!vms_in(folder.path()).is_empty()).then_some(()));
    process.signal(Signal::INT);
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("interrupted"), "{stderr}");
    assert_nothing_left(folder.path());
}

/// Without QEMU it says what to install, and fails.
#[test]
fn says_what_is_missing() {
    let folder = paths::folder();
    tests::golden::give(folder.path());
    let mut command = Command::new(paths::program("hostd"));
    let outcome = run(command.args(["doctor", "--data"]).arg(folder.path()).env("PATH", "/nonexistent"), &[]);
    assert_eq!(outcome.code, 1, "{outcome}");
    let text = String::from_utf8_lossy(&outcome.stdout).into_owned();
    for want in ["apt-get install qemu-system-x86", "apt-get install qemu-utils", "no VM was started"] {
        assert!(text.contains(want), "{want}: {outcome}");
    }
    assert_nothing_left(folder.path());
}

/// What hostd falls back to: template, clone, suspend and resume by QEMU's own migration.
#[tokio::test]
async fn goes_round_by_full_migration_too() {
    let folder = paths::folder();
    tests::golden::give(folder.path());
    let qemu = Qemu::new(folder.path(), paths::program("pilothouse-guest-static")).with_method(Method::Full);
    let circle = selftest::run(&qemu, folder.path(), &|_| (), &CancellationToken::new()).await.unwrap();
    let names: Vec<&str> = circle.steps.iter().map(|step| step.name).collect();
    assert_eq!(names, ["cold boot", "template", "clone", "suspend", "resume"]);
    // All of its memory, and not what differs from the template.
    assert!(circle.steps[3].bytes > Some(16 << 20), "{circle:?}");
    assert_nothing_left(folder.path());
}

/// What doctor asks of guests with several processors where KVM runs them, here emulated and with less patience.
#[tokio::test]
async fn a_guest_with_several_processors_notices_nothing() {
    let folder = paths::folder();
    tests::golden::give(folder.path());
    let qemu = Qemu::new(folder.path(), paths::program("pilothouse-guest-static"));
    for (vcpus, rounds) in [(2, 3), (4, 2)] {
        let exam = Exam { vcpus, pause: Duration::from_secs(3), rounds, timely: false };
        let found = selftest::examine(&qemu, folder.path(), exam, &|_| (), &CancellationToken::new()).await.unwrap();
        assert_eq!(found.problems, Vec::<String>::new(), "{found:?}");
        assert_eq!(found.turns.len(), vcpus as usize, "{found:?}");
        assert!(found.turns.iter().all(|&turns| turns > 0) && found.private_cold > 0, "{found:?}");
        println!("{found:?}");
        assert_nothing_left(folder.path());
    }
}
