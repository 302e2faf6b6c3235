//! The console on a real terminal.

use tests::{
    Console, Host,
    console::keys,
    wait::{BOOT, SOON},
};

/// From an empty host to a session created, watched, spoken to, attached and deleted, by keys alone.
#[test]
fn a_session_from_birth_to_deletion() {
    let host = Host::start();
    let _ = host.session("watcher", &["sh", "-c", "echo look here; while read -r line; do echo \"heard $line\"; done"]);
    let mut console = Console::start(&host.pilothouse(), 120, 36);
    console.wait_for("watcher", SOON);
    console.wait_for("look here", SOON);

    console.send("m");
    console.send("good day\r");
    console.wait_for("heard good day", SOON);

    console.send(keys::ENTER);
    console.wait_for("writing", SOON);
    console.send("from the keyboard\r");
    console.wait_for("heard from the keyboard", SOON);
    console.send(keys::PREFIX);
    console.send("d");

    console.send("d");
    console.send("n");
    assert_eq!(host.ls().len(), 1);
    console.send("d");
    console.send("y");
    console.wait_for_no("watcher", BOOT);
    tests::until("it to be gone", SOON, || host.ls().is_empty().then_some(()));
    console.send("q");
    assert_eq!(console.wait_for_end(SOON), 0);
    assert!(!console.alternate(), "the terminal was not given back");
}
