//! A repository as others have them: thousands of commits and files, merges, tags, odd names.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use tests::{Host, paths, run};

const COMMITS: usize = 5000;
const FILES: usize = 3000;
/// Of so many commits of main, one merges a branch.
const MERGES: usize = 50;

fn git(repository: &Path, args: &[&str], stdin: &[u8]) -> String {
    let mut git = Command::new("git");
    git.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
    run(git.arg("-C").arg(repository).args(args), stdin).text()
}

/// Makes it as `history.git` in this folder.
fn history(folder: &Path) -> PathBuf {
    let repository = folder.join("history.git");
    fs::create_dir_all(&repository).unwrap();
    git(&repository, &["init", "-q", "--bare", "-b", "main"], &[]);
    let mut stream = commit("main", 1, "", b"Begin");
    for (mode, path, contents) in [
        ("100644", &b"caf\xe9/na\xefve.txt"[..], "one\ntwo\n"),
        ("100755", b"tools/run", "#!/bin/sh\necho runs\n"),
        ("120000", b"link", "tools/run"),
    ] {
        stream.extend(file(mode, path, contents));
    }
    for n in 2..=COMMITS {
        let mut from = String::new();
        if n % MERGES == 0 {
            stream.extend(commit("side", COMMITS + n, &format!("from :{}\n", n - 1), b"Beside"));
            stream.extend(file("100644", format!("side/{n}").as_bytes(), "beside\n"));
            let _ = writeln!(from, "merge :{}", COMMITS + n);
        }
        stream.extend(commit("main", n, &from, "R\u{e9}sum\u{e9}".as_bytes()));
        if n % MERGES == 0 {
            stream.extend(file("100644", format!("side/{n}").as_bytes(), "beside\n"));
        }
        let k = n % FILES;
        let path = format!("src/{}/{}/{k}.txt", k % 40, k % 7);
        stream.extend(file("100644", path.as_bytes(), &format!("{n}\n").repeat(20)));
        if n % 500 == 0 {
            let tag = format!("tag v{}\nfrom :{n}\ntagger A <a@b.invalid> {} +0000\ndata 4\nTag\n\n", n / 500, time(n));
            stream.extend(tag.into_bytes());
        }
    }
    git(&repository, &["fast-import", "--quiet"], &stream);
    repository
}

fn time(n: usize) -> usize {
    1_700_000_000 + n
}

fn commit(branch: &str, mark: usize, parents: &str, message: &[u8]) -> Vec<u8> {
    let who = format!("committer A B\u{e9} <a@b.invalid> {} +0200", time(mark));
    let head = format!("commit refs/heads/{branch}\nmark :{mark}\n{who}\ndata {}\n", message.len());
    [head.as_bytes(), message, b"\n", parents.as_bytes()].concat()
}

fn file(mode: &str, path: &[u8], contents: &str) -> Vec<u8> {
    let data = format!("\ndata {}\n{contents}\n", contents.len());
    [format!("M {mode} inline ").as_bytes(), path, data.as_bytes()].concat()
}

const CHANGE: &str = "git config user.email a@b.invalid
git config user.name A
test \"$(git rev-list --count HEAD)\" = \"$1\"
test \"$(git tag | wc -l)\" = 10
git fsck --connectivity-only >&2
test -L link && test \"$(./link)\" = runs
odd=$(printf 'caf\\351/na\\357ve.txt')
echo three >>\"$odd\"
git mv src/1/1/1.txt moved.txt
chmod +x moved.txt
ln -sf moved.txt link
git add -A
git commit -qm 'Change odd things'
git push -q origin HEAD:refs/heads/$PILOTHOUSE_BRANCH
session pr open --title 'Odd things'
git clone -q http://pilothouse.internal/git/history.git /root/again
git -C /root/again rev-parse origin/$PILOTHOUSE_BRANCH";

/// Imported, cloned by a build and again in a session, changed, pushed, reviewed, compared, merged.
#[test]
fn a_repository_of_thousands_of_commits_is_worked_on() {
    let host = Host::start();
    let source = history(host.data());
    let added = host.cli(["repo", "add", source.to_str().unwrap(), "--json"]).json();
    let main = git(&source, &["rev-parse", "main"], &[]);
    assert_eq!((&added["name"], &added["head"]), (&"history".into(), &main.as_str().into()), "{added}");
    let bare = host.data().join("git/history.git");
    let refs = |repository| git(repository, &["for-each-ref", "refs/heads", "refs/tags"], &[]);
    assert_eq!(refs(&bare), refs(&source));

    let recipe = host.data().join("tools.toml");
    let tools = fs::read_to_string(paths::root().join("tests/environments/tools.toml")).unwrap();
    fs::write(&recipe, tools.replace("widgets", "history")).unwrap();
    let _ = host.cli(["env", "build", recipe.to_str().unwrap()]).text();
    let id = host.session("historian", &[]);
    let branch = format!("agent/{}/work", host.slug(&id));
    let commits = git(&bare, &["rev-list", "--count", "main"], &[]);
    assert_eq!(commits, (COMMITS + COMMITS / MERGES).to_string());
    // An agent has its branch in a variable; a command that is run beside it has not.
    let script = format!("PILOTHOUSE_BRANCH={branch}\n{CHANGE}");
    let said = host.exec(&id, &["sh", "-exc", &script, "sh", &commits]).text();
    let head = git(&bare, &["rev-parse", &branch], &[]);
    assert_eq!(said.lines().collect::<Vec<_>>(), ["1", &head]);

    changes_are_shown(&host, &id, &bare, &branch);
    let _ = host.cli(["review", "comment", "1", "--file", "moved.txt", "--line", "20", "The last?"]).text();
    let _ = host.cli(["review", "approve", "1"]).text();
    let merged = host.cli(["review", "merge", "1", "--yes", "--json"]).json();
    assert_eq!((&merged["state"], &merged["head"]), (&"merged".into(), &head.into()));
    assert_eq!(git(&bare, &["cat-file", "-p", "main:moved.txt"], &[]).lines().count(), 20);
    git(&bare, &["fsck", "--connectivity-only"], &[]);
}

fn changes_are_shown(host: &Host, id: &str, bare: &Path, branch: &str) {
    let names = "\"caf\\351/na\\357ve.txt\"\nlink\nmoved.txt";
    for what in [id, "history#1"] {
        assert_eq!(host.cli(["diff", what, "--name-only"]).text(), names, "{what}");
    }
    let pull = host.cli(["review", "show", "1", "--json"]).json();
    assert_eq!((&pull["repository"], &pull["revision"]), (&"history".into(), &1.into()), "{pull}");
    let json = host.cli(["diff", "history#1", "--json"]).json();
    let of =
        |name: &str| json["files"].as_array().unwrap().iter().find(|file| file["new_path"] == name).unwrap().clone();
    assert_eq!(of("caf\u{fffd}/na\u{fffd}ve.txt")["added"], 1);
    let moved = of("moved.txt");
    assert_eq!((&moved["status"], &moved["new_mode"]), (&"renamed".into(), &"100755".into()), "{moved}");
    // From the first commit on, it is git that says how many there are.
    let first = git(bare, &["rev-list", "--max-parents=0", branch], &[]);
    let all = host.cli(["diff", "--repo", "history", &format!("{first}..{branch}"), "--name-only"]).text();
    let expected = git(bare, &["diff-tree", "-r", "-M", "--name-only", &first, branch], &[]);
    assert!(expected.lines().count() > FILES && all == expected, "{} names", all.lines().count());
}
