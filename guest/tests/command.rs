//! The `session` command against a supervisor's socket.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::{
    io::Write as _,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use guest::{events::Events, statuses};
use pilothouse_proto::guest::v1::{Status, event::Event};

fn session(socket: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pilothouse-guest"));
    command.arg("status").args(arguments).env("PILOTHOUSE_SOCKET", socket).output().unwrap()
}

fn listen(folder: &tempfile::TempDir) -> (PathBuf, Events) {
    let (socket, events) = (folder.path().join("run/session.sock"), Events::default());
    let (path, sink) = (socket.clone(), events.clone());
    tokio::spawn(async move { statuses::run(&path, sink).await });
    (socket, events)
}

async fn in_background<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

#[tokio::test]
async fn statuses_become_events() {
    let folder = tempfile::tempdir().unwrap();
    let (socket, events) = listen(&folder);
    support::eventually("the socket is there", || socket.exists()).await;
    for (arguments, activity, text, choices) in [
        (vec!["working", "on it"], "working", "on it", vec![]),
        (vec!["needs-input", "Which?", "--choice", "a b", "--choice", "ü"], "needs-input", "Which?", vec!["a b", "ü"]),
        (vec!["done"], "done", "", vec![]),
    ] {
        let socket = socket.clone();
        let output = in_background(move || session(&socket, &arguments)).await;
        assert_eq!((output.status.code(), &output.stdout[..], &output.stderr[..]), (Some(0), &b""[..], &b""[..]));
        let event = events.next(0).unwrap();
        events.acknowledge(event.sequence);
        let choices = choices.into_iter().map(Into::into).collect();
        assert_eq!(event.event, Some(Event::Status(Status { activity: activity.into(), text: text.into(), choices })));
    }
    assert_eq!(events.next(0), None);
}

#[tokio::test]
async fn refuses_nonsense() {
    let folder = tempfile::tempdir().unwrap();
    let (socket, events) = listen(&folder);
    support::eventually("the socket is there", || socket.exists()).await;
    let long = "x".repeat(5000);
    for (arguments, code, says) in [
        (vec!["sleeping".to_string()], 2, "invalid value 'sleeping'"),
        (vec![], 2, "Usage"),
        (vec!["working".into(), long], 2, "at most 4096"),
        (vec!["working".into(), "--choice=a".into()], 2, "needs-input"),
        (vec!["needs-input".into(), "--choice=".into()], 2, "1 to 256 bytes"),
    ] {
        let socket = socket.clone();
        let output =
            in_background(move || session(&socket, &arguments.iter().map(String::as_str).collect::<Vec<_>>())).await;
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(code) && error.contains(says), "{error}");
    }
    // What comes to the socket itself is foreign.
    for line in ["", "{}", "\0", "{\"status\":{\"activity\":\"working\",\"text\":7}}", &"[".repeat(100_000)] {
        let (socket, line) = (socket.clone(), line.to_string());
        in_background(move || {
            let mut stream = UnixStream::connect(socket).unwrap();
            let _ = stream.write_all(line.as_bytes());
            let _ = stream.shutdown(std::net::Shutdown::Write);
        })
        .await;
    }
    let again = socket.clone();
    assert_eq!(in_background(move || session(&again, &["idle"])).await.status.code(), Some(0));
    assert_eq!(events.next(0).unwrap().sequence, 1);
}

#[test]
fn says_where_it_works() {
    let output = session(Path::new("/no/such/socket"), &["idle"]);
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && error.contains("inside a Pilothouse session only"), "{error}");
}

#[test]
fn help_has_examples() {
    let output = Command::new(env!("CARGO_BIN_EXE_pilothouse-guest")).arg("--help").output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && help.contains("session status needs-input \"Which database?\""), "{help}");
}
