//! git itself over the made-up host: `repo clone`, the remote that `repo add` sets up, fetches and pushes.

use std::path::Path;

use tokio::process::Command;

use crate::{fake::Fake, program::run};

/// A repository `widgets` on the host, and the user's clone that it came from.
async fn world() -> Fake {
    let fake = Fake::with_pulls(vec![]).await;
    let home = fake.folder.path();
    git(home, &["init", "-q", "-b", "main", "source"]).await;
    commit(&home.join("source"), "one").await;
    git(home, &["clone", "-q", "--bare", "source", "git/widgets.git"]).await;
    fake
}

/// The user's git, which finds the helper where it was built.
fn command(folder: &Path, args: &[&str]) -> Command {
    let helper = tests::paths::program("git-remote-pilothouse");
    let path = std::env::var_os("PATH").unwrap();
    let path = std::env::join_paths(std::env::split_paths(&path).chain([helper.parent().unwrap().to_owned()])).unwrap();
    let mut git = Command::new("git");
    git.arg("-C").arg(folder).args(["-c", "user.name=a", "-c", "user.email=a@b"]).args(args);
    git.env_clear().env("PATH", path).env("HOME", folder).env("GIT_CONFIG_NOSYSTEM", "1").kill_on_drop(true);
    git
}

async fn git(folder: &Path, args: &[&str]) -> String {
    let output = command(folder, args).output().await.unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

async fn commit(folder: &Path, name: &str) {
    std::fs::write(folder.join(name), name).unwrap();
    git(folder, &["add", "."]).await;
    git(folder, &["commit", "-q", "-m", name]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clone_fetches_and_pushes() {
    let fake = world().await;
    let (home, clone) = (fake.folder.path(), fake.folder.path().join("mine"));
    let ran = fake.run(&["repo", "clone", "widgets", clone.to_str().unwrap()]).await;
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(std::fs::read(clone.join("one")).unwrap(), b"one");
    // What was merged on the host comes, in a large pack too.
    let large: Vec<u8> = (0..3_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    std::fs::write(home.join("source/large"), &large).unwrap();
    commit(&home.join("source"), "two").await;
    git(&home.join("source"), &["push", "-q", "../git/widgets.git", "main"]).await;
    git(&clone, &["pull", "-q"]).await;
    assert_eq!(std::fs::read(clone.join("large")).unwrap(), large);
    commit(&clone, "three").await;
    git(&clone, &["push", "-q", "origin", "HEAD:refs/heads/agent/x/three"]).await;
    let pushed = git(home, &["--git-dir=git/widgets.git", "rev-parse", "refs/heads/agent/x/three"]).await;
    assert_eq!(pushed, git(&clone, &["rev-parse", "HEAD"]).await);
    for protocol in ["0", "2"] {
        let listed = git(&clone, &["-c", &format!("protocol.version={protocol}"), "ls-remote", "origin"]).await;
        assert!(listed.contains("refs/heads/agent/x/three"), "{listed}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn adding_a_clone_gives_it_the_remote() {
    let fake = world().await;
    let source = fake.folder.path().join("source");
    let add = async |more: &[&str]| {
        let ran = fake.run(&[&["repo", "add", source.to_str().unwrap()], more].concat()).await;
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        ran.stderr
    };
    add(&["--no-remote"]).await;
    assert_eq!(git(&source, &["remote"]).await, "");
    let said = add(&[]).await;
    assert!(said.contains("has the remote `pilothouse` now: `git pull pilothouse main` brings in"), "{said}");
    assert_eq!(
        git(&source, &["remote", "get-url", "pilothouse"]).await,
        format!("pilothouse::{}/widgets", fake.address())
    );
    git(&source, &["fetch", "-q", "pilothouse"]).await;
    git(&source, &["remote", "set-url", "pilothouse", "https://example.com/other.git"]).await;
    let said = add(&[]).await;
    assert!(said.contains("has a remote `pilothouse` already, https://example.com/other.git; it stays"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_work_is_said_to_git() {
    let mut fake = world().await;
    let home = fake.folder.path().to_owned();
    let remote = |name: &str| format!("pilothouse::{}/{name}", fake.address());
    let (widgets, gadgets) = (remote("widgets"), remote("gadgets"));
    let failed = async |url: &str| {
        let output = command(&home, &["ls-remote", url]).output().await.unwrap();
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let said = failed(&gadgets).await;
    assert!(said.contains("error: there is no such repository\n"), "{said}");
    fake.kill().await;
    let said = failed(&widgets).await;
    assert!(said.contains("is hostd running? start it with `hostd serve`"), "{said}");
    let mut helper = fake.command(&["git-remote", "origin", "widgets"]);
    helper.env_remove("PILOTHOUSE_HOST");
    let ran = run(helper, b"capabilities\nlist\n").await;
    assert_eq!((ran.code, ran.text()), (1, "connect\n\n"));
    assert!(ran.stderr.contains("git asks for `list`, which this remote has not"), "{}", ran.stderr);
}
