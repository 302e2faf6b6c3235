use std::os::unix::fs::PermissionsExt as _;

use rstest::rstest;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_util::task::AbortOnDropHandle;

use super::*;
use crate::{
    forge::{Checks as _, Local, git},
    store::Store,
};

struct World {
    folder: tempfile::TempDir,
    address: SocketAddr,
    forge: Local,
    commit: String,
    _serves: AbortOnDropHandle<Infallible>,
}

impl World {
    async fn new() -> Self {
        Self::with(Limits::default()).await
    }

    async fn with(limits: Limits) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let run = async |args: &[&str]| {
            let author = ["-c", "user.name=a", "-c", "user.email=a@b"];
            let output = git(folder.path()).args(author).args(args).output().await.unwrap();
            assert!(output.status.success(), "{output:?}");
            String::from_utf8(output.stdout).unwrap().trim().to_owned()
        };
        run(&["init", "-q", "--bare", "-b", "main", "git/widgets.git"]).await;
        let tree = run(&["--git-dir=git/widgets.git", "mktree"]).await;
        let commit = run(&["--git-dir=git/widgets.git", "commit-tree", "-m", "x", &tree]).await;
        let (store, _) = Store::open(&folder.path().join("store.sqlite")).unwrap();
        let forge = Local::new(Arc::new(store), folder.path());
        let endpoint = Endpoint::open(([127, 0, 0, 1], 0).into(), &default_token(folder.path())).await.unwrap();
        let endpoint = endpoint.with_limits(limits);
        let address = endpoint.address().unwrap();
        let serves = AbortOnDropHandle::new(tokio::spawn(endpoint.serve(Arc::new(forge.clone()))));
        Self { folder, address, forge, commit, _serves: serves }
    }

    fn token(&self) -> String {
        std::fs::read_to_string(default_token(self.folder.path())).unwrap().trim().to_owned()
    }

    async fn ask(&self, token: &str, line: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let length = body.len();
        let head = format!("Host: x\r\nAuthorization: Bearer {token}\r\nConnection: close\r\nContent-Length: {length}");
        stream.write_all(format!("{line} HTTP/1.1\r\n{head}\r\n\r\n{body}").as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }
}

#[tokio::test]
async fn a_report_is_taken_once() {
    let world = World::new().await;
    let mode = std::fs::metadata(default_token(world.folder.path())).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let line = format!("POST /repositories/widgets/commits/{}/checks/unit%20tests", world.commit);
    let body = r#"{"state": "failed", "url": "https://ci.example.com/7", "summary": "2 failed", "log": "no\n"}"#;
    let answer = world.ask(&world.token(), &line, body).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("{\"changed\":true}\n"), "{answer}");
    let again = world
        .ask(&world.token(), &line, r#"{"state": "failed", "url": "https://ci.example.com/7", "summary": "2 failed"}"#)
        .await;
    assert!(again.ends_with("{\"changed\":false}\n"), "{again}");
    let checks = world.forge.checks("widgets", &world.commit).await.unwrap();
    assert_eq!((checks[0].name.as_str(), checks[0].state), ("unit tests", CheckState::Failed));
    assert_eq!(world.forge.log("widgets", &checks[0]).await.unwrap().unwrap(), b"no\n");
}

