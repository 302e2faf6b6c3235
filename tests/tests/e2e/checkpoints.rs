//! A session goes back to its checkpoint: memory, processes and disk as they were, whatever ended it since.

use rustix::process::Signal;
use tests::{Host, until, wait::SOON};

/// Counts in memory alone, and shows nothing.
const COUNTS: &str = "i=0; while :; do i=$((i+1)); echo $i >/run/count; sleep 0.1; done";

fn shell(host: &Host, id: &str, script: &str) -> String {
    host.exec(id, &["sh", "-c", script]).text()
}

fn count(host: &Host, id: &str) -> u64 {
    // It may be written at this moment.
    until("its count", SOON, || shell(host, id, "cat /run/count 2>/dev/null; true").parse().ok())
}

/// How long the VM stood still, in milliseconds.
fn taken(host: &Host, id: &str) -> u64 {
    let known = host.cli(["checkpoint", id, "--json"]).json();
    assert!(known["bytes"].as_u64().unwrap() > 0 && known["automatic"] == false, "{known}");
    known["stood_ms"].as_u64().unwrap()
}

#[test]
fn what_a_crash_takes_is_what_came_after_the_last_one() {
    let mut host = Host::start();
    let id = host.session("kept", &["sh", "-c", COUNTS]);
    shell(&host, &id, "echo first >/root/file; echo first >/run/file; sync");
    let before = count(&host, &id);
    let mut stood = vec![taken(&host, &id)];
    let at_first = count(&host, &id);
    // It runs on, and gives what it writes now to the next one.
    shell(&host, &id, "echo second >/root/file; echo second >/run/file; sync");
    stood.extend((0..3).map(|_| taken(&host, &id)));
    println!("a VM stood still for {stood:?} ms");
    shell(&host, &id, "echo lost >/root/file; rm /run/file; sync");
    let lost = count(&host, &id) + 20;
    until("it to count on", SOON, || (count(&host, &id) > lost).then_some(()));

    host.vms().iter().for_each(|vm| vm.signal(Signal::KILL));
    host.wait_for(&id, "lifecycle", "crashed");
    assert!(host.cli(["show", &id]).text().contains("checkpoints"), "a crash offers them");
    host.cli(["restart", &id, "--from", "last"]).assert_failed(2, &["gives up what"]);
    let _ = host.cli(["restart", &id, "--from", "last", "--yes"]).text();
    host.wait_for(&id, "lifecycle", "running");
    let back = count(&host, &id);
    assert!((at_first..lost).contains(&back), "it was not brought back, or not to then: {at_first}, {back}, {lost}");
    assert_eq!(shell(&host, &id, "cat /root/file /run/file"), "second\nsecond");
    let drop_caches = "echo 3 >/proc/sys/vm/drop_caches; cat /root/file; git -C /work/widgets fsck 2>&1";
    assert_eq!(shell(&host, &id, drop_caches), "second");

    // The first has gone, for three are kept; the second goes back further, while the session runs, and a fork has it, too.
    let known = host.cli(["checkpoint", "ls", &id, "--json"]).json();
    let numbers: Vec<_> = known.as_array().unwrap().iter().map(|known| known["number"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [4, 3, 2]);
    let fork = host.cli(["fork", &id, "--from", "2"]).text();
    host.wait_for(&fork, "lifecycle", "running");
    assert_eq!(shell(&host, &fork, "cat /root/file /run/file"), "second\nsecond");
    assert!(count(&host, &fork) >= before);
    // Also where hostd was killed since, and what it was forked from is gone.
    host.kill();
    host.launch();
    let _ = host.cli(["restart", &id, "--from", "2", "--yes"]).text();
    host.wait_for(&id, "lifecycle", "running");
    assert_eq!(shell(&host, &id, "cat /root/file /run/file"), "second\nsecond");
    let _ = host.cli(["rm", "--yes", &id]).text();
    assert!(!host.data().join("sessions").join(&id).exists());
    assert_eq!(shell(&host, &fork, "echo 3 >/proc/sys/vm/drop_caches; cat /root/file"), "second");
}
