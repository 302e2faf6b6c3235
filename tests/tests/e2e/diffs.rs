//! What changed: between revisions, and in a session's working tree, live and suspended.

use std::{ffi::OsStr, fs, os::unix::ffi::OsStrExt, path::Path, process::Command};

use tests::{Host, run};

fn git(directory: &Path, args: &[&str]) -> String {
    let mut git = Command::new("git");
    git.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1").current_dir(directory);
    run(git.args(["-c", "user.name=A", "-c", "user.email=a@b.invalid"]).args(args), &[]).text()
}

/// No VM is needed for what lies on the host. A patch leads from the old tree to the new one, byte for byte.
#[test]
fn patches_between_revisions_are_git_s() {
    let host = Host::empty(&[]);
    let work = host.data().join("work");
    fs::create_dir_all(host.data().join("git")).unwrap();
    git(host.data(), &["init", "-q", "--bare", "-b", "main", "git/a.git"]);
    git(host.data(), &["clone", "-q", "git/a.git", "work"]);
    git(&work, &["checkout", "-q", "-b", "main"]);
    let lines: String = (0..300).map(|n| format!("line {n}\n")).collect();
    fs::create_dir(work.join("dir with blank")).unwrap();
    for (path, contents) in [("kept", "k\n"), ("gone", "g"), ("moved", &lines), ("dir with blank/\u{fc}\t\"", "1\n2\n")]
    {
        fs::write(work.join(path), contents).unwrap();
    }
    let foreign = work.join(OsStr::from_bytes(b"bad\xff.txt"));
    fs::write(&foreign, "1\n").unwrap();
    git(&work, &["add", "-A"]);
    git(&work, &["commit", "-q", "-m", "one"]);
    git(&work, &["push", "-q", "origin", "main"]);
    git(&work, &["mv", "moved", "to"]);
    fs::write(work.join("to"), lines.replace("line 7\n", "line seven\n").replace("line 290\n", "")).unwrap();
    fs::write(work.join("dir with blank/\u{fc}\t\""), b"1\ncaf\xe9 \x1b[2J").unwrap();
    fs::write(&foreign, "2\n").unwrap();
    fs::remove_file(work.join("gone")).unwrap();
    std::os::unix::fs::symlink("kept", work.join("link")).unwrap();
    fs::write(work.join("empty"), "").unwrap();
    git(&work, &["add", "-A"]);
    git(&work, &["update-index", "--chmod=+x", "kept"]);
    git(&work, &["commit", "-q", "-m", "two"]);
    git(&work, &["push", "-q", "origin", "HEAD:refs/heads/topic"]);
    let tree = git(&work, &["rev-parse", "HEAD^{tree}"]);

    let patch = host.cli(["diff", "--repo", "a", "main..topic"]);
    assert_eq!(patch.code, 0, "{patch}");
    git(&work, &["reset", "-q", "--hard", "HEAD~1"]);
    let applied = run(Command::new("git").args(["apply", "--index", "-"]).current_dir(&work), &patch.stdout);
    assert_eq!(applied.code, 0, "{applied}\n{patch}");
    assert_eq!(git(&work, &["write-tree"]), tree, "{patch}");

    let diff = |args: &[&str]| host.cli(["diff", "--repo", "a"].iter().chain(args));
    let names = diff(&["main..topic", "--name-only"]).text();
    let expected = git(&work, &["diff-tree", "-r", "-M", "--name-only", "main", "origin/topic"]);
    assert_eq!(names, expected);
    let stat = diff(&["main..topic", "--stat", "--", "to", "moved"]).text();
    assert!(stat.contains("moved => to") && stat.ends_with("1 file changed, 1 added, 2 removed"), "{stat}");
    let json = diff(&["main...topic", "--json", "-U", "0"]).json();
    let file = json["files"].as_array().unwrap().iter().find(|file| file["new_path"] == "to").unwrap();
    assert_eq!((&file["status"], &file["hunks"][0]["lines"][0]["text"]), (&"renamed".into(), &"line 7".into()));
    assert_eq!(file["hunks"][0]["lines"][0]["marks"], serde_json::json!([[5, 6]]));
    let file = json["files"].as_array().unwrap().iter().find(|file| file["new_path"] == "bad\u{fffd}.txt").unwrap();
    assert_eq!((&file["hunks"][0]["lines"][1]["text"], &file["not_utf8"]), (&"2".into(), &false.into()));
    diff(&["main..nothing"]).assert_failed(3, &["no revision `nothing`"]);
    diff(&["main"]).assert_failed(2, &["no pair of revisions"]);
    host.cli(["diff", "--repo", "b", "x..y"]).assert_failed(3, &["`b`"]);
    host.cli(["diff", "nobody"]).assert_failed(3, &["nobody"]);
}

