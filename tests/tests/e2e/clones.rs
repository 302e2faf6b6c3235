//! Sessions are clones of their environment's template, and no two are alike.

use std::fs;

use tests::{
    Host, until,
    wait::{BOOT, SOON},
};

/// The first thing that ever runs in a clone: random numbers, names, clock.
const FIRST_WORDS: &str = "for n in 1 2 3; do cat /proc/sys/kernel/random/uuid; done; cat /etc/machine-id; cat /etc/hostname; \
    head -c 16 /dev/urandom | od -An -tx1; echo clock $(date +%s); ls /sys/class/net; echo over; sleep 1000000";

#[test]
fn clones_differ_from_their_first_command_on() {
    let host = Host::start();
    let sessions = ["left", "right"].map(|title| host.session(title, &["sh", "-c", FIRST_WORDS]));
    let [left, right] = sessions.each_ref().map(|id| {
        assert!(phases(&host, id).contains(&"clone".to_owned()), "{:?}", phases(&host, id));
        let said = until("its first words", SOON, || {
            let said = host.cli(["log", id]).text();
            said.lines().any(|line| line.trim() == "over").then_some(said)
        });
        said.lines().map(|line| line.trim().to_owned()).collect::<Vec<_>>()
    });
    assert_eq!(left.len(), right.len(), "{left:?} {right:?}");
    for (number, (one, other)) in left.iter().zip(&right).enumerate().take(6) {
        assert_ne!(one, other, "line {number} of {left:?}");
    }
    assert_eq!(left[4], host.slug(&sessions[0]));
    assert_eq!([&left[7], &right[7]], ["lo", "lo"]);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    for said in [&left, &right] {
        let clock: u64 = said[6].strip_prefix("clock ").unwrap().parse().unwrap();
        assert!(clock <= now && clock + 600 > now, "{clock}, and it is {now}");
    }
    let boot = |id: &str| host.exec(id, &["cat", "/proc/sys/kernel/random/boot_id"]).text();
    assert_ne!(boot(&sessions[0]), boot(&sessions[1]));
}

#[test]
fn a_template_that_cannot_be_used_is_done_without() {
    let host = Host::start();
    for template in host.templates() {
        fs::remove_file(template.join("devices")).unwrap();
    }
    let id = host.session("booted", &["sleep", "1000000"]);
    assert!(phases(&host, &id).contains(&"kernel".to_owned()), "{:?}", phases(&host, &id));
    let shown = host.show(&id);
    assert_eq!(shown["reason"], "working (booted instead of being cloned)", "{shown}");
    assert!(shown["notice"].as_str().unwrap().contains("env build tools"), "{shown}");
    assert_eq!(host.exec(&id, &["echo", "here"]).text(), "here");
}

/// Warm VMs: made ahead, given away, made again, and gone with their hostd however it ends.
#[test]
fn a_session_takes_a_warm_vm_and_another_is_made() {
    let mut host = Host::start();
    // The same build, with one more VM than there are sessions.
    let recipe = fs::read_to_string(tests::paths::root().join("tests/environments/tools.toml")).unwrap();
    let recipe = recipe.replace("name = \"tools\"", "name = \"ready\"\nwarm = { min = 1, max = 1 }");
    let file = host.data().join("ready.toml");
    fs::write(&file, recipe).unwrap();
    let _ = host.cli(["env", "build", file.to_str().unwrap()]).text();
    let stands_ready = |host: &Host| {
        until("a warm VM", BOOT, || {
            let shown = host.cli(["env", "show", "--json", "ready"]).json();
            let warm = serde_json::json!({"ready": 1, "wanted": 1, "min": 1, "max": 1, "unrehearsed": null});
            (shown["warm"] == warm).then_some(())
        });
    };
    stands_ready(&host);
    assert_eq!(host.vms().len(), 1);
    let agent = ["new", "--env", "ready", "--title", "quick", "--", "sh", "-c", FIRST_WORDS];
    let id = host.cli(agent).text();
    host.wait_for(&id, "lifecycle", "running");
    assert_eq!(phases(&host, &id)[0], "warm", "{:?}", phases(&host, &id));
    stands_ready(&host);
    assert_eq!(host.vms().len(), 2);
    assert!(host.cli(["env", "ls"]).text().contains("1/1"));

    // It is a session like any other: itself, to disk and back, and its files go with it.
    let read = |script: &str| host.exec(&id, &["sh", "-c", script]).text();
    assert_eq!(read("cat /etc/hostname"), host.slug(&id));
    let _ = read("echo kept >/root/kept");
    let _ = host.cli(["suspend", &id]).text();
    assert_eq!(read("cat /root/kept"), "kept");
    let _ = host.cli(["rm", "--yes", &id]).text();
    let folders = |host: &Host| fs::read_dir(host.data().join("warm")).unwrap().count();
    until("one warm VM's folder", SOON, || (folders(&host) == 1).then_some(()));

    host.kill();
    assert_eq!(host.vms().len(), 1, "it outlives a killed hostd");
    let left = host.vms();
    host.launch();
    assert!(left.iter().all(|vm| !vm.runs()), "the next hostd ends it");
    stands_ready(&host);
    host.stop();
    assert!(host.vms().is_empty() && folders(&host) == 0, "hostd leaves nothing");
}

fn phases(host: &Host, id: &str) -> Vec<String> {
    let session = host.show(id);
    session["phases"].as_array().unwrap().iter().map(|phase| phase["name"].as_str().unwrap().to_owned()).collect()
}
