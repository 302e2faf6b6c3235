//! Where deltas do not work with a build of QEMU, its own migration takes their place.

use std::{fs, path::PathBuf};

use serde_json::{Value, json};
use tests::Host;

/// What the self-test found when the data folder was made, for each build of QEMU that this machine has had.
fn proofs(host: &Host) -> Vec<PathBuf> {
    let files = fs::read_dir(host.data().join("selftest")).unwrap();
    files.map(|file| file.unwrap().path()).collect()
}

fn found(host: &Host, method: &str, why: &str) {
    for proof in proofs(host) {
        let mut found: Value = serde_json::from_slice(&fs::read(&proof).unwrap()).unwrap();
        found["method"] = json!(method);
        found["why"] = json!(why);
        fs::write(proof, found.to_string()).unwrap();
    }
}

fn method(host: &Host, id: &str) -> Value {
    let manifest = host.data().join("sessions").join(id).join("snapshot/manifest.json");
    serde_json::from_slice::<Value>(&fs::read(manifest).unwrap()).unwrap()["method"].take()
}

#[test]
fn a_session_goes_on_by_full_migration_too() {
    let host = Host::start();
    assert!(!proofs(&host).is_empty(), "the self-test has run");
    for proof in proofs(&host) {
        let kept: Value = serde_json::from_slice(&fs::read(proof).unwrap()).unwrap();
        assert_eq!(kept["method"], "delta", "{kept}");
    }
    found(&host, "full", "it was broken by hand");
    let show = host.cli(["host", "show", "--json"]).json();
    assert!(show["problems"][0].as_str().unwrap().contains("broken by hand"), "{show}");

    let id = host.session("whole", &["sh", "-c", "exec 3>>/root/open; echo one >&3; exec sleep 1000000"]);
    let read = |script: &str| host.exec(&id, &["sh", "-c", script]).text();
    let boot = read("echo in memory > /dev/shm/secret; cat /proc/sys/kernel/random/boot_id");
    // Twice by it, and then by delta what came back by it.
    for (written, next) in [("full", "full"), ("full", "delta"), ("delta", "delta")] {
        let _ = host.cli(["suspend", &id]).text();
        assert_eq!(method(&host, &id), written);
        host.wait_for_no_vm();
        // For the VM that is started now.
        found(&host, next, "");
        let _ = host.cli(["resume", &id]).text();
        assert_eq!(read("cat /dev/shm/secret"), "in memory");
        assert_eq!(read("cat /proc/sys/kernel/random/boot_id"), boot);
    }
}

/// A byte of the stream is flipped: it is not even tried.
#[test]
fn a_damaged_stream_is_refused() {
    let host = Host::start();
    found(&host, "full", "it was broken by hand");
    let id = host.session("damaged", &["sleep", "1000000"]);
    let _ = host.cli(["suspend", &id]).text();
    let devices = host.data().join("sessions").join(&id).join("snapshot/devices");
    let mut bytes = fs::read(&devices).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&devices, bytes).unwrap();
    host.cli(["resume", &id]).assert_failed(4, &["devices is damaged"]);
    host.wait_for_no_vm();
}

/// After QEMU's own migration its disks are at rest, and still a fork gets the layers from under a VM that runs on.
#[test]
fn a_running_session_forks_by_it() {
    let host = Host::start();
    found(&host, "full", "it was broken by hand");
    let id = host.session("original", &["sleep", "1000000"]);
    let read = |id: &str, script: &str| host.exec(id, &["sh", "-c", script]).text();
    read(&id, "echo both > /root/both; echo in memory > /dev/shm/secret");
    let fork = host.cli(["fork", &id]).text();
    host.wait_for(&fork, "lifecycle", "running");
    for session in [&id, &fork] {
        // A reboot would have lost the second.
        assert_eq!(read(session, "cat /root/both /dev/shm/secret; echo own >> /root/both; sync"), "both\nin memory");
    }
}
