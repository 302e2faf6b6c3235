//! A session's disk over many suspends: never a long chain, never another content, and what is deleted is given back.

use std::{fs, os::unix::fs::MetadataExt as _};

use tests::{
    Host, until,
    wait::{SOON, unless_late},
};

const MIB: u64 = 1 << 20;

/// The layers that its VM runs on, as QEMU was told when it started, and as it has them now.
fn chain(host: &Host, id: &str) -> (usize, usize) {
    let record = fs::read_to_string(host.data().join("sessions").join(id).join("vm.json")).unwrap();
    let record: serde_json::Value = serde_json::from_str(&record).unwrap();
    let told = record["argv"].as_array().unwrap().iter().filter(|word| *word == "-blockdev").count();
    (told, record["machine"]["nodes"]["frozen"].as_array().unwrap().len() + 1)
}

/// What its own layers take on disk.
fn own_bytes(host: &Host, id: &str) -> u64 {
    let files = fs::read_dir(host.data().join("sessions").join(id)).unwrap().flatten();
    let layers = files.filter(|file| file.path().extension().is_some_and(|extension| extension == "qcow2"));
    layers.filter_map(|file| file.metadata().ok()).map(|metadata| metadata.blocks() * 512).sum()
}

/// Whether a deleted file's room is given back within some seconds after a suspend.
fn is_given_back(host: &Host, id: &str) -> bool {
    unless_late(SOON / 3, || (own_bytes(host, id) < 40 * MIB).then_some(())).is_some()
}

#[test]
fn a_chain_stays_short_and_gives_back_what_is_deleted() {
    let host = Host::start();
    let id = host.session("layers", &["sleep", "1000000"]);
    let run = |script: &str| host.exec(&id, &["sh", "-c", script]).text();
    run("head -c 64M /dev/urandom >/root/big; head -c 8M /dev/urandom >/root/kept; sync");
    let (big, kept) = (run("md5sum </root/big"), run("md5sum </root/kept"));
    let mut given_back = false;
    for cycle in 1..=8 {
        // Parts of the file below, over again.
        run(&format!("echo {cycle} >>/root/cycles; dd if=/dev/urandom of=/root/part{cycle} bs=100k count=3 2>&1"));
        if cycle == 5 {
            assert_eq!(run("md5sum </root/big"), big);
            run("rm /root/big");
        }
        let _ = host.cli(["suspend", &id]).text();
        if cycle == 5 {
            given_back = is_given_back(&host, &id);
        }
        if cycle == 6 && !given_back {
            // Where the guest's file system frees it just after it was trimmed, the next suspend gives it back.
            assert!(is_given_back(&host, &id), "the deleted file's room is not given back");
        }
        let _ = host.cli(["resume", &id]).text();
        // Base, build, its own and the one that it writes to; where it came back before the last was merged, that too.
        assert!(chain(&host, &id).0 <= 5, "{:?} layers after {cycle} suspends", chain(&host, &id));
    }
    // Read from the disk, not from memory.
    run("echo 3 >/proc/sys/vm/drop_caches");
    assert_eq!(run("md5sum </root/kept"), kept);
    assert_eq!(run("cat /root/cycles"), "1\n2\n3\n4\n5\n6\n7\n8");
    until("its QEMU to hold a short chain", SOON, || (chain(&host, &id).1 == 4).then_some(()));
    // A crash goes back to the disk.
    let _ = run("sync");
    for vm in host.vms() {
        vm.signal(rustix::process::Signal::KILL);
    }
    host.wait_for(&id, "lifecycle", "crashed");
    let _ = host.cli(["restart", &id]).text();
    host.wait_for(&id, "lifecycle", "running");
    assert_eq!(run("md5sum </root/kept; wc -l </root/cycles"), format!("{kept}\n8"));
}
