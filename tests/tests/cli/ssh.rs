//! Hosts over ssh: the real `hostd dial`, behind a program `ssh` that runs here what ssh would run elsewhere.

use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf};

use rustix::process::{Pid, Signal, kill_process};
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
    until("ssh has ended", || rustix::process::test_kill_process(Pid::from_raw(pid).unwrap()).is_err()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_keeps_ssh_from_a_host_is_said_with_what_to_do() {
    let far = Far::start().await;
    for (host, message, hint) in [
        ("refused", "ssh: connect to host refused port 22: Connection refused", "log in without a question?"),
        ("bare", "/nowhere/hostd: not found", "install hostd there"),
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

/// The connection is there, and nobody answers on it: the process at the other end was stopped.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_answers_no_more_is_told_so() {
    let far = Far::start().await;
    let follows = far.command("far", &["events", "alpha", "--follow"]);
    let following = tokio::spawn(run(follows, b""));
    until("ssh has logged in", || fs::read_to_string(far.pid_file()).is_ok_and(|pid| pid.ends_with('\n'))).await;
    until("it follows", || far.fake.state.followers() > 0).await;
    let pid = Pid::from_raw(fs::read_to_string(far.pid_file()).unwrap().trim().parse().unwrap()).unwrap();
    kill_process(pid, Signal::STOP).unwrap();
    let ran = following.await.unwrap();
    // It goes when its ssh does, which a stopped one does not.
    let _ = kill_process(pid, Signal::KILL);
    assert_eq!(ran.code, 5, "{}", ran.stderr);
    assert!(ran.stderr.contains("connection to host far broke"), "{}", ran.stderr);
}
