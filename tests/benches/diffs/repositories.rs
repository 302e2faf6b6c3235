//! Repositories with branches `main` and `topic`, made by `git fast-import`.

use std::{
    io::Write,
    process::{Command, Stdio},
};

use tests::Host;

const FILES: usize = 20_000;
/// Of about 52 bytes each.
const LINES: usize = 1_000_000;

/// Writes what `git fast-import` reads.
pub(crate) type Make = fn(&mut dyn Write);

/// Makes a repository of the host's.
pub(crate) fn import(host: &Host, name: &str, make: Make) {
    let path = host.data().join("git").join(format!("{name}.git"));
    let init = Command::new("git").args(["init", "-q", "--bare", "-b", "main"]).arg(&path).status().unwrap();
    assert!(init.success());
    let mut git = Command::new("git");
    let mut git = git.arg("-C").arg(&path).args(["fast-import", "--quiet"]).stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = std::io::BufWriter::new(git.stdin.take().unwrap());
    make(&mut stdin);
    drop(stdin);
    assert!(git.wait().unwrap().success());
}

/// A line changed in each of many small files.
pub(crate) fn many_files(out: &mut dyn Write) {
    let lines = |n: usize, changed: &str| -> String {
        (0..10).map(|line| format!("file {n} line {line} {}\n", if line == 5 { changed } else { "stays" })).collect()
    };
    for (branch, word) in [("main", "was"), ("topic", "is now")] {
        commit(out, branch);
        for n in 0..FILES {
            file(out, &format!("d{}/e{}/{n}.txt", n % 40, n / 40 % 20), lines(n, word).as_bytes());
        }
    }
}

/// A line of a thousand changed in a large file.
pub(crate) fn large_file_in_places(out: &mut dyn Write) {
    large(out, |line| line % 1000 == 500);
}

/// Every line of a large file changed.
pub(crate) fn large_file_everywhere(out: &mut dyn Write) {
    large(out, |_| true);
}

fn large(out: &mut dyn Write, changes: fn(usize) -> bool) {
    for (branch, word) in [("main", "was"), ("topic", "now")] {
        commit(out, branch);
        let mut text = Vec::with_capacity(LINES * 54);
        for line in 0..LINES {
            let word = if changes(line) { word } else { "..." };
            writeln!(text, "line {line:07} {word} of a file that is as large as fifty").unwrap();
        }
        file(out, "large.txt", &text);
    }
}

fn commit(out: &mut dyn Write, branch: &str) {
    writeln!(out, "commit refs/heads/{branch}\ncommitter A <a@b.invalid> 0 +0000\ndata 1\nx").unwrap();
    if branch != "main" {
        writeln!(out, "from refs/heads/main").unwrap();
    }
}

fn file(out: &mut dyn Write, path: &str, contents: &[u8]) {
    writeln!(out, "M 100644 inline {path}\ndata {}", contents.len()).unwrap();
    out.write_all(contents).unwrap();
    writeln!(out).unwrap();
}
