//! What these tests stand on.

use std::process::{Command, Stdio};

use rustix::process::Signal;
use tests::{Console, process::Process, wait::SOON};

#[test]
fn what_is_typed_is_seen() {
    let mut console = Console::start(&Command::new("cat"), 40, 5);
    console.send("hello\r");
    console.wait_until("an echo and cat's answer", SOON, |screen| screen.contents().starts_with("hello\nhello"));
    console.send("\x04");
    assert_eq!(console.wait_for_end(SOON), 0);
}

#[test]
fn a_process_is_known_until_it_ends() {
    let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
    let process = Process::of(child.id().try_into().unwrap()).unwrap();
    assert!(process.runs());
    process.signal(Signal::KILL);
    child.wait().unwrap();
    assert!(!process.runs());
}
