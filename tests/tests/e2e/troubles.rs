//! What goes wrong inside a guest is told outside, and harms no other session.

use std::{
    fs,
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use tests::{Host, paths, until, wait::SOON};

/// An agent that asks for more connections to a port of its host than its guest has at a time, and keeps them.
const GREEDY: &str = r#"
use Socket; my @all;
for (1..300) {
    my $s;
    socket($s, AF_INET, SOCK_STREAM, 0) && connect($s, pack_sockaddr_in(3128, inet_aton("127.0.0.1"))) or die "$_: $!";
    syswrite $s, "CONNECT host.pilothouse.internal:PORT HTTP/1.1\r\nHost: host.pilothouse.internal:PORT\r\n\r\n";
    push @all, $s;
}
`session status working "all are asked for"`; sleep 1000000;
"#;
/// Files that hostd may have open.
const FILES: u32 = 120;

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

/// One that listens on the host's loopback and keeps whoever comes, and how many came.
fn listener() -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    // It ends with the process.
    thread::spawn(move || {
        let mut kept = vec![];
        for connection in listener.incoming() {
            kept.extend(connection);
            counted.store(kept.len(), Ordering::Relaxed);
        }
    });
    (port, count)
}

#[test]
fn a_guest_with_many_connections_leaves_descriptors_for_other_sessions() {
    let host = Host::start_with_files(FILES);
    let (port, came) = listener();
    let tools = fs::read_to_string(paths::root().join("tests/environments/tools.toml")).unwrap();
    let recipe = host.data().join("tools.toml");
    let egress = format!("name = \"tools\"\negress = [\"host.pilothouse.internal:{port}\"]");
    fs::write(&recipe, tools.replace("name = \"tools\"", &egress)).unwrap();
    let _ = host.cli(["env", "build", recipe.to_str().unwrap()]).text();
    let other = host.session("other", &[]);
    let _ = host.cli(["suspend", &other]).text();
    host.wait_for(&other, "lifecycle", "suspended");

    let before = host.open_files();
    let greedy = host.session("greedy", &["perl", "-e", &GREEDY.replace("PORT", &port.to_string())]);
    until("all connections to be asked for", SOON, || {
        let reason = host.show(&greedy)["reason"].as_str().unwrap().to_owned();
        assert!(!reason.starts_with("failed"), "{reason}");
        reason.contains("all are asked for").then_some(())
    });
    until("those that it may have", SOON, || (came.load(Ordering::Relaxed) >= 10).then_some(()));
    let _ = host.cli(["resume", &other]).text();
    host.wait_for(&other, "lifecycle", "running");
    let new = host.session("new", &[]);
    assert_eq!(host.exec(&new, &["echo", "works"]).text(), "works");
    assert!(host.open_files() < before + 60, "{} files are open, {before} were", host.open_files());
    assert!(came.load(Ordering::Relaxed) < 40, "{came:?} connections at once");
}
