//! To disk and back: nothing of a suspended session runs, and nothing of it is lost.

use std::{collections::BTreeSet, fs, path::Path, thread, time::Instant};

use tests::{Host, Outcome, until, wait::SOON};

/// Keeps a secret in memory alone, an open file that it appends to, and a pipe between two processes; ticks.
pub(super) const TICKER: &str = "secret=$(head -c 16 /dev/urandom | md5sum | cut -c 1-32); exec 3>>/root/ticks; \
    (i=0; while :; do i=$((i+1)); echo $i; sleep 0.1; done) | while read -r tick; do \
    echo $tick >&3; echo \"$secret\" >>/run/secret; done";

#[test]
fn a_session_goes_on_where_it_was() {
    let host = Host::start();
    let id = host.session("sleeper", &["sh", "-c", TICKER]);
    let read = |script: &str| host.exec(&id, &["sh", "-c", script]).text();
    read("until [ -s /run/secret ]; do sleep 0.1; done");
    let (secret, boot) = (read("sort -u /run/secret"), read("cat /proc/sys/kernel/random/boot_id"));
    for cycle in 0..3 {
        let suspended = host.cli(["suspend", "--json", &id]).json();
        assert_eq!(suspended["lifecycle"], "suspended", "{suspended}");
        assert!(suspended["suspended_bytes"].as_u64().unwrap() > 0, "{suspended}");
        assert_eq!((&suspended["resident_bytes"], &suspended["memory_bytes"]), (&0.into(), &0.into()));
        host.wait_for_no_vm();
        only_the_delta(&host, &id);
        // Looking does not wake it, and a repeat changes nothing.
        let _ = host.cli(["log", &id]).text();
        let _ = host.cli(["suspend", &id]).text();
        assert_eq!(host.show(&id)["lifecycle"], "suspended");
        // Using it does.
        assert_eq!(read("sort -u /run/secret"), secret);
        let resumed = host.show(&id);
        assert_eq!((&resumed["lifecycle"], &resumed["generation"]), (&"running".into(), &(cycle + 2).into()));
        assert!(resumed["resumed_in_ms"].as_u64().unwrap() > 0, "{resumed}");
    }
    assert_eq!(read("cat /proc/sys/kernel/random/boot_id"), boot);
    let before = read("tail -n 1 /root/ticks");
    until("another tick", SOON, || (read("tail -n 1 /root/ticks") != before).then_some(()));
    assert_eq!(read("awk '$1 != NR { print \"at\", NR, $1; exit }' /root/ticks"), "", "a tick was lost or doubled");
    let _ = host.cli(["suspend", &id]).text();
    let _ = host.cli(["rm", "--yes", &id]).text();
    assert!(!host.data().join("sessions").join(&id).exists());
}

/// What a suspended session has on disk beside its disk's layers and what it printed.
fn only_the_delta(host: &Host, id: &str) {
    let names = |folder: &Path| {
        let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.collect::<BTreeSet<_>>()
    };
    let folder = host.data().join("sessions").join(id);
    let snapshot = folder.join("snapshot");
    let of_a_vm = |name: &String| name.ends_with(".sock") || name == "vm.json" || name.starts_with("snapshot.new");
    assert_eq!(names(&folder).into_iter().filter(of_a_vm).collect::<Vec<_>>(), Vec::<String>::new());
    assert_eq!(names(&snapshot), ["devices", "manifest.json", "memory.zst"].map(str::to_owned).into());
    let shown = host.show(id);
    let bytes = |name: &str| fs::metadata(snapshot.join(name)).unwrap().len();
    assert_eq!(shown["suspended_bytes"], bytes("memory.zst") + bytes("devices"), "{shown}");
    assert!(shown["suspended_bytes"].as_u64() < shown["memory_size_bytes"].as_u64().map(|all| all / 4), "{shown}");
}

