//! Sessions: each in a machine of its own, seen, used and gone again.

use tests::Host;

/// Two sessions are two machines without a network card, sized as their environment says.
#[test]
fn sessions_live_apart() {
    let host = Host::start();
    let [a, b] = ["first", "second"].map(|title| host.dispatch(title, &[]));
    for id in [&a, &b] {
        host.wait_for(id, "lifecycle", "running");
        assert_eq!(host.exec(id, &["ls", "/sys/class/net"]).text(), "lo");
        assert_eq!(host.exec(id, &["nproc"]).text(), "1");
        let memory: u64 = host.exec(id, &["awk", "/MemTotal/ { print $2 }", "/proc/meminfo"]).text().parse().unwrap();
        assert!((180 << 10..=256 << 10).contains(&memory), "{memory} KiB");
        let disk: u64 = host.exec(id, &["sh", "-c", "df --output=size / | tail -n 1"]).text().trim().parse().unwrap();
        assert!((1_800_000..=2 << 20).contains(&disk), "{disk} KiB");
    }
    let machine = |id: &str| host.exec(id, &["cat", "/etc/machine-id"]).text();
    assert_ne!(machine(&a), machine(&b));
    assert_eq!(host.exec("first", &["cat", "/proc/sys/kernel/hostname"]).text(), host.slug(&a));
    exec_passes_everything_through(&host, &a);
    list_tells_all(&host);
    delete_leaves_nothing(&host, &a, &b);
}

/// Exit codes, both outputs, the working directory, and bytes of every value.
fn exec_passes_everything_through(host: &Host, id: &str) {
    assert_eq!(host.exec(id, &["sh", "-c", "exit 7"]).code, 7);
    assert_eq!(host.exec(id, &["sh", "-c", "kill -TERM $$"]).code, 128 + 15);
    assert_eq!(host.exec(id, &["no-such-command"]).code, 127);
    assert_eq!(host.exec(id, &["/etc/passwd"]).code, 126);
    let both = host.exec(id, &["sh", "-c", "echo out; echo err >&2"]);
    assert_eq!((both.stdout.as_slice(), both.stderr.as_str()), (&b"out\n"[..], "err\n"));
    assert_eq!(host.exec(id, &["pwd"]).text(), "/work/widgets");
    let mut bytes = vec![0; 50 << 20];
    getrandom::fill(&mut bytes).unwrap();
    let back = host.cli_with(["exec", id, "--", "cat"], &bytes);
    assert_eq!(back.code, 0, "{}", back.stderr);
    assert!(back.stdout == bytes, "50 MiB came back changed: {} bytes", back.stdout.len());
    // A command that does not read leaves its writer in peace.
    assert_eq!(host.cli_with(["exec", id, "--", "true"], &bytes).code, 0);
}

fn list_tells_all(host: &Host) {
    let sessions = host.ls();
    assert_eq!(sessions.len(), 2);
    for session in &sessions {
        for text in
            ["id", "slug", "title", "host", "environment", "owner", "lifecycle", "activity", "attention", "reason"]
        {
            assert!(session[text].as_str().is_some_and(|value| !value.is_empty()), "{text} in {session}");
        }
        for other in ["generation", "created_at", "updated_at"] {
            assert!(!session[other].is_null(), "{other} in {session}");
        }
        assert_eq!(session["generation"], 1);
        assert_eq!(session["id"].as_str().map(str::len), Some(26));
    }
    assert!(sessions.iter().all(|one| one["slug"].as_str().unwrap().starts_with(one["title"].as_str().unwrap())));
}

fn delete_leaves_nothing(host: &Host, a: &str, b: &str) {
    assert_eq!(host.vms().len(), 2);
    host.cli(["rm", a]).assert_failed(2, &["--yes"]);
    assert_eq!(host.ls().len(), 2);
    let _ = host.cli(["rm", "--yes", a]).text();
    assert_eq!(host.ls().len(), 1);
    assert_eq!(host.vms().len(), 1, "the VM of the other goes on");
    host.cli(["show", a]).assert_failed(3, &[]);
    host.cli(["rm", "--yes", a]).assert_failed(3, &[]);
    let _ = host.cli(["rm", "--yes", b]).text();
    assert!(host.ls().is_empty() && host.vms().is_empty());
    let left: Vec<_> = std::fs::read_dir(host.data().join("sessions")).unwrap().flatten().collect();
    assert!(left.is_empty(), "{left:?}");
}

/// What an agent says of itself, its end, and messages to it.
#[test]
fn an_agent_asks_is_answered_and_ends() {
    let host = Host::start();
    let agent = "session status needs-input 'red or blue?' --choice red --choice blue; read -r answer; \
                 session status working \"paints it $answer\"; read -r next; echo \"bye $next\"; exit 3";
    let id = host.session("painter", &["sh", "-c", agent]);
    host.wait_for(&id, "activity", "needs-input");
    let asking = host.show(&id);
    assert_eq!(asking["attention"], "you");
    assert!(asking["reason"].as_str().unwrap().contains("red or blue?"), "{asking}");
    assert_eq!(asking["choices"], serde_json::json!(["red", "blue"]));
    let _ = host.cli(["send", "painter", "blue"]).text();
    let _ = host.cli(["wait", &id, "--until", "working", "--timeout", "60s"]).text();
    tests::until("the answer to arrive", tests::wait::SOON, || {
        host.show(&id)["reason"].as_str().unwrap().contains("paints it blue").then_some(())
    });
    let _ = host.cli(["send", "painter", "now"]).text();
    let _ = host.cli(["wait", &id, "--until", "failed", "--timeout", "60s"]).text();
    let ended = host.show(&id);
    assert_eq!((&ended["activity"], &ended["attention"]), (&"failed".into(), &"you".into()), "{ended}");
    assert!(ended["reason"].as_str().unwrap().contains("exit code 3"), "{ended}");
    tests::until("its last words", tests::wait::SOON, || {
        host.cli(["log", &id]).text().contains("bye now").then_some(())
    });
    assert!(host.cli(["log", "--serial", &id]).code == 0);
    // Its machine is still there to look into.
    assert_eq!(host.exec(&id, &["echo", "still here"]).text(), "still here");
}
