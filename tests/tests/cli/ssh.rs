//! Hosts over ssh: the real `hostd dial`, behind a program `ssh` that runs here what ssh would run elsewhere.

use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf};

use rustix::process::{Pid, test_kill_process};
use tokio::process::Command;

use crate::{
    fake::{Fake, session},
    program::{self, Ran, run, until},
};

/// Like ssh, after its options and `--`: the host, then words for its shell. The shell greets as some do, and notes who it is.
const SSH: &str = r#"#!/bin/sh
while [ "$1" != -- ]; do shift; done
case $2 in
    refused) echo "ssh: connect to host refused port 22: Connection refused" >&2; exit 255 ;;
esac
shift 2
cd /
echo "Welcome to far!"
echo $$ >"$PID_FILE"
exec sh -c "exec $*"
"#;

/// A host that is far away.
struct Far {
    fake: Fake,
}

impl Far {
    async fn start() -> Self {
        let fake = Fake::start(vec![session("alpha")]).await;
        let far = Self { fake };
        let (folder, hostd) = (far.fake.folder.path(), tests::paths::program("hostd"));
        fs::create_dir_all(folder.join("bin")).unwrap();
        fs::write(folder.join("bin/ssh"), SSH).unwrap();
        fs::set_permissions(folder.join("bin/ssh"), fs::Permissions::from_mode(0o755)).unwrap();
        let config = folder.join(".config/pilothouse");
        fs::create_dir_all(&config).unwrap();
        let socket = far.fake.socket();
        let hosts = format!(
            "[hosts.far]\naddress = \"ssh://me@far:2222{}\"\nhostd = \"{}\"\n[hosts.bare]\naddress = \"ssh://far\"\n\
             hostd = \"/nowhere/hostd\"\n[hosts.refused]\naddress = \"ssh://refused\"\n[hosts.idle]\n\
             address = \"ssh://far{}.none\"\nhostd = \"{}\"\n",
            socket.display(),
            hostd.display(),
            socket.display(),
            hostd.display()
        );
        fs::write(config.join("config.toml"), hosts).unwrap();
        far
    }

    fn pid_file(&self) -> PathBuf {
        self.fake.folder.path().join("pid")
    }

    fn command(&self, host: &str, arguments: &[&str]) -> Command {
        let folder = self.fake.folder.path();
        let mut command = program::command(folder, Some(host), arguments);
        let path = format!("{}:{}", folder.join("bin").display(), std::env::var("PATH").unwrap());
        command.env("PATH", path).env("PID_FILE", self.pid_file());
        command
    }

