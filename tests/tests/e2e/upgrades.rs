//! What a suspended session was made with changes: an upgrade strands nobody whose files are kept, and whoever cannot be
//! resumed is told why and keeps everything.

use std::{
    collections::BTreeMap,
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use tests::Host;

fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.map(|file| (file.clone(), fs::read(file).unwrap())).collect()
}

/// A suspended session with something in memory alone, and something on disk.
fn suspended(host: &Host, title: &str) -> String {
    let id = host.session(title, &["sleep", "1000000"]);
    let _ = host.exec(&id, &["sh", "-c", "echo kept >/root/kept; echo remembered >/run/memory"]).text();
    let _ = host.cli(["suspend", &id]).text();
    id
}

/// It cannot be resumed, but booted from its disk, and until then nothing of it is touched.
fn refused(host: &Host, id: &str, said: &str) {
    let snapshot = host.data().join("sessions").join(id).join("snapshot");
    let before = contents(&snapshot);
    host.cli(["resume", id]).assert_failed(4, &[said, "or restart it"]);
    let shown = host.show(id);
    assert_eq!((&shown["lifecycle"], &shown["attention"]), (&"suspended".into(), &"you".into()), "{shown}");
    assert_eq!(contents(&snapshot), before, "the snapshot was changed");
    host.wait_for_no_vm();
    let _ = host.cli(["restart", "--yes", id]).text();
    host.wait_for(id, "lifecycle", "running");
    assert_eq!(host.exec(id, &["cat", "/root/kept"]).text(), "kept");
    assert!(host.exec(id, &["cat", "/run/memory"]).code != 0, "it was not booted");
    let _ = host.cli(["rm", "--yes", id]).text();
}

#[test]
fn a_newer_guest_strands_nobody() {
    let mut host = Host::start();
    let id = suspended(&host, "older");
    // The same program, with something behind it that nobody reads.
    let mut newer = fs::read(tests::paths::program("pilothouse-guest-static")).unwrap();
    newer.extend(b"newer");
    let guest = host.data().join("newer-guest");
    fs::write(&guest, newer).unwrap();
    fs::set_permissions(&guest, Permissions::from_mode(0o755)).unwrap();
    host.stop();
    host.set("PILOTHOUSE_GUEST", guest.to_str().unwrap());
    host.launch();
    let _ = host.cli(["resume", &id]).text();
    assert_eq!(host.exec(&id, &["cat", "/run/memory"]).text(), "remembered");
    let _ = host.cli(["suspend", &id]).text();
    fs::remove_dir_all(host.data().join("initramfs")).unwrap();
    refused(&host, &id, "its initramfs was");
}

#[test]
fn another_qemu_and_a_deleted_template_are_named() {
    let host = Host::start();
    let (other, orphan) = (suspended(&host, "other"), suspended(&host, "orphan"));
    let manifest = host.data().join("sessions").join(&other).join("snapshot/manifest.json");
    let mut text: serde_json::Value = serde_json::from_slice(&fs::read(&manifest).unwrap()).unwrap();
    text["requirements"]["qemu"] = "0".repeat(64).into();
    fs::write(&manifest, text.to_string()).unwrap();
    refused(&host, &other, "another build of QEMU");
    host.boot_only();
    refused(&host, &orphan, "template/manifest.json");
}
