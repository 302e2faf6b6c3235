//! What people get wrong: said clearly, with its exit code, and nothing half made.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process::Command,
};

use tests::{Host, Outcome, wait::SOON};

/// One hostd, every mistake; afterwards it is as it was.
#[test]
fn mistakes_are_told_and_leave_nothing() {
    let host = Host::start();
    let before = files(&host);
    recipes_are_checked(&host);
    names_are_checked(&host);
    sizes_are_checked(&host);
    assert!(host.ls().is_empty() && host.vms().is_empty());
    assert_eq!(files(&host), before, "something half made is left");
    ids_are_checked(&host);
}

/// `env build` of this recipe.
fn build(host: &Host, text: &str) -> Outcome {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bad.toml");
    fs::write(&file, text).unwrap();
    host.cli(["env", "build", file.to_str().unwrap()])
}

const GOOD: &str = "name = \"x\"\nbase = { debian = \"bookworm\" }\nagent = { command = [\"sh\"] }\n\
                    size = { vcpus = 1, memory = \"256MiB\", disk = \"2GiB\" }\n";

fn recipes_are_checked(host: &Host) {
    build(host, &format!("{GOOD}colour = \"red\"\n")).assert_failed(2, &["bad.toml:5:1", "colour"]);
    build(host, &GOOD.replace("vcpus = 1", "vcpus = \"one\""))
        .assert_failed(2, &["bad.toml:4:18", "expected an integer"]);
    build(host, &GOOD.replace("256MiB", "a lot")).assert_failed(2, &["bad.toml:4:", "a lot"]);
    build(host, &GOOD.replace("agent", "agents")).assert_failed(2, &["bad.toml:", "agent"]);
    build(host, "name = ").assert_failed(2, &["bad.toml:1:8"]);
    build(host, &GOOD.replace("\"x\"", "\"../x\"")).assert_failed(2, &["bad.toml:1:8"]);
    host.cli(["env", "build", "./no-such.toml"]).assert_failed(2, &["no-such.toml"]);
}

fn names_are_checked(host: &Host) {
    host.cli(["new", "--env", "nope", "do it"]).assert_failed(3, &["nope", "tools"]);
    host.cli(["env", "build", "nope"]).assert_failed(3, &["nope"]);
    host.cli(["env", "show", "nope"]).assert_failed(3, &["nope"]);
    for command in [&["show"][..], &["log"], &["rm", "--yes"], &["restart"]] {
        host.cli(command.iter().chain(&["nobody"])).assert_failed(3, &["nobody"]);
    }
    host.exec("nobody", &["true"]).assert_failed(3, &["nobody"]);
    host.cli(["frobnicate"]).assert_failed(2, &["frobnicate"]);
    host.cli(["new"]).assert_failed(2, &["--env"]);
    host.cli(["--host", "unix:/nonexistent/hostd.sock", "ls"])
        .assert_failed(5, &["/nonexistent/hostd.sock", "hostd serve"]);
}

fn sizes_are_checked(host: &Host) {
    build(host, &GOOD.replace("256MiB", "90000GiB")).assert_failed(2, &["bad.toml:4:", "size.memory"]);
    // What a recipe may ask for, and this host has not.
    build(host, &GOOD.replace("256MiB", "1TiB")).assert_failed(4, &["1048576 MiB of memory", "lower `size.memory`"]);
}

/// A prefix that fits two sessions names neither.
fn ids_are_checked(host: &Host) {
    let ids = ["twin one", "twin two"].map(|title| host.dispatch(title, &["sleep", "1000"]));
    host.cli(["show", "twin"]).assert_failed(2, &["twin-one", "twin-two"]);
    host.cli(["rm", "--yes", "twin"]).assert_failed(2, &["twin-one"]);
    assert_eq!(host.ls().len(), 2);
    assert_eq!(host.show("twin-t")["id"], ids[1].as_str());
    assert_eq!(host.show(&ids[0].to_lowercase())["title"], "twin one");
    let _ = host.cli(["rm", "--yes", "twin-one", "twin-two"]).text();
}

