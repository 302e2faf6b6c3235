//! With real git.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _, path::Path, process::Command};

use bytes::Bytes;
use hostd_core::diff::{Kind, Status};

use super::*;
use crate::forge::BareRepositories;

/// A data folder with a repository `a`, and a clone of it to work in.
struct World {
    folder: tempfile::TempDir,
    diffs: Diffs,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let diffs = Diffs::open(folder.path(), BareRepositories::at(folder.path().join("git"))).unwrap();
        let world = Self { folder, diffs };
        std::fs::create_dir(world.folder.path().join("git")).unwrap();
        let at = world.folder.path().to_owned();
        run(&at, &["init", "-q", "--bare", "-b", "main", "git/a.git"]);
        run(&at, &["clone", "-q", "git/a.git", "work"]);
        run(&world.work(), &["checkout", "-q", "-b", "main"]);
        world
    }

    fn work(&self) -> PathBuf {
        self.folder.path().join("work")
    }

    fn write(&self, path: impl AsRef<Path>, contents: impl AsRef<[u8]>) {
        let path = self.work().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, contents).unwrap();
    }

    /// Commits and pushes everything as a branch.
    fn commit(&self, branch: &str) {
        run(&self.work(), &["add", "-A"]);
        run(&self.work(), &["commit", "-q", "-m", "x"]);
        run(&self.work(), &["push", "-q", "-f", "origin", &format!("HEAD:refs/heads/{branch}")]);
    }

    async fn between(&self, old: &str, new: &str, wish: Wish) -> Seen {
        let revisions = Revisions { repository: "a".into(), old: old.into(), new: new.into(), since_merge_base: false };
        seen(self.diffs.revisions(&revisions, wish).await.unwrap()).await
    }
}

