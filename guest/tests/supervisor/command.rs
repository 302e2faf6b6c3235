//! The `session` command against a supervisor's socket.

use std::{
    io::Write as _,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use guest::{events::Events, session_socket, tunnel::Gateway, waits::Waits};
use pilothouse_proto::guest::v1::{Status, Wait, event::Event};

use crate::support::eventually;

fn command(socket: &Path, verb: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pilothouse-guest"));
    command.arg(verb).env("PILOTHOUSE_SOCKET", socket);
    command
}

fn session(socket: &Path, arguments: &[&str]) -> Output {
    command(socket, "status").args(arguments).output().unwrap()
}

fn listen(folder: &tempfile::TempDir) -> (PathBuf, Events) {
    let (socket, events, _) = listen_for_waits(folder);
    (socket, events)
}

fn listen_for_waits(folder: &tempfile::TempDir) -> (PathBuf, Events, Waits) {
    let (socket, events) = (folder.path().join("run/session.sock"), Events::default());
    let waits = Waits::new(events.clone());
    let (path, sink, begun) = (socket.clone(), events.clone(), waits.clone());
    tokio::spawn(async move { session_socket::run(&path, sink, begun, Gateway::default()).await });
    (socket, events, waits)
}

async fn in_background<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

#[tokio::test]
async fn statuses_become_events() {
    let folder = tempfile::tempdir().unwrap();
    let (socket, events) = listen(&folder);
    eventually("the socket is there", || socket.exists()).await;
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
        assert_eq!(
            event.event,
            Some(Event::Status(Status { activity: activity.into(), text: text.into(), choices, ..Status::default() }))
        );
    }
    assert_eq!(events.next(0), None);
}

#[test]
fn shows_which_session_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pilothouse-guest"));
        command
            .arg("show")
            .args(arguments)
            .env("PILOTHOUSE_SOCKET", folder.path().join("session.sock"))
            .output()
            .unwrap()
    };
    assert_eq!(run(&[]).status.code(), Some(1));
    let text = r#"{"id":"01J","slug":"fix","branch":"agent/fix/work","generation":2}"#.to_owned() + "\n";
    std::fs::write(folder.path().join("session.json"), &text).unwrap();
    assert_eq!(String::from_utf8(run(&["--json"]).stdout).unwrap(), text);
    assert!(String::from_utf8(run(&[]).stdout).unwrap().contains("branch      agent/fix/work\n"));
}

#[tokio::test]
async fn refuses_nonsense() {
    let folder = tempfile::tempdir().unwrap();
    let (socket, events) = listen(&folder);
    eventually("the socket is there", || socket.exists()).await;
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

#[tokio::test]
async fn a_wait_sleeps_until_its_answer() {
    let folder = tempfile::tempdir().unwrap();
    let (socket, events, waits) = listen_for_waits(&folder);
    eventually("the socket is there", || socket.exists()).await;
    for (answer, code, pr) in [
        (r#"{"answer":"message","text":"ü\n"}"#, 0, 0),
        (r#"{"answer":"timed-out"}"#, 124, 12),
        (r#"{"answer":"no-pull-request"}"#, 3, 0),
        (r##"{"answer":"refused","why":"#12 is no pull request of this session"}"##, 1, 12),
    ] {
        let path = socket.clone();
        let waiting = in_background(move || {
            let mut wait = command(&path, "wait");
            wait.args(["checks", "--timeout", "2h"]).stdout(Stdio::piped()).stderr(Stdio::piped());
            if pr > 0 {
                wait.args(["--pr", &pr.to_string()]);
            }
            wait.spawn().unwrap()
        });
        let waiting = waiting.await;
        eventually("the host is asked", || events.next(0).is_some()).await;
        let event = events.next(0).unwrap();
        events.acknowledge(event.sequence);
        let Some(Event::Wait(Wait { id, what, timeout_seconds, pull })) = event.event else { panic!("{event:?}") };
        assert_eq!((what.as_str(), timeout_seconds, pull), ("checks", 7200, pr));
        assert!(waits.answer(id, answer.into()));
        let output = in_background(move || waiting.wait_with_output().unwrap()).await;
        let (printed, said) = match code {
            1 => (String::new(), "session: #12 is no pull request of this session\n"),
            _ => (format!("{answer}\n"), ""),
        };
        assert_eq!((output.status.code(), output.stdout), (Some(code), printed.into_bytes()));
        assert_eq!(String::from_utf8_lossy(&output.stderr), said);
    }
}

#[tokio::test]
async fn a_wait_that_is_ended_is_withdrawn_and_a_second_one_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (socket, events, _) = listen_for_waits(&folder);
    eventually("the socket is there", || socket.exists()).await;
    let mut first = command(&socket, "wait").arg("message").spawn().unwrap();
    eventually("the host is asked", || events.next(0).is_some()).await;
    let second = in_background(move || command(&socket, "wait").arg("review").output().unwrap()).await;
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(second.status.code() == Some(1) && said.contains("another `session wait` is under way"), "{said}");
    first.kill().unwrap();
    first.wait().unwrap();
    eventually("the host is told", || events.next(1).is_some()).await;
    assert_eq!(events.next(1).unwrap().event, Some(Event::WaitWithdrawn(1)));
}

#[test]
fn a_wait_says_what_is_wrong_with_it() {
    for (arguments, says) in [
        (&["dinner"][..], "invalid value 'dinner'"),
        (&["checks", "--timeout", "0"], "from 1s to 365d"),
        (&["checks", "--timeout", "soon"], "e.g. 90s"),
        (&["checks", "--pr", "0"], "0 is not in 1.."),
        (&["review", "--pr", "widgets#1"], "invalid value 'widgets#1'"),
        (&["message", "--pr", "1"], "--pr goes with `session wait checks` and `session wait review`"),
    ] {
        let output = command(Path::new("/nowhere"), "wait").args(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && said.contains(says), "{said}");
    }
}