#[rstest]
#[case::wrong_token("wrong", "POST /repositories/widgets/commits/C/checks/a", "{}", "401")]
#[case::no_token("", "POST /repositories/widgets/commits/C/checks/a", "{}", "401")]
#[case::get("T", "GET /repositories/widgets/commits/C/checks/a", "{}", "405")]
#[case::elsewhere("T", "POST /", "{}", "404")]
#[case::no_repository("T", "POST /repositories/gadgets/commits/C/checks/a", r#"{"state": "passed"}"#, "404")]
#[case::no_commit("T", "POST /repositories/widgets/commits/0123456789/checks/a", r#"{"state": "passed"}"#, "404")]
#[case::no_json("T", "POST /repositories/widgets/commits/C/checks/a", "hello", "400")]
#[case::unknown_field("T", "POST /repositories/widgets/commits/C/checks/a", r#"{"state": "passed", "x": 1}"#, "400")]
#[case::no_state("T", "POST /repositories/widgets/commits/C/checks/a", r#"{"state": "success"}"#, "400")]
#[case::bad_name("T", "POST /repositories/widgets/commits/C/checks/%ff", r#"{"state": "passed"}"#, "400")]
#[case::bad_url("T", "POST /repositories/widgets/commits/C/checks/a", r#"{"state": "passed", "url": "x:y"}"#, "400")]
#[tokio::test]
async fn what_is_wrong_is_said(#[case] token: &str, #[case] line: &str, #[case] body: &str, #[case] status: &str) {
    let world = World::new().await;
    let token = if token == "T" { world.token() } else { token.to_owned() };
    let line = line.replace("/C/", &format!("/{}/", world.commit));
    let answer = world.ask(&token, &line, body).await;
    assert!(answer.starts_with(&format!("HTTP/1.1 {status}")) && answer.contains("{\"error\":\""), "{answer}");
    assert!(world.forge.checks("widgets", &world.commit).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_short_token_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = default_token(folder.path());
    std::fs::write(&path, "secret\n").unwrap();
    let error = Endpoint::open(([127, 0, 0, 1], 0).into(), &path).await.unwrap_err().to_string();
    assert!(error.contains("at least 16 bytes; remove the file to have one made"), "{error}");
}

/// Ends where it never comes to it.
const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn who_only_connects_keeps_nobody_out() {
    let world = World::new().await;
    let line = format!("POST /repositories/widgets/commits/{}/checks/unit", world.commit);
    let mut half_open = vec![];
    for round in 0..3 {
        for _ in 0..100 {
            let mut stream = TcpStream::connect(world.address).await.unwrap();
            // Some say nothing, some the beginning of a head, some all of one without the token.
            let begin = ["", "POST / HTTP/1.1\r\nHost: x\r\n", "POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nx"][round];
            stream.write_all(begin.as_bytes()).await.unwrap();
            half_open.push(stream);
        }
        let state = ["queued", "running", "passed"][round];
        let token = world.token();
        let body = format!(r#"{{"state": "{state}"}}"#);
        let answer = timeout(PATIENCE, world.ask(&token, &line, &body)).await;
        let answer = answer.expect("the report is taken while others only connect");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    assert_eq!(world.forge.checks("widgets", &world.commit).await.unwrap()[0].state, CheckState::Passed);
}

#[tokio::test]
async fn strangers_make_room_and_who_said_the_token_does_not() {
    let limits = Limits { strangers: 4, of_address: 2, head: Duration::from_secs(3600) };
    let world = World::with(limits).await;
    let body = r#"{"state": "passed"}"#;
    let mut known = TcpStream::connect(world.address).await.unwrap();
    let (commit, token) = (&world.commit, world.token());
    let head = format!(
        "POST /repositories/widgets/commits/{commit}/checks/unit HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n\
         Authorization: Bearer {token}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    known.write_all(head.as_bytes()).await.unwrap();
    // Whoever is asked for its body has said the token.
    let mut asked = [0; 25];
    timeout(PATIENCE, known.read_exact(&mut asked)).await.unwrap().unwrap();
    assert_eq!(&asked, b"HTTP/1.1 100 Continue\r\n\r\n");
    let mut strangers = vec![];
    for _ in 0..3 {
        strangers.push(TcpStream::connect(world.address).await.unwrap());
    }
    // The first of them is sent away for the third.
    assert_eq!(timeout(PATIENCE, strangers[0].read(&mut [0; 1])).await.unwrap().unwrap_or(0), 0);
    known.write_all(body.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(PATIENCE, known.read_to_string(&mut answer)).await.unwrap().unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn a_head_that_does_not_come_ends_its_connection() {
    let world = World::with(Limits { head: Duration::from_millis(50), ..Limits::default() }).await;
    let mut stream = TcpStream::connect(world.address).await.unwrap();
    stream.write_all(b"POST / HTTP/1.1\r\nHost:").await.unwrap();
    let mut said = vec![];
    timeout(PATIENCE, stream.read_to_end(&mut said)).await.expect("it is hung up").unwrap();
    assert!(!String::from_utf8_lossy(&said).starts_with("HTTP/1.1 2"));
}
