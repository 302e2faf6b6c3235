use std::os::unix::fs::PermissionsExt as _;

use rstest::rstest;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_util::task::AbortOnDropHandle;

use super::*;
use crate::{
    forge::{Local, git},
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
        let forge = Local::new(store, folder.path());
        let endpoint = Endpoint::open(([127, 0, 0, 1], 0).into(), &default_token(folder.path())).await.unwrap();
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
