//! A machine that lacks something: said, with what to do.

use std::{fs, os::unix::fs::symlink, path::Path};

use tests::{Host, wait::SOON};

/// A PATH with everything that this machine has, except what begins with these names.
fn path_without(names: &[&str]) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    for from in ["/usr/sbin", "/usr/bin", "/sbin", "/bin"] {
        for entry in fs::read_dir(from).into_iter().flatten().flatten() {
            let name = entry.file_name();
            if !names.iter().any(|missing| name.to_string_lossy().starts_with(missing)) {
                // The same name from an earlier folder wins, as on any PATH.
                let _ = symlink(Path::new(from).join(&name), folder.path().join(&name));
            }
        }
    }
    let path = folder.path().to_str().unwrap().to_owned();
    (folder, path)
}

/// Waits until the session has failed to start and gives the cause.
fn failed_start(host: &Host) -> String {
    let outcome = host.cli(["new", "--env", "tools", "--title", "hopeless"]);
    if outcome.code != 0 {
        return outcome.stderr;
    }
    host.wait_for("hopeless", "lifecycle", "crashed");
    host.show("hopeless")["cause"].as_str().unwrap().to_owned()
}

#[test]
fn without_qemu() {
    let (_folder, path) = path_without(&["qemu-system"]);
    let host = Host::start_with(&[("PATH", &path)]);
    let problems = host.cli(["host", "show", "--json"]).json()["problems"].to_string();
    assert!(problems.contains("qemu-system-x86"), "{problems}");
    let cause = failed_start(&host);
    assert!(cause.contains("qemu-system-x86_64") && cause.contains("install"), "{cause}");
    assert!(host.vms().is_empty());
    let _ = host.cli(["rm", "--yes", "hopeless"]);
    tests::until("no session", SOON, || host.ls().is_empty().then_some(()));
}

#[test]
fn without_a_kernel_and_without_apt() {
    let (_folder, path) = path_without(&["apt"]);
    let host = Host::empty(&[("PATH", &path)]);
    tests::golden::import_widgets(host.data());
    let recipe = tests::paths::root().join("tests/environments/tools.toml");
    let outcome = host.cli(["env", "build", recipe.to_str().unwrap()]);
    outcome.assert_failed(4, &["kernel", "apt", "install"]);
    let builds = fs::read_dir(host.data().join("builds")).into_iter().flatten().count();
    assert_eq!((builds, host.vms().len()), (0, 0));
    host.cli(["new", "--env", "tools", "try"]).assert_failed(4, &["tools"]);
    assert!(host.ls().is_empty());
}
