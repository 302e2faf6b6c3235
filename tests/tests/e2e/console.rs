//! The console on a real terminal.

use tests::{
    Console, Host,
    console::keys,
    wait::{BOOT, SOON},
};

/// Rows of an attached terminal: one of the window's is the console's own.
fn asks_its_size(console: &mut Console, columns: u16, rows: u16) {
    console.send("stty size\r");
    console.wait_for(&format!("{} {columns}", rows - 1), SOON);
}

/// From an empty host to a session created, watched, spoken to, attached and deleted, by keys alone.
#[test]
fn a_session_from_birth_to_deletion() {
    let host = Host::start();
    let mut console = Console::start(&host.pilothouse(), 120, 36);
    console.wait_for("Sessions 0", SOON);

    // The form: the environment that is ready is chosen already.
    console.send("n");
    console.wait_for("◂ tools ▸", SOON);
    console.send("\tfirst steps\t");
    console.send("Look around");
    console.wait_for("Look around", SOON);
    console.send(keys::SAVE);
    console.wait_for("Sessions 1", BOOT);
    console.wait_for("first steps", SOON);
    console.wait_for("bash-", BOOT);
    assert_eq!(host.ls()[0]["task"], "Look around");

    console.send("m");
    console.send("echo heard $((6 * 7))\r");
    console.wait_for("heard 42", SOON);

    console.send(keys::ENTER);
    console.wait_for("writing", SOON);
    console.send("echo typed $((6 * 9))\r");
    console.wait_for("typed 54", SOON);
    asks_its_size(&mut console, 120, 36);
    console.resize(90, 30);
    asks_its_size(&mut console, 90, 30);

    // What went off the screen is looked at, and left again.
    console.send("clear; seq 1000 1200; echo the end of $((1 + 1)) hundred\r");
    console.wait_for("the end of 2 hundred", SOON);
    console.wait_for_no("1001", SOON);
    console.send(keys::PREFIX);
    console.send("[g");
    console.wait_for_no("the end of 2 hundred", SOON);
    // `clear` forgets what was before it.
    console.wait_for("1001", SOON);
    console.send("G");
    console.wait_for("the end of 2 hundred", SOON);
    console.send(keys::PREFIX);
    console.send("d");
    console.wait_for("Sessions 1", SOON);

    console.send("d");
    console.wait_for("yes, do it", SOON);
    console.send("n");
    console.wait_for_no("yes, do it", SOON);
    assert_eq!(host.ls().len(), 1);
    console.send("d");
    console.send("y");
    console.wait_for_no("first steps", BOOT);
    tests::until("it to be gone", SOON, || host.ls().is_empty().then_some(()));
    console.send("q");
    assert_eq!(console.wait_for_end(SOON), 0);
    assert!(!console.alternate(), "the terminal was not given back");
}

/// A key and a change of the window in the same moment: the key does not wait for the next one.
#[test]
fn keys_typed_while_the_window_changes_are_taken() {
    let host = Host::start();
    let mut console = Console::start(&host.pilothouse(), 120, 36);
    console.wait_for("Sessions 0", SOON);
    console.send("n\t");
    let mut title = String::new();
    for (step, letter) in ('a'..='z').cycle().take(60).enumerate() {
        title.push(letter);
        console.resize(if step % 2 == 0 { 118 } else { 120 }, 36);
        console.send(&letter.to_string());
        console.wait_for(&title, SOON);
    }
}
