//! What these tests stand on.

use std::{
    cell::RefCell,
    collections::BTreeSet,
    fs,
    process::{Command, Stdio},
};

use rustix::process::Signal;
use tests::{Console, paths, process::Process, wait::SOON};

#[test]
fn what_is_typed_is_seen() {
    let mut console = Console::start(&Command::new("cat"), 40, 5);
    console.send("hello\r");
    console.wait_until("an echo and cat's answer", SOON, |screen| screen.contents().starts_with("hello\nhello"));
    console.send("\x04");
    assert_eq!(console.wait_for_end(SOON), 0);
}

/// What the scripts show while something takes its time: a line that moves, and is gone with it.
#[test]
fn what_takes_its_time_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let script = r#"source "$1/tests/common.sh"; cd "$2"; \
        during "making it" sh -c 'echo a step; until [ -e go ]; do sleep 0.1; done'; echo made; \
        during "breaking it" sh -c 'echo it broke; exit 3' || echo "code $?"; cat"#;
    let mut command = Command::new("bash");
    command.args(["-euc", script, "bash"]).arg(paths::root()).arg(folder.path());
    let mut console = Console::start(&command, 80, 8);
    let seen = RefCell::new(BTreeSet::new());
    console.wait_until("a line that moves", SOON, |screen| {
        let line = screen.contents().lines().next().unwrap_or_default().to_owned();
        if line.contains("making it, ") && line.contains(" s  a step") {
            seen.borrow_mut().insert(line);
        }
        // Its mark, and then its seconds too.
        seen.borrow().iter().map(|line| line.split("it, ").nth(1)).collect::<BTreeSet<_>>().len() > 1
    });
    fs::write(folder.path().join("go"), "").unwrap();
    console.wait_until("its end", SOON, |screen| {
        // Where it took ten seconds that is said, too.
        let said = screen.contents();
        said.lines().filter(|line| !line.contains(" took ")).collect::<Vec<_>>().join("\n").trim_end()
            == "made\nit broke\ncode 3"
    });
    console.send("\x04");
    assert_eq!(console.wait_for_end(SOON), 0);
}

/// A script that cleans up ignores what would end it, and so does what it starts then.
#[test]
fn what_takes_its_time_also_ends_where_signals_are_ignored() {
    let script = r#"source "$1/tests/common.sh"; trap '' INT TERM; during "ending it" sleep 1.5; echo ended; cat"#;
    let mut command = Command::new("bash");
    command.args(["-euc", script, "bash"]).arg(paths::root());
    let mut console = Console::start(&command, 80, 8);
    console.wait_until("its end", SOON, |screen| screen.contents().trim_end() == "ended");
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