    async fn run(&self, host: &str, arguments: &[&str], stdin: &[u8]) -> Ran {
        run(self.command(host, arguments), stdin).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_reach_a_host_over_ssh() {
    let far = Far::start().await;
    let ran = far.run("far", &["ls", "--json"], b"").await;
    assert_eq!((ran.code, ran.json()[0]["slug"].as_str(), ran.stderr.as_str()), (0, Some("alpha"), ""));
    // More than any pipe holds, both ways.
    let bulk = vec![b'x'; 3 << 20];
    let ran = far.run("far", &["exec", "alpha", "--", "sh", "-c", "cat; exit 7"], &bulk).await;
    assert_eq!((ran.code, ran.stdout.len(), ran.stderr.as_str()), (7, bulk.len(), ""));
    // Nothing of it is left.
    let pid = fs::read_to_string(far.pid_file()).unwrap().trim().parse().unwrap();
    until("ssh has ended", || test_kill_process(Pid::from_raw(pid).unwrap()).is_err()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_keeps_ssh_from_a_host_is_said_with_what_to_do() {
    let far = Far::start().await;
    for (host, message, hint) in [
        ("refused", "ssh: connect to host refused port 22: Connection refused", "log in without a question?"),
        ("bare", "there is no program `/nowhere/hostd` there", "install hostd there"),
        ("idle", "no hostd answers on", "start it there with `hostd serve`"),
    ] {
        let ran = far.run(host, &["ls"], b"").await;
        assert_eq!(ran.code, 5, "{host}");
        assert!(ran.stderr.contains(message) && ran.stderr.contains(hint), "{host}: {}", ran.stderr);
    }
    // One that is out of reach keeps nobody from the others.
    let ran = far.run("", &["host", "ls", "--json"], b"").await;
    let reached = ran.json().as_array().unwrap().iter().filter(|host| host["error"].is_null()).count();
    assert_eq!((ran.code, reached), (0, 1), "{}", ran.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_are_added_tried_and_removed() {
    let far = Far::start().await;
    let config = far.fake.folder.path().join(".config/pilothouse/config.toml");
    fs::write(&config, "# mine\n").unwrap();
    let near = far.fake.address();
    // PILOTHOUSE_HOST may name the one that is to come.
    let ran = far.run("near", &["host", "add", "near", &near], b"").await;
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{}", ran.text());
    assert_eq!(fs::read_to_string(&config).unwrap(), format!("# mine\n[hosts]\nnear = \"{near}\"\n"));
    let ran = far.run("", &["host", "add", "away", "ssh://refused"], b"").await;
    assert_eq!(ran.code, 5);
    assert!(ran.stderr.contains("--unreached"), "{}", ran.stderr);
    let ran = far.run("", &["host", "add", "away", "ssh://refused", "--unreached"], b"").await;
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(far.run("", &["host", "add", "away", "unix:/x"], b"").await.code, 2);
    let ran = far.run("", &["host", "test", "--json"], b"").await;
    let tried = ran.json();
    assert_eq!((ran.code, tried[0]["name"].as_str(), tried[1]["error"].is_null()), (5, Some("away"), true), "{tried}");
    assert!(tried[0]["error"].as_str().unwrap().contains("Connection refused"), "{tried}");
    assert!(tried[1]["answer_ms"].as_f64().is_some(), "{tried}");
    let ran = far.run("", &["host", "rm", "away"], b"").await;
    assert!(ran.code == 0 && ran.text().contains("pilothouse host add away ssh://refused"), "{}", ran.text());
    assert_eq!(far.run("", &["host", "rm", "away"], b"").await.code, 3);
    assert_eq!(far.run("", &["host", "test"], b"").await.code, 0);
}

/// The connection is there, and nobody answers on it: a process that passes it on was stopped.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_answers_no_more_is_told_so() {
    let far = Far::start().await;
    let (socket, between) = (far.fake.socket(), far.fake.folder.path().join("between.sock"));
    // Everything that comes by this socket goes through one thread, which can be told to stop.
    let listener = tokio::net::UnixListener::bind(&between).unwrap();
    let (stop, stopped) = tokio::sync::watch::channel(false);
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            let (socket, mut stopped) = (socket.clone(), stopped.clone());
            tokio::spawn(async move {
                let mut to = tokio::net::UnixStream::connect(socket).await.unwrap();
                let passes = tokio::io::copy_bidirectional(&mut near, &mut to);
                let until_stopped = async { stopped.wait_for(|stopped| *stopped).await.is_ok() };
                let stopped = tokio::select! {
                    _ = passes => false,
                    stopped = until_stopped => stopped,
                };
                // Both ends stay open.
                if stopped {
                    std::future::pending::<()>().await;
                }
            });
        }
    });
    let address = format!("unix:{}", between.display());
    let follows = far.command(&address, &["events", "alpha", "--follow"]);
    let following = tokio::spawn(run(follows, b""));
    until("it follows", || far.fake.state.followers() > 0).await;
    stop.send_replace(true);
    let ran = following.await.unwrap();
    assert_eq!(ran.code, 5, "{}", ran.stderr);
    assert!(ran.stderr.contains("the connection to the host broke"), "{}", ran.stderr);
}
