//! Repositories and a person's own git, against a real hostd; no session takes part.

use std::{path::Path, process::Command};

use tests::{Host, Outcome, paths, run};

/// A person's git, which finds the helper where it was built.
fn git(folder: &Path, args: &[&str]) -> Outcome {
    let path = std::env::var_os("PATH").unwrap();
    let path = std::env::join_paths(std::env::split_paths(&path).chain([paths::bin()])).unwrap();
    let author = ["-c", "user.name=A", "-c", "user.email=a@b.invalid"];
    let mut git = Command::new("git");
    git.arg("-C").arg(folder).args(author).args(args).env("PATH", path);
    run(git.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null"), &[])
}

fn commit(folder: &Path, words: &str) {
    let _ = git(folder, &["commit", "-q", "--allow-empty", "-m", words]).text();
}

fn last(folder: &Path, branch: &str) -> String {
    git(folder, &["log", "-1", "--format=%s", branch]).text()
}

#[test]
fn merged_work_comes_back_and_new_work_goes_in() {
    let host = Host::empty(&[]);
    let folder = tempfile::tempdir().unwrap();
    let (mine, bare) = (folder.path().join("mine"), host.data().join("git/mine.git"));
    let _ = git(folder.path(), &["init", "-q", "-b", "main", "mine"]).text();
    commit(&mine, "Begin");
    let added = host.cli(["repo", "add", mine.to_str().unwrap()]);
    assert!(added.text().starts_with("mine is there, on branch main"), "{added}");
    assert!(added.stderr.contains("has the remote `pilothouse` now"), "{added}");
    let again = host.cli(["repo", "add", mine.to_str().unwrap()]);
    again.assert_failed(
        1,
        &["there is a repository `mine` already; `pilothouse repo fetch mine` brings in what is new"],
    );

    // Its clone pushes on top of the default branch, and nothing that the rules refuse.
    commit(&mine, "New");
    let _ = git(&mine, &["push", "-q", "pilothouse", "main"]).text();
    assert_eq!(last(&bare, "main"), "New");
    let _ = git(&mine, &["commit", "-q", "--amend", "--allow-empty", "-m", "Otherwise"]).text();
    for (refspec, says) in [
        ("+main:main", "main takes commits on top of what it has alone: pull first"),
        (":main", "main is the default branch, and is not deleted"),
        ("main:refs/pull/1/1", "people push to refs/heads/ and refs/tags/; refs/pull/1/1 was refused"),
    ] {
        let refused = git(&mine, &["push", "pilothouse", refspec]);
        assert!(refused.code != 0 && refused.stderr.contains(says), "{refused}");
    }
    let _ = host.cli(["repo", "set", "mine", "--direct-push", "any"]).text();
    let _ = git(&mine, &["push", "-q", "pilothouse", "+main:main"]).text();
    assert_eq!(last(&bare, "main"), "Otherwise");

    // Another clone has what is there, and what is merged comes into the first.
    let other = folder.path().join("other");
    let _ = host.cli(["repo", "clone", "mine", other.to_str().unwrap()]).text();
    commit(&other, "Merged");
    let _ = git(&other, &["push", "-q"]).text();
    let _ = git(&mine, &["pull", "-q", "pilothouse", "main"]).text();
    assert_eq!(last(&mine, "main"), "Merged");
    upstreams(&host, &mine, &bare);
    let renamed = host.cli(["repo", "rename", "mine", "ours"]);
    assert_eq!(renamed.text(), "mine is called ours now");
    let (_, url) = renamed.stderr.trim().rsplit_once(' ').unwrap();
    let _ = git(&mine, &["remote", "set-url", "pilothouse", url]).text();
    let _ = git(&mine, &["fetch", "-q", "pilothouse"]).text();
    host.cli(["repo", "show", "mine"]).assert_failed(3, &["there is no repository `mine`"]);
    host.cli(["repo", "remove", "ours"]).assert_failed(2, &["say --yes if you mean it"]);
    let _ = host.cli(["repo", "remove", "ours", "--yes"]).text();
    assert_eq!(host.cli(["repo", "ls", "--json"]).json(), serde_json::json!([]));
}

fn upstreams(host: &Host, mine: &Path, bare: &Path) {
    commit(mine, "Newer");
    let fetched = host.cli(["repo", "fetch", "mine"]).text();
    assert!(fetched.starts_with("main: 1 commit more, at "), "{fetched}");
    assert_eq!(last(bare, "main"), "Newer");
    let shown = host.cli(["repo", "set", "mine", "--fetch-every", "15m", "--json"]).json();
    assert_eq!((&shown["fetch_every"], &shown["upstream"]), (&900.into(), &mine.to_str().unwrap().into()));
    // Where the branch is checked out there, it says how it gets in.
    let refused = host.cli(["repo", "push", "mine"]);
    assert!(refused.code == 0 || refused.stderr.contains("git pull pilothouse main"), "{refused}");
    let _ = git(mine, &["checkout", "-q", "--detach"]).text();
    let pushed = host.cli(["repo", "push", "mine", "--json"]).json();
    assert_eq!(pushed[0]["branch"], "main");
}