/// A setup command that fails: its output is shown, no build and no VM stay.
#[test]
fn a_failing_setup_is_shown() {
    let host = Host::start();
    let tools = fs::read_to_string(tests::paths::root().join("tests/environments/tools.toml")).unwrap();
    // The same base as `tools`, so that only the setup is new.
    let recipe = tools.replace("\"tools\"", "\"broken\"") + "setup = [\"echo this is seen; false\"]\n";
    let builds = || fs::read_dir(host.data().join("builds")).unwrap().count();
    let before = builds();
    let outcome = build(&host, &recipe);
    assert_eq!(outcome.code, 1, "{outcome}");
    let said = String::from_utf8_lossy(&outcome.stdout).into_owned() + &outcome.stderr;
    assert!(said.contains("this is seen") && said.contains("echo this is seen; false"), "{outcome}");
    tests::until("its VM to be gone", SOON, || host.vms().is_empty().then_some(()));
    assert_eq!(builds(), before);
    let listed = host.cli(["env", "ls", "--json"]).json();
    let broken = listed.as_array().unwrap().iter().find(|env| env["name"] == "broken").unwrap();
    assert_eq!(broken["state"], "failed", "{broken}");
    host.cli(["new", "--env", "broken", "try"]).assert_failed(4, &["broken"]);
    assert!(host.ls().is_empty());
    agents_are_looked_for(&host, &tools);
}

/// In the guest, and where the build is there already: the one that works stays in use.
fn agents_are_looked_for(host: &Host, tools: &str) {
    let agent =
        |program: &str| build(host, &tools.replace("[\"bash\", \"--norc\", \"-i\"]", &format!("[\"{program}\"]")));
    agent("no-such-agent").assert_failed(1, &["there is no program `no-such-agent` on the PATH", "agent.command"]);
    agent("./no-such-agent").assert_failed(1, &["there is no program ./no-such-agent"]);
    agent("./README.md").assert_failed(1, &["may not be executed"]);
    assert!(agent("./ci").text().contains("was built before"));
    let _ = host.session("still there", &["sleep", "1000"]);
    // Right after `new`, which it waits for.
    let id = host.dispatch("at once", &["sleep", "1000"]);
    assert_eq!(host.exec(&id, &["echo", "here"]).text(), "here");
}

fn files(host: &Host) -> Vec<String> {
    let mut names = Vec::new();
    for folder in ["bases", "builds", "environments", "sessions"] {
        let Ok(entries) = fs::read_dir(host.data().join(folder)) else { continue };
        names.extend(entries.flatten().map(|entry| format!("{folder}/{}", entry.file_name().to_string_lossy())));
    }
    names.sort();
    names
}

/// Sessions' disks and memory are in it: another user of the machine finds no way to them.
#[test]
fn a_data_folder_is_private_or_refused() {
    let folder = tests::paths::folder();
    let data = folder.path().join("data");
    fs::create_dir(&data).unwrap();
    let open = || fs::set_permissions(&data, fs::Permissions::from_mode(0o755)).unwrap();
    open();
    let host = Host::on(data.clone());
    assert_eq!(mode(&data), 0o700);
    // And what is made there has no rights for others, whatever becomes of the folder's own.
    assert_eq!(open_to_others(&data), Vec::<PathBuf>::new());
    assert!(data.join("store.sqlite").exists() && data.join("git").exists());
    drop(host);
    // A later hostd closes what is a hostd's, and nothing else.
    open();
    drop(Host::on(data.clone()));
    assert_eq!(mode(&data), 0o700);
    fs::remove_file(data.join("hostd.lock")).unwrap();
    open();
    let mut command = Command::new(tests::paths::program("hostd"));
    let outcome = tests::run(command.args(["serve", "--data"]).arg(&data), &[]);
    outcome.assert_failed(1, &["is open to other users (rights 755)", "chmod 700"]);
    assert_eq!(mode(&data), 0o755);
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o777
}

/// What of a folder other users could read or write if they came there.
fn open_to_others(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let below = |path: PathBuf| {
        let inside = if path.is_dir() { open_to_others(&path) } else { vec![] };
        inside.into_iter().chain((mode(&path) & 0o077 != 0).then_some(path))
    };
    entries.flat_map(below).collect()
}
