//! With real git, run here as it is run in a guest.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use rstest::rstest;

use super::*;

fn run(folder: &Path, command: &[&str]) -> String {
    let mut program = Command::new(command[0]);
    program
        .current_dir(folder)
        .args(&command[1..])
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1");
    for role in ["AUTHOR", "COMMITTER"] {
        program.env(format!("GIT_{role}_NAME"), "a").env(format!("GIT_{role}_EMAIL"), "a@b");
    }
    let output = program.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn look_here(folder: &Path) -> Found {
    let folder = folder.to_str().unwrap();
    read(&run(Path::new("/"), &["sh", "-c", SCRIPT, "sh", folder, COMMITS]), folder)
}

/// Three commits on `main`; their ids, oldest first.
fn repository() -> (tempfile::TempDir, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    run(folder.path(), &["git", "init", "-q", "-b", "main"]);
    let commits = (1..=3).map(|number| {
        fs::write(folder.path().join("file"), number.to_string()).unwrap();
        run(folder.path(), &["git", "add", "file"]);
        run(folder.path(), &["git", "commit", "-q", "-m", "x"]);
        run(folder.path(), &["git", "rev-parse", "HEAD"])
    });
    let commits = commits.collect();
    (folder, commits)
}

/// The file of an object.
fn object(folder: &Path, name: &str) -> PathBuf {
    let id = run(folder, &["git", "rev-parse", name]);
    let path = folder.join(".git/objects").join(&id[..2]).join(&id[2..]);
    // git makes them read-only.
    fs::remove_file(&path).unwrap();
    path
}

#[rstest]
#[case::empty_head("of its objects are empty, HEAD names ", |at: &Path| fs::write(object(at, "HEAD"), "").unwrap())]
#[case::empty_blob("1 of its objects are empty, HEAD names ", |at: &Path| fs::write(object(at, "HEAD:file"), "").unwrap())]
#[case::no_tree("HEAD names ", |at: &Path| drop(object(at, "HEAD^{tree}")))]
#[case::empty_branch("HEAD names no commit", |at: &Path| fs::write(at.join(".git/refs/heads/main"), "").unwrap())]
#[case::empty_index("its index cannot be read", |at: &Path| fs::write(at.join(".git/index"), "half").unwrap())]
fn what_is_broken_is_said_and_can_be_brought_back(#[case] said: &str, #[case] harm: fn(&Path)) {
    let (folder, commits) = repository();
    assert_eq!(look_here(folder.path()), Found::Whole(commits[2].clone()));
    let harmless = commits[2].clone();
    harm(folder.path());
    let Found::Broken(why) = look_here(folder.path()) else { panic!("not seen") };
    assert!(why.contains(said), "{why}");
    // What the last commit had is lost with it, or is not.
    let whole = if said.contains("HEAD names ") && !said.contains("no commit") { &commits[1] } else { &harmless };
    assert!(why.contains(&format!("its last whole commit is {whole}; ")), "{why}");
    let (_, advice) = why.split_once(&format!("run in {}: ", folder.path().display())).unwrap();
    run(folder.path(), &["sh", "-c", &format!("set -e; {advice}")]);
    run(folder.path(), &["git", "fsck"]);
    assert_eq!(look_here(folder.path()), Found::Whole(whole.clone()));
    assert_eq!(fs::read_to_string(folder.path().join("file")).unwrap(), "3");
}

#[test]
fn locks_of_programs_that_are_gone_are_taken_away() {
    let (folder, commits) = repository();
    for lock in ["index.lock", "HEAD.lock", "refs/heads/main.lock", "objects/tmp_obj_a"] {
        fs::write(folder.path().join(".git").join(lock), "").unwrap();
    }
    assert_eq!(look_here(folder.path()), Found::Whole(commits[2].clone()));
    fs::write(folder.path().join("file"), "4").unwrap();
    run(folder.path(), &["git", "commit", "-q", "-a", "-m", "x"]);
}

#[test]
fn where_nothing_can_be_brought_back_another_clone_is_advised() {
    let (folder, _) = repository();
    fs::remove_dir_all(folder.path().join(".git/objects/pack")).unwrap();
    for name in ["HEAD", "HEAD~1", "HEAD~2"].map(|name| run(folder.path(), &["git", "rev-parse", name])) {
        fs::write(object(folder.path(), &name), "").unwrap();
    }
    let Found::Broken(why) = look_here(folder.path()) else { panic!("not seen") };
    assert!(why.contains("clone it again from its remote"), "{why}");
    fs::write(folder.path().join(".git/HEAD"), "").unwrap();
    assert!(matches!(look_here(folder.path()), Found::Broken(why) if why.contains("no repository any more")));
}

#[test]
fn where_nothing_is_there_nothing_is_found() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(look_here(folder.path()), Found::Nothing);
    assert_eq!(look_here(&folder.path().join("none")), Found::Nothing);
    run(folder.path(), &["git", "init", "-q", "-b", "main"]);
    assert_eq!(look_here(folder.path()), Found::Whole("none".into()));
}

#[test]
fn what_a_guest_says_is_no_command() {
    let id = "0".repeat(40);
    let printed = format!("broken x\ngood {id}\nref refs/heads/$(reboot)\n");
    let Found::Broken(why) = read(&printed, "/work") else { panic!("not seen") };
    assert!(!why.contains("reboot"), "{why}");
    let Found::Broken(why) = read("broken x\ngood $(reboot)\n", "/work") else { panic!("not seen") };
    assert!(!why.contains("reboot"), "{why}");
}

/// A repository that may be broken is never taken for one that is not.
#[tokio::test]
async fn what_was_not_looked_at_is_told_as_that() {
    let late = timeout(Duration::ZERO, std::future::pending::<Result<Exit, Status>>()).await;
    let exit = |code, signal| Ok(Ok(Exit { code, signal }));
    for (ended, expected) in [
        (late, "that took over 30 s"),
        (exit(127, 0), "the look ended with exit code 127"),
        (exit(0, 9), "the look was ended by signal 9"),
        (Ok(Err(Status::unavailable("the link is down"))), "the link is down"),
    ] {
        let found = found(ended, b"whole 0123\n", "/work");
        let told = format!("not looked at after its last restart: {expected}; look at it with `git fsck` in /work");
        assert_eq!(found.to_string(), told);
        assert_eq!(found.broken(), None);
    }
    assert_eq!(found(exit(0, 0), b"whole 0123\n", "/work"), Found::Whole("0123".into()));
}