fn run(directory: &Path, args: &[&str]) -> String {
    let mut git = Command::new("git");
    git.current_dir(directory).env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
    let output = git.args(["-c", "user.name=a", "-c", "user.email=a@b"]).args(args).output().unwrap();
    assert!(output.status.success(), "{args:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A whole difference.
#[derive(Debug, Default)]
struct Seen {
    start: Start,
    files: Vec<File>,
    cut: bool,
    ends: Vec<Option<FileEnd>>,
    /// Lines of each file with their signs.
    lines: Vec<String>,
    pieces: usize,
}

async fn seen(mut answers: Answers) -> Seen {
    let mut seen = Seen::default();
    let Some(Ok(Answer::Start(start))) = answers.recv().await else { panic!("no start") };
    seen.start = start;
    let mut listed = false;
    while let Some(answer) = answers.recv().await {
        match answer.unwrap() {
            Answer::Start(_) => panic!("started twice"),
            Answer::Files(files) => seen.files.extend(files),
            Answer::Listed { files, cut } => {
                assert_eq!(files as usize, seen.files.len());
                (listed, seen.cut) = (true, cut);
                seen.ends.resize(seen.files.len(), None);
                seen.lines.resize(seen.files.len(), String::new());
            }
            Answer::Piece(piece) => {
                assert!(listed);
                seen.pieces += 1;
                let file = piece.file as usize;
                for line in piece.hunks.iter().flat_map(|hunk| &hunk.lines) {
                    assert!(line.text.len() <= pieces::BYTES);
                    seen.lines[file].push(match line.kind {
                        Kind::Context => ' ',
                        Kind::Removed => '-',
                        Kind::Added => '+',
                    });
                    seen.lines[file] += &String::from_utf8_lossy(&line.text);
                    seen.lines[file] += match line.ending {
                        Ending::Newline => "\n",
                        Ending::None => "\\\n",
                        Ending::GoesOn => "...\n",
                    };
                }
                seen.ends[file] = piece.end.or(seen.ends[file]);
            }
            Answer::End(_) => {
                assert!(answers.recv().await.is_none());
                return seen;
            }
        }
    }
    panic!("it ended early: {seen:?}");
}

impl Seen {
    fn file(&self, path: impl AsRef<[u8]>) -> (&File, FileEnd, &str) {
        let path = path.as_ref();
        let found = self.files.iter().position(|file| file.change.new_path == path);
        let at = found.unwrap_or_else(|| panic!("no {}: {:?}", path.escape_ascii(), self.files));
        (&self.files[at], self.ends[at].unwrap(), &self.lines[at])
    }
}

#[tokio::test]
async fn all_kinds_of_changes() {
    let world = World::new();
    let numbers: String = (0..100).map(|n| format!("{n}\n")).collect();
    for (path, contents) in [("changed", "a\nb\n"), ("gone", "x\n"), ("mode", "m\n"), ("kind", "k\n"), ("latin", "\n")]
    {
        world.write(path, contents);
    }
    world.write("moved", &numbers);
    world.write("binary", b"\0a");
    world.commit("main");
    world.write("changed", "a\nc");
    world.write("latin", b"caf\xe9\n");
    world.write("binary", b"\0b");
    world.write("new dir/\u{fc}", "new\n");
    std::fs::remove_file(world.work().join("gone")).unwrap();
    run(&world.work(), &["mv", "moved", "to"]);
    world.write("to", numbers.replace("50\n", "fifty\n"));
    run(&world.work(), &["update-index", "--chmod=+x", "mode"]);
    std::fs::set_permissions(world.work().join("mode"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    std::fs::remove_file(world.work().join("kind")).unwrap();
    std::os::unix::fs::symlink("changed", world.work().join("kind")).unwrap();
    world.commit("topic");
    let seen = world.between("main", "topic", Wish::default()).await;
    assert_eq!((seen.start.old.len(), seen.cut, seen.files.len()), (40, false, 9), "{seen:?}");
    let (file, end, lines) = seen.file("changed");
    assert_eq!((lines, end.contents, end.added, end.removed), (" a\n-b\n+c\\\n", Compared::Text, 1, 1));
    assert_eq!((file.old_bytes, file.new_bytes), (Some(4), Some(3)));
    let (file, end, _) = seen.file("to");
    assert_eq!((file.change.status, &file.change.old_path[..]), (Status::Renamed, &b"moved"[..]));
    assert!(file.change.similarity > 90 && (end.added, end.removed) == (1, 1));
    assert_eq!(seen.file("new dir/\u{fc}").2, "+new\n");
    assert_eq!(seen.file("gone").2, "-x\n");
    assert_eq!(seen.file("binary").1.contents, Compared::Binary);
    let (file, end, _) = seen.file("mode");
    assert_eq!((file.change.old_mode.0, file.change.new_mode.0, end.contents), (0o100_644, 0o100_755, Compared::Same));
    assert!(seen.file("latin").1.not_utf8 && !seen.file("changed").1.not_utf8);
    let kinds: Vec<_> = seen.files.iter().filter(|f| f.change.new_path == b"kind").map(|f| f.change.status).collect();
    assert_eq!(kinds, [Status::Deleted, Status::Added]);
}

/// git has paths of any bytes but NUL, and so they come.
#[tokio::test]
async fn paths_need_not_be_utf8() {
    let world = World::new();
    let write = |path: &[u8], contents: &str| world.write(OsStr::from_bytes(path), contents);
    write(b"bad\xff.txt", "one\n");
    write(b"bad\xfe.txt", "other\n");
    write(b"d\xe9\n/\x1b[2J", &"many lines\n".repeat(20));
    world.commit("main");
    write(b"bad\xff.txt", "two\n");
    write(b"bad\xfe.txt", "another\n");
    write(b"\x80 \"new\"", "new\n");
    let moved = [&b"d\xe9\n/\x1b[2J"[..], b"moved\xc3"].map(|path| world.work().join(OsStr::from_bytes(path)));
    std::fs::rename(&moved[0], &moved[1]).unwrap();
    world.commit("topic");
    let seen = world.between("main", "topic", Wish::default()).await;
    assert_eq!(seen.files.len(), 4, "{seen:?}");
    assert_eq!(seen.file(b"bad\xff.txt").2, "-one\n+two\n");
    assert_eq!(seen.file(b"bad\xfe.txt").2, "-other\n+another\n");
    assert_eq!(seen.file(b"\x80 \"new\"").2, "+new\n");
    let (file, end, _) = seen.file(b"moved\xc3");
    assert_eq!((file.change.status, &file.change.old_path[..]), (Status::Renamed, &b"d\xe9\n/\x1b[2J"[..]));
    // Only contents count for this.
    assert!(!end.not_utf8);
    let one = Wish { paths: vec![Bytes::from_static(b"bad\xff.txt")], ..Wish::default() };
    let seen = world.between("main", "topic", one).await;
    assert_eq!((seen.files.len(), seen.file(b"bad\xff.txt").2), (1, "-one\n+two\n"));
}

#[tokio::test]
async fn only_what_is_wished_for() {
    let world = World::new();
    world.write("a", "1\n2\n3\n");
    world.write("d/b", "1\n");
    world.commit("main");
    world.write("a", "1\n2\nthree\n");
    world.write("d/b", "2\n");
    world.commit("topic");
    let list = world.between("main", "topic", Wish { detail: Detail::List, ..Wish::default() }).await;
    assert_eq!((list.files.len(), list.pieces), (2, 0));
    let counts = world.between("main", "topic", Wish { detail: Detail::Counts, ..Wish::default() }).await;
    assert_eq!((counts.file("a").1.added, counts.file("a").2), (1, ""));
    let below = world.between("main", "topic", Wish { paths: vec!["d".into()], context: 0, ..Wish::default() }).await;
    assert_eq!((below.files.len(), below.file("d/b").2), (1, "-1\n+2\n"));
    let cut = world.between("main", "topic", Wish { file_bytes: Some(3), ..Wish::default() }).await;
    assert_eq!((cut.file("a").1.cut, cut.file("a").2), (true, " 1\n 2\n-3\n"));
    let none = world.between("", "main", Wish::default()).await;
    assert!(none.files.is_empty());
}

#[tokio::test]
async fn since_the_merge_base() {
    let world = World::new();
    world.write("a", "1\n");
    world.commit("main");
    world.write("b", "2\n");
    world.commit("topic");
    run(&world.work(), &["reset", "-q", "--hard", "HEAD~1"]);
    world.write("c", "3\n");
    world.commit("main");
    let mut revisions =
        Revisions { repository: "a".into(), old: "main".into(), new: "topic".into(), since_merge_base: true };
    let seen = seen(world.diffs.revisions(&revisions, Wish::default()).await.unwrap()).await;
    assert_eq!((seen.files.len(), seen.file("b").2), (1, "+2\n"));
    run(&world.work(), &["checkout", "-q", "--orphan", "other"]);
    world.commit("other");
    revisions.new = "other".into();
    let error = world.diffs.revisions(&revisions, Wish::default()).await.unwrap_err();
    assert!(matches!(error, DiffError::NoMergeBase { .. }), "{error}");
}

#[tokio::test]
async fn what_cannot_be_compared_is_said() {
    let world = World::new();
    world.write("a", "1\n");
    world.commit("main");
    for revision in ["nothing", "--help", "main:a", "a b", "main^{tree}", "x\ny", &"x".repeat(300), "@{99}"] {
        let revisions =
            Revisions { repository: "a".into(), old: "main".into(), new: revision.into(), since_merge_base: false };
        let error = world.diffs.revisions(&revisions, Wish::default()).await.unwrap_err();
        assert!(matches!(error, DiffError::NoRevision { .. } | DiffError::Invalid(_)), "{revision}: {error}");
    }
    for name in ["b", "../a", "a.git/../a", ""] {
        let revisions = Revisions { repository: name.into(), old: "".into(), new: "".into(), since_merge_base: false };
        let error = world.diffs.revisions(&revisions, Wish::default()).await.unwrap_err();
        assert!(matches!(error, DiffError::NoRepository(_)), "{name}: {error}");
    }
    let revisions = Revisions { repository: "a".into(), old: "".into(), new: "".into(), since_merge_base: false };
    for wish in [
        Wish { context: 101, ..Wish::default() },
        Wish { paths: vec![Bytes::new()], ..Wish::default() },
        Wish { paths: vec!["a".into(); 257], ..Wish::default() },
    ] {
        let error = world.diffs.revisions(&revisions, wish).await.unwrap_err();
        assert!(matches!(error, DiffError::Invalid(_)), "{error}");
    }
}

#[tokio::test]
async fn long_lines_and_long_files_come_in_pieces() {
    let world = World::new();
    world.write("line", "x");
    world.write("lines", "");
    world.commit("main");
    let long = "y".repeat(3 * pieces::BYTES - 1);
    world.write("line", &long);
    world.write("lines", "z\n".repeat(5000));
    world.commit("topic");
    let seen = world.between("main", "topic", Wish::default()).await;
    let (_, _, lines) = seen.file("line");
    assert_eq!(lines.replace("...\n+", ""), format!("-x\\\n+{long}\\\n"));
    assert_eq!((seen.file("lines").1.added, seen.file("lines").2.len()), (5000, 3 * 5000));
    assert!(seen.pieces >= 7, "{}", seen.pieces);
}

#[tokio::test]
async fn many_files_are_listed_before_the_first_is_compared() {
    let world = World::new();
    world.write("a", "1\n");
    world.commit("main");
    for n in 0..1500 {
        world.write(format!("d{}/{n}", n % 7), format!("{n}\n"));
    }
    world.commit("topic");
    let seen = world.between("main", "topic", Wish::default()).await;
    assert_eq!((seen.files.len(), seen.pieces), (1500, 1500));
    assert_eq!(seen.file("d3/10").2, "+10\n");
    assert!(seen.ends.iter().all(Option::is_some));
}

#[tokio::test]
async fn git_ends_when_nobody_reads_any_more() {
    let world = World::new();
    world.write("a", "1\n");
    world.commit("main");
    world.write("a", "2\n".repeat(1 << 20));
    world.commit("topic");
    let revisions =
        Revisions { repository: "a".into(), old: "main".into(), new: "topic".into(), since_merge_base: false };
    let mut answers = world.diffs.revisions(&revisions, Wish::default()).await.unwrap();
    assert!(matches!(answers.recv().await, Some(Ok(Answer::Start(_)))));
    let mark = world.folder.path().join("git/a.git").into_os_string().into_string().unwrap();
    let ours = || {
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        let lines = processes.filter_map(|process| std::fs::read(process.path().join("cmdline")).ok());
        lines.filter(|line| String::from_utf8_lossy(line).contains(&mark)).count()
    };
    assert!(ours() > 0);
    drop(answers);
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(30);
    while ours() > 0 {
        assert!(tokio::time::Instant::now() < deadline, "git still runs");
        tokio::task::yield_now().await;
    }
}