#[test]
fn a_damaged_snapshot_is_refused_and_kept() {
    let host = Host::start();
    let id = host.session("damaged", &["sleep", "1000000"]);
    let _ = host.exec(&id, &["sh", "-c", "echo kept >/root/kept; echo lost >/run/lost"]).text();
    let _ = host.cli(["suspend", &id]).text();
    let memory = host.data().join("sessions").join(&id).join("snapshot/memory.zst");
    let good = fs::read(&memory).unwrap();
    let mut bad = good.clone();
    let middle = bad.len() / 2;
    bad[middle] ^= 1;
    fs::write(&memory, &bad).unwrap();
    host.cli(["resume", &id]).assert_failed(4, &["memory.zst is damaged", "restart it"]);
    assert_eq!(host.show(&id)["lifecycle"], "suspended");
    assert_eq!(fs::read(&memory).unwrap(), bad, "the evidence was overwritten");
    host.wait_for_no_vm();
    fs::write(&memory, &good).unwrap();
    let _ = host.cli(["resume", &id]).text();
    assert_eq!(host.exec(&id, &["cat", "/run/lost"]).text(), "lost");

    // Where it cannot be mended: from its disk, after a question.
    let _ = host.cli(["suspend", &id]).text();
    host.cli(["restart", &id]).assert_failed(2, &["gives up what is in its memory", "--yes"]);
    fs::write(&memory, &bad).unwrap();
    host.cli(["resume", &id]).assert_failed(4, &["memory.zst is damaged"]);
    host.cli(["restart", &id]).assert_failed(2, &["--yes"]);
    let _ = host.cli(["restart", "--yes", &id]).text();
    host.wait_for(&id, "lifecycle", "running");
    assert_eq!(
        host.exec(&id, &["sh", "-c", "cat /root/kept; cat /run/lost 2>&1 || true"]).text().lines().next(),
        Some("kept")
    );
    assert!(host.exec(&id, &["cat", "/run/lost"]).code != 0);
    until("the snapshot to be gone", SOON, || (!memory.exists()).then_some(()));
    assert!(host.show(&id)["resumed_in_ms"].is_null());
}

/// All at once, on however few processors.
#[test]
fn twelve_sessions_come_back_together() {
    let host = Host::start();
    let ids: Vec<String> =
        (0..12).map(|n| host.session(&format!("one of twelve {n}"), &["sleep", "1000000"])).collect();
    let all = |verb: &str, what: &(dyn Fn(&str, usize) -> Outcome + Sync)| {
        let began = Instant::now();
        thread::scope(|scope| {
            for (n, id) in ids.iter().enumerate() {
                scope.spawn(move || what(id, n).text());
            }
        });
        println!("twelve sessions: {verb} in {:?}", began.elapsed());
    };
    all("written to", &|id, n| host.exec(id, &["sh", "-c", &format!("echo {n} >/run/mine")]));
    all("suspended", &|id, _| host.cli(["suspend", id]));
    assert_eq!(host.vms(), []);
    all("resumed", &|id, _| host.cli(["resume", id]));
    for (n, id) in ids.iter().enumerate() {
        assert_eq!(host.exec(id, &["cat", "/run/mine"]).text(), n.to_string());
        assert_eq!(host.show(id)["generation"], 2);
    }
}

#[test]
fn who_waits_is_suspended_by_itself_and_woken_by_a_message() {
    let host = Host::start();
    // The same build, with less patience.
    let recipe = fs::read_to_string(tests::paths::root().join("tests/environments/tools.toml")).unwrap();
    let recipe = recipe.replace("name = \"tools\"", "name = \"naps\"").replace("24h", "2s");
    let file = host.data().join("naps.toml");
    fs::write(&file, recipe).unwrap();
    let _ = host.cli(["env", "build", file.to_str().unwrap()]).text();
    let asks = "session status needs-input 'which colour?'; read -r colour; session status done \"painted $colour\"";
    let id = host.cli(["new", "--env", "naps", "--title", "asker", "--", "sh", "-c", asks]).text();
    host.wait_for(&id, "lifecycle", "suspended");
    let shown = host.show(&id);
    assert_eq!(shown["attention"], "you", "{shown}");
    assert!(shown["reason"].as_str().unwrap().contains("which colour?"), "{shown}");
    let _ = host.cli(["send", &id, "green"]).text();
    host.wait_for(&id, "activity", "done");
    assert!(host.show(&id)["reason"].as_str().unwrap().contains("painted green"));
}
