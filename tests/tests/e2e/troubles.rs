//! What goes wrong inside a guest is told outside.

use tests::{Host, until, wait::SOON};

#[test]
fn a_guest_without_memory_or_disk_and_an_agent_that_is_killed_are_reasons() {
    let host = Host::start();
    let id = host.session("troubled", &["sh", "-c", "read go; echo out of ideas; kill -9 $$"]);
    let reason = || host.show(&id)["reason"].as_str().unwrap().to_owned();
    let shown = until("what its guest has to be known", SOON, || {
        let shown = host.show(&id);
        shown["guest_disk_free_bytes"].as_u64().is_some().then_some(shown)
    });
    let number = |name: &str| shown[name].as_u64().unwrap();
    assert!(number("guest_memory_available_bytes") < number("guest_memory_size_bytes"), "{shown}");
    assert!(number("guest_memory_size_bytes") <= number("memory_size_bytes"), "{shown}");
    assert!(number("guest_disk_free_bytes") < number("guest_disk_size_bytes"), "{shown}");
    assert!(number("host_disk_bytes") > 0, "{shown}");
    assert!(host.cli(["show", &id]).text().contains(" free of "), "{shown}");

    let eater = host.exec(&id, &["perl", "-e", "push @all, 'x' x 1048576 while 1"]);
    eater.assert_failed(137, &["killed by signal 9", "pilothouse show"]);
    let killed = "out of memory: the guest's kernel killed `perl`";
    until("the kill to be told", SOON, || reason().contains(killed).then_some(()));
    assert_eq!(host.show(&id)["attention"], "agent");

    // Taken, and never written: it costs the host nothing.
    let _ = host.exec(&id, &["sh", "-c", "fallocate -l $(df --output=avail -k / | tail -n 1)K /root/all"]).text();
    until("the full disk to be told", SOON, || {
        (host.show(&id)["attention"] == "you" && reason().starts_with("the guest's disk is full, ")).then_some(())
    });
    let _ = host.exec(&id, &["rm", "/root/all"]).text();
    until("its end to be told", SOON, || (!reason().contains("disk is full")).then_some(()));

    let _ = host.cli(["send", &id, "go"]).text();
    until("the agent's end to be told", SOON, || {
        reason().starts_with("failed: the agent was killed by signal 9: out of ideas").then_some(())
    });
}