/// Committed, staged, changed and untracked files, without a trace in the session's repository; then as it was suspended.
#[test]
fn a_session_shows_its_changes_running_and_suspended() {
    let host = Host::start();
    let id = host.session("changer", &["sleep", "1000000"]);
    let shell = |script: &str| host.exec(&id, &["sh", "-c", script]).text();
    let _ = shell(
        "git config user.email a@b.invalid && git config user.name A && echo committed > committed && git add committed && \
         git commit -q -m x && echo staged > staged && git add staged && echo more >> README.md && \
         echo untracked > 'un tracked' && head -c 100000 /dev/urandom > bytes",
    );
    let before = shell("git status --porcelain; git count-objects; sha1sum .git/index");
    let names = "README.md\nbytes\ncommitted\nstaged\nun tracked";
    assert_eq!(host.cli(["diff", &id, "--name-only"]).text(), names);
    let live = host.cli(["diff", &id]).text();
    for line in ["+committed", "+staged", "+more", "+untracked", "Binary files /dev/null and b/bytes differ"] {
        assert!(live.lines().any(|found| found == line), "no {line:?} in {live}");
    }
    assert_eq!(shell("git status --porcelain; git count-objects; sha1sum .git/index"), before);

    let suspended = host.cli(["suspend", "--json", &id]).json();
    assert_eq!(suspended["lifecycle"], "suspended");
    let copied = host.cli(["diff", &id]);
    assert_eq!(copied.text(), live);
    assert!(copied.stderr.contains("the session does not run; this is as of"), "{copied}");
    assert_eq!(host.show(&id)["lifecycle"], "suspended", "looking woke it");

    // A guest that plays tricks is told of, and does no harm.
    let _ = shell("printf '#!/bin/sh\\nyes nonsense\\n' > /usr/local/bin/git && chmod +x /usr/local/bin/git");
    host.cli(["diff", &id]).assert_failed(1, &["working tree cannot be read"]);
    let _ = shell("rm /usr/local/bin/git && mv .git .tig");
    host.cli(["diff", &id]).assert_failed(1, &["not a git repository"]);
}

/// However much changed, and up to the last moment: it is read in a copy of the VM, in which the agent does not go on.
#[test]
fn a_suspended_session_is_read_in_a_copy_that_stays_frozen() {
    let host = Host::start();
    // It counts in memory.
    let ticker = "i=0; while :; do i=$((i+1)); echo $i >>ticks; sleep 0.1; done";
    let id = host.session("ticker", &["sh", "-c", ticker]);
    let shell = |script: &str| host.exec(&id, &["sh", "-c", script]).text();
    let diff = |args: &[&str]| host.cli(["diff", &id].iter().chain(args)).text();
    let boot = shell("cat /proc/sys/kernel/random/boot_id; head -c 6000000 /dev/urandom >bytes; echo more >>README.md");
    let still = ["--stat", "--", "README.md", "bytes"];
    let live = diff(&still);
    let _ = shell("echo last >last");
    let _ = host.cli(["suspend", &id]).text();
    let before = host.show(&id);
    assert_eq!(diff(&["--name-only"]), "README.md\nbytes\nlast\nticks");
    let ticks = diff(&["--", "ticks", "last"]);
    assert!(ticks.contains("+last") && ticks.contains("+1\n"), "{ticks}");
    // What was read is kept, until it is gone: then another copy says the same.
    let kept = host.data().join("sessions").join(&id).join("changes");
    let stamp = || fs::metadata(&kept).unwrap().modified().unwrap();
    let read = stamp();
    assert_eq!(diff(&still), live);
    assert_eq!(stamp(), read);
    fs::remove_file(&kept).unwrap();
    assert_eq!(diff(&["--", "ticks", "last"]), ticks);

    assert!(host.vms().is_empty(), "a copy runs on");
    assert_eq!(fs::read_dir(host.data().join("copies")).unwrap().count(), 0);
    let after = host.show(&id);
    assert!(
        ["lifecycle", "generation", "suspended_bytes"].iter().all(|field| before[field] == after[field]),
        "{after}"
    );
    assert_eq!(host.ls().len(), 1);
    let shown = host.cli(["host", "show", "--json"]).json();
    assert_eq!(shown["accounts"]["memory_private"], 0, "{shown}");
    let last: u32 = ticks.lines().filter_map(|line| line.strip_prefix('+')?.parse().ok()).max().unwrap();
    let _ = host.cli(["resume", &id]).text();
    assert_eq!(shell("cat /proc/sys/kernel/random/boot_id"), boot);
    let next = format!("until [ \"$(sed -n {}p ticks)\" ]; do sleep 0.1; done; awk '$1 != NR' ticks", last + 1);
    assert_eq!(shell(&next), "", "a tick was lost or doubled");
}
