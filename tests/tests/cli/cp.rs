//! `cp`: files and folders into a session and out of it, whose end there is the real one.

use std::{fs, os::unix::fs::symlink, path::Path};

use rstest::rstest;
use tempfile::TempDir;
use tokio::time::timeout;

use crate::{
    fake::{Fake, session},
    program::{DEADLINE, until},
};

/// A fake whose session's files are this machine's, and a folder for them and for those here.
async fn fake() -> (Fake, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    for name in ["here", "there"] {
        fs::create_dir(folder.path().join(name)).unwrap();
    }
    (Fake::start(vec![session("alpha")]).await, folder)
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn folders_go_there_and_back() {
    let (fake, folder) = fake().await;
    let (here, there) = (folder.path().join("here"), folder.path().join("there"));
    fs::create_dir_all(here.join("src/deep")).unwrap();
    fs::write(here.join("src/deep/a b"), "text").unwrap();
    symlink("deep", here.join("src/link")).unwrap();
    fs::write(here.join("-x"), "dash").unwrap();
    let (local, dashed) = (here.join("src"), here.join("-x"));
    let remote = format!("alpha:{}", there.display());
    let ran = fake.run(&["cp", "--json", local.to_str().unwrap(), dashed.to_str().unwrap(), &remote]).await;
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    let told = ran.json();
    assert_eq!(
        (&told[0]["files"], &told[0]["folders"], &told[0]["links"]),
        (&1.into(), &2.into(), &1.into()),
        "{told}"
    );
    assert_eq!((&told[1]["bytes"], &told[1]["whole"]), (&4.into(), &true.into()), "{told}");
    assert_eq!(names(&there), ["-x", "src"]);

    let back = here.join("back");
    let ran = fake.run(&["cp", &format!("{remote}/src"), back.to_str().unwrap()]).await;
    assert_eq!((ran.code, ran.text(), ran.stderr.as_str()), (0, "", ""));
    assert_eq!(fs::read_to_string(back.join("deep/a b")).unwrap(), "text");
    assert_eq!(fs::read_link(back.join("link")).unwrap(), Path::new("deep"));
}

/// Neither end writes over what is there, unless it is told to.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_there_is_kept_without_force() {
    let (fake, folder) = fake().await;
    let (here, there) = (folder.path().join("here"), folder.path().join("there"));
    fs::write(here.join("f"), "here").unwrap();
    fs::write(there.join("f"), "there").unwrap();
    let (local, remote) = (here.join("f"), format!("alpha:{}", there.join("f").display()));
    let local = local.to_str().unwrap();
    for sides in [[local, &remote], [&remote, local]] {
        let ran = fake.run(&["cp", sides[0], sides[1]]).await;
        assert!(ran.code == 4 && ran.stderr.contains("error: f is there already"), "{ran:?}");
        assert!(ran.stderr.contains("--force"), "{ran:?}");
    }
    assert_eq!(fs::read_to_string(here.join("f")).unwrap(), "here");
    assert_eq!(fs::read_to_string(there.join("f")).unwrap(), "there");
    assert_eq!(fake.run(&["cp", "-f", &remote, local]).await.code, 0);
    assert_eq!(fs::read_to_string(here.join("f")).unwrap(), "there");
}

#[rstest]
#[case(&["HERE/f", "HERE/g"], 2, "neither side is in a session")]
#[case(&["alpha:a", "alpha:b"], 2, "both sides are in sessions")]
#[case(&["alpha:a", "alpha:b", "HERE/f"], 2, "is no folder, and several are copied to it")]
#[case(&["alpha:..", "HERE"], 2, "say what it is to be called: ")]
#[case(&["HERE/missing", "alpha:/tmp/"], 1, "No such file or directory")]
#[case(&["alpha:THERE/missing", "HERE"], 1, "THERE/missing: No such file or directory")]
#[case(&["HERE/f", "alpha:THERE/missing/"], 1, "THERE/missing/: No such file or directory")]
#[case(&["HERE/f", "HERE/f", "alpha:THERE/missing"], 1, "THERE/missing/: No such file or directory")]
#[case(&["alpha:THERE/f", "HERE/missing/"], 1, "HERE/missing/: No such file or directory")]
#[case(&["beta:THERE/f", "HERE"], 3, "there is no such session")]
#[case(&["--limit", "0", "alpha:THERE/f", "HERE"], 2, "such as 500M or 16G")]
#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_told(#[case] arguments: &[&str], #[case] code: i32, #[case] want: &str) {
    let (fake, folder) = fake().await;
    let there = |text: &str| {
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        text.replace("THERE", &path("there")).replace("HERE", &path("here"))
    };
    for name in ["here", "there"] {
        fs::write(folder.path().join(name).join("f"), "f").unwrap();
    }
    let arguments: Vec<String> = arguments.iter().map(|argument| there(argument)).collect();
    let arguments: Vec<&str> = ["cp"].into_iter().chain(arguments.iter().map(String::as_str)).collect();
    let ran = fake.run(&arguments).await;
    assert!(ran.code == code && ran.stderr.contains(&there(want)), "{ran:?}");
    assert_eq!(
        (names(&folder.path().join("here")), names(&folder.path().join("there"))),
        (vec!["f".into()], vec!["f".into()])
    );
}

/// Either way, although nobody tidies up at the end that is killed.
#[rstest]
#[case::out("there", "here")]
#[case::into("here", "there")]
#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_leaves_no_half_file(#[case] from: &str, #[case] to: &str) {
    let (fake, folder) = fake().await;
    let (from, to) = (folder.path().join(from), folder.path().join(to));
    // It takes more than the moment until Ctrl-C.
    fs::File::create(from.join("large")).unwrap().set_len(64 << 30).unwrap();
    let there = folder.path().join("there");
    let side = |path: &Path| format!("{}{}", if path.starts_with(&there) { "alpha:" } else { "" }, path.display());
    let sides = [side(&from.join("large")), side(&to)];
    let mut child = fake.command(&["cp", "--limit", "64G", &sides[0], &sides[1]]).spawn().unwrap();
    until("it to be read", || is_read(&from.join("large"))).await;
    let pid = rustix::process::Pid::from_raw(child.id().unwrap() as i32).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert_eq!(timeout(DEADLINE, child.wait()).await.unwrap().unwrap().code(), Some(130));
    until("the other end to be gone", || !is_read(&from.join("large"))).await;
    assert_eq!(names(&to), Vec::<String>::new());
}

/// Whether a process has the file open.
fn is_read(path: &Path) -> bool {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let files = processes.filter_map(|process| fs::read_dir(process.path().join("fd")).ok()).flatten().flatten();
    files.filter_map(|file| fs::read_link(file.path()).ok()).any(|open| open == path)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_gives_no_more_than_is_taken() {
    let (fake, folder) = fake().await;
    let (here, there) = (folder.path().join("here"), folder.path().join("there"));
    fs::File::create(there.join("large")).unwrap().set_len(4 << 20).unwrap();
    let from = format!("alpha:{}", there.join("large").display());
    let ran = fake.run(&["cp", "--limit", "3M", &from, here.to_str().unwrap()]).await;
    assert!(ran.code == 1 && ran.stderr.contains("has more than 3145728 bytes"), "{ran:?}");
    assert!(ran.stderr.contains("--limit"), "{ran:?}");
    assert_eq!(names(&here), Vec::<String>::new());
}
