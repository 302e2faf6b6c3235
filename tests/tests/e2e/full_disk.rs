//! A host whose disk is full: nothing is lost, it is said, and it goes on when there is room.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{ErrorKind, Write as _},
    path::{Path, PathBuf},
    process::Stdio,
};

use tests::{Host, until, wait::SOON};

const MIB: u64 = 1 << 20;
/// Random bytes that the guest holds in memory: each of its snapshots is at least as large.
const KEPT: u64 = 8 * MIB;
/// Left free beside the filler.
const LEFT: u64 = 5 * MIB;

/// Takes all room but what the guest's own housekeeping needs: a snapshot needs more, with [`KEPT`] random bytes in it.
fn fill(host: &Host) -> PathBuf {
    let path = host.sessions().join("filler");
    let mut file = File::create(&path).unwrap();
    let mut bytes = 0;
    let full = loop {
        match file.write(&[1; 64 << 10]) {
            Ok(written) => bytes += written as u64,
            Err(error) => break error,
        }
    };
    assert_eq!(full.kind(), ErrorKind::StorageFull);
    file.set_len(bytes - LEFT).unwrap();
    path
}

/// Names in a folder of hostd's, in order.
fn names(folder: &Path) -> Vec<OsString> {
    let mut names: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    names
}

#[test]
fn a_fork_that_finds_no_room_leaves_nothing() {
    let host = Host::start_cramped(128 * MIB);
    let id = host.session("cramped", &["sleep", "1000000"]);
    let read = |id: &str, script: &str| host.exec(id, &["sh", "-c", script]).text();
    read(&id, &format!("head -c {KEPT} /dev/urandom >/run/kept; sync"));
    let kept = read(&id, "md5sum </run/kept");
    let folder = host.sessions().join(&id);
    let before = (names(&host.sessions()), names(&folder), host.show(&id)["generation"].clone());

    let filler = fill(&host);
    host.cli(["fork", &id])
        .assert_failed(1, &["could not be forked", "No space left", "make room on the host's disk and fork it again"]);
    assert_eq!(host.show(&id)["lifecycle"], "running");
    assert_eq!(read(&id, "md5sum </run/kept"), kept);
    fs::remove_file(&filler).unwrap();
    assert_eq!(host.ls().len(), 1);
    assert_eq!((names(&host.sessions()), names(&folder), host.show(&id)["generation"].clone()), before);

    let fork = host.cli(["fork", &id]).text();
    host.wait_for(&fork, "lifecycle", "running");
    assert_eq!([read(&id, "md5sum </run/kept"), read(&fork, "md5sum </run/kept")], [kept.clone(), kept]);
}

#[test]
fn a_session_outlives_a_full_disk() {
    let host = Host::start_cramped(96 * MIB);
    let id = host.session("cramped", &["sleep", "1000000"]);
    let read = |script: &str| host.exec(&id, &["sh", "-c", script]).text();
    read(&format!("head -c {KEPT} /dev/urandom >/run/kept; sync"));
    let kept = read("md5sum </run/kept");

    // No room for the snapshot.
    let filler = fill(&host);
    host.cli(["suspend", &id])
        .assert_failed(1, &["not suspended: ", "No space left", "make room on the host's disk and suspend it again"]);
    assert_eq!(host.show(&id)["lifecycle"], "running");
    assert_eq!(read("md5sum </run/kept"), kept);
    fs::remove_file(&filler).unwrap();
    let _ = host.cli(["suspend", &id]).text();

    // Nor for the next one: the one before is as it was.
    let manifest = host.sessions().join(&id).join("snapshot/manifest.json");
    let good = fs::read(&manifest).unwrap();
    let filler = fill(&host);
    assert_eq!(read("md5sum </run/kept"), kept);
    host.cli(["suspend", &id]).assert_failed(1, &["not suspended: ", "No space left"]);
    assert_eq!(fs::read(&manifest).unwrap(), good);

    // Nor for what the guest writes.
    let mut writer = host.pilothouse();
    writer.args(["exec", &id, "--", "sh", "-c", "head -c 20M /dev/urandom >/root/big; sync; echo written"]);
    let writer = writer.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let reason = || host.show(&id)["reason"].as_str().unwrap().to_owned();
    until("the VM to stand still", SOON, || reason().contains("disk is full").then_some(()));
    assert_eq!(host.show(&id)["lifecycle"], "running");
    fs::remove_file(&filler).unwrap();
    until("the VM to go on", SOON, || (!reason().contains("disk is full")).then_some(()));
    // It goes on, and is not done yet.
    let written = writer.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&written.stdout), "written\n");
    assert_eq!(read("wc -c </root/big; md5sum </run/kept"), format!("{}\n{kept}", 20 * MIB));
}

/// Takes whatever room is left, as guests would. What it has then.
fn take_all(path: &Path) -> u64 {
    let mut file = File::options().create(true).append(true).open(path).unwrap();
    while file.write(&[1; 4096]).is_ok() {}
    file.metadata().unwrap().len()
}

#[test]
fn a_full_disk_can_be_looked_at_and_cleared_also_by_the_next_hostd() {
    let mut host = Host::start_small(96 * MIB);
    let [first, second, third, fourth] = ["first", "second", "third", "fourth"].map(|title| host.session(title, &[]));
    let (filler, ballast) = (host.seen("filler"), host.seen("ballast"));
    let kept = || fs::metadata(&ballast).map_or(0, |metadata| metadata.len());
    let whole = until("room to be kept aside", SOON, || Some(kept()).filter(|kept| *kept > 8 * MIB));

    let _ = take_all(&filler);
    assert_eq!(host.ls().len(), 4);
    let _ = host.cli(["rm", "--yes", &first]).text();
    assert_eq!(host.ls().len(), 3);
    assert!(kept() < whole, "nothing was given up");

    let _ = take_all(&filler);
    host.kill();
    let _ = take_all(&filler);
    host.launch();
    assert_eq!(host.ls().len(), 3);
    let _ = take_all(&filler);
    let _ = host.cli(["rm", "--yes", &second]).text();
    assert_eq!(host.ls().len(), 2);
    let largest = host.cli(["host", "show", "--json"]).json()["accounts"]["sessions"][0].clone();
    assert!([&third, &fourth].iter().any(|id| largest["slug"] == host.slug(id)), "{largest}");

    // Once all of it is given up, it is said what to do.
    let said = until("all of it to be given up", SOON, || {
        let _ = take_all(&filler);
        let outcome = host.cli(["new", "--env", "tools", "--title", "more"]);
        (outcome.code != 0).then_some(outcome)
    });
    said.assert_failed(1, &["the host's disk is full", "pilothouse rm", "pilothouse host show"]);
    let all = host.ls().len();
    // Nor does a deletion then need any, also where the next hostd was the last to be given some.
    host.kill();
    let _ = take_all(&filler);
    host.launch();
    let _ = take_all(&filler);
    assert_eq!(kept(), 0);
    let _ = host.cli(["rm", "--yes", &third]).text();
    assert_eq!(host.ls().len(), all - 1);

    fs::remove_file(&filler).unwrap();
    until("room to be kept aside again", SOON, || (kept() == whole).then_some(()));
    let _ = host.cli(["rm", "--yes", &fourth]).text();
}
