//! hostd as a service: what it tells systemd, and how it is installed, replaced and removed.

use std::{
    fs,
    io::ErrorKind,
    os::unix::{fs::PermissionsExt as _, net::UnixDatagram},
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use tests::{Host, Outcome, paths, run, wait::SOON};

fn hostd(arguments: &[&str]) -> Outcome {
    run(Command::new(paths::program("hostd")).args(arguments), &[])
}

/// Waits for a message to systemd with this line.
fn hears(socket: &UnixDatagram, line: &str) {
    let until = Instant::now() + SOON;
    let mut message = [0; 4096];
    while Instant::now() < until {
        match socket.recv(&mut message) {
            Ok(bytes) if String::from_utf8_lossy(&message[..bytes]).lines().any(|said| said == line) => return,
            Ok(_) => {}
            Err(error) => assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}"),
        }
    }
    panic!("systemd was not told {line}");
}

#[test]
fn systemd_hears_that_hostd_serves_lives_and_ends() {
    // Short: a socket's path has 107 bytes.
    let folder = tempfile::Builder::new().prefix("pilothouse-test-").tempdir().unwrap();
    let address = folder.path().join("notify");
    let socket = UnixDatagram::bind(&address).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    let environment = [("NOTIFY_SOCKET", address.to_str().unwrap()), ("WATCHDOG_USEC", "300000")];
    let mut host = Host::empty(&environment);
    hears(&socket, "READY=1");
    // More than one: it goes on.
    hears(&socket, "WATCHDOG=1");
    hears(&socket, "WATCHDOG=1");
    host.stop();
    hears(&socket, "STOPPING=1");
}

#[test]
fn what_is_installed_is_upgraded_and_removed_and_nobody_is_asked_where_nobody_is() {
    let root = paths::folder();
    let into = root.path().to_str().unwrap();
    let installed = |path: &str| root.path().join(path);
    let planned = hostd(&["install", "--system", "--root", into, "--dry-run"]).text();
    assert!(planned.contains("/usr/local/bin/hostd\n") && !installed("usr").exists(), "{planned}");
    let _ = hostd(&["install", "--system", "--root", into]).text();
    let same = |path: &str, as_of: &Path| fs::read(installed(path)).unwrap() == fs::read(as_of).unwrap();
    assert!(same("usr/local/bin/hostd", &paths::program("hostd")));
    assert!(same("usr/local/bin/pilothouse-guest-static", &paths::program("pilothouse-guest-static")));
    let completions = fs::read_to_string(installed("usr/local/share/bash-completion/completions/pilothouse")).unwrap();
    assert!(completions.contains("pilothouse"), "{completions}");
    let program = installed("usr/local/bin/hostd");
    assert!(run(Command::new(&program).arg("--version"), &[]).text().starts_with("hostd "));
    // hostd keeps what it makes to itself, but for this.
    let mode = |path: &str| fs::metadata(installed(path)).unwrap().permissions().mode() & 0o777;
    let open = ["usr", "usr/local/bin", "usr/local/bin/hostd", "usr/local/share/zsh/site-functions", "etc/systemd"];
    assert_eq!(open.map(mode), [0o755; 5]);
    let folder = paths::bin();
    let upgrade = || hostd(&["upgrade", folder.to_str().unwrap(), "--system", "--root", into]).text();
    let _ = upgrade();
    assert!(!installed("usr/local/bin/hostd.old").exists(), "it is the same");
    fs::write(&program, "an older one").unwrap();
    for _ in 0..2 {
        assert!(upgrade().contains("mv -f "));
        assert_eq!(fs::read_to_string(installed("usr/local/bin/hostd.old")).unwrap(), "an older one");
        assert!(same("usr/local/bin/hostd", &paths::program("hostd")));
    }
    hostd(&["upgrade", "/bin/true", "--system", "--root", into]).assert_failed(1, &["is not called hostd"]);
    hostd(&["uninstall", "--system", "--root", into]).assert_failed(2, &["say --yes"]);
    assert!(program.exists());
    let _ = hostd(&["uninstall", "--system", "--root", into, "--yes"]).text();
    assert_eq!(fs::read_dir(installed("usr/local/bin")).unwrap().count(), 0);
    hostd(&["stop", "--vms", "end"]).assert_failed(2, &["nobody is there to be asked; say --yes"]);
}
