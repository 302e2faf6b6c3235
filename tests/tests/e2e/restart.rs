//! hostd dies and comes back: nothing is forgotten, nothing is claimed that is not so, and what runs runs on.

use rustix::process::Signal;
use tests::{Console, Host, console::keys, until, wait::SOON};

/// Counts in memory alone, and numbers what it shows.
const TICKS: &str = "i=0; while :; do i=$((i+1)); echo $i >/run/ticks; echo \"tick $i\"; sleep 0.1; done";

/// Seconds that the guest has run, and its count.
fn ticks(host: &Host, id: &str) -> (f64, u64) {
    let look = ["sh", "-c", "cut -d' ' -f1 /proc/uptime; cat /run/ticks"];
    until("its count", SOON, || {
        let said = host.exec(id, &look).text();
        let (uptime, ticks) = said.split_once('\n')?;
        // It may be written at this moment.
        Some((uptime.parse().ok()?, ticks.trim().parse().ok()?))
    })
}

/// The last count that a console shows; 0: none.
fn shown(screen: &str) -> u64 {
    let counts = screen.lines().filter_map(|line| line.trim().strip_prefix("tick ")?.parse().ok());
    counts.max().unwrap_or_default()
}

/// Killed with -9, and stopped, while one session is done and one works, to which a console is attached.
#[test]
fn what_runs_outlives_its_hostd() {
    let mut host = Host::start();
    let live = host.session("at-work", &["sh", "-c", TICKS]);
    let mut console = Console::start(&host.pilothouse(), 120, 30);
    console.wait_for("at-work", SOON);
    console.send(keys::ENTER);
    console.wait_for("writing", SOON);
    let done = host.session("finished", &["sh", "-c", "session status done 'all is painted'"]);
    host.wait_for(&done, "activity", "done");
    let (vms, mut before) = (host.vms().len(), ticks(&host, &live));

    // Once more, so that it is taken over from one that has taken it over.
    for ends in [Host::kill, Host::leave, Host::kill] {
        ends(&mut host);
        assert_eq!(host.vms().len(), vms, "a VM ended with its hostd");
        host.launch();
        let after = ticks(&host, &live);
        assert!(after.0 > before.0 && after.1 > before.1, "{before:?}, {after:?}: it began anew");
        before = after;
        // Without a key.
        console.wait_until("the terminal to go on", SOON, |screen| shown(&screen.contents()) > after.1);
    }
    console.send(keys::PREFIX);
    console.send("d");
    for id in [&done, &live] {
        let session = host.show(id);
        assert_eq!((&session["lifecycle"], &session["generation"]), (&"running".into(), &1.into()), "{session}");
    }
    let finished = host.show(&done);
    assert_eq!((&finished["activity"], &finished["attention"]), (&"done".into(), &"nobody".into()), "{finished}");
    assert!(finished["reason"].as_str().unwrap().contains("all is painted"), "{finished}");

    // No byte of its terminal is lost, and none is there twice; also where what was taken over is suspended.
    let _ = host.cli(["suspend", &live]).text();
    let logged = std::fs::read_to_string(host.data().join("sessions").join(&live).join("terminal.log")).unwrap();
    // The last line may have been cut off.
    let lines: Vec<&str> = logged.rsplit_once("\r\n").unwrap().0.split("\r\n").collect();
    let whole: Vec<String> = (1..=lines.len()).map(|number| format!("tick {number}")).collect();
    assert_eq!(lines, whole);
    let _ = host.cli(["resume", &live]).text();
    assert!(ticks(&host, &live).1 >= before.1);
    let told = host.cli(["events", &live]).text();
    assert_eq!(told.matches("ran on while hostd was started again").count(), 3, "{told}");

    // One that ended while nobody looked is not claimed to run.
    host.kill();
    host.vms().iter().for_each(|vm| vm.signal(Signal::KILL));
    host.wait_for_no_vm();
    host.launch();
    until("its end to be known", SOON, || (host.show(&live)["lifecycle"] == "crashed").then_some(()));
    let crashed = host.show(&live);
    assert!(crashed["cause"].as_str().unwrap().contains("its VM ended while no hostd ran"), "{crashed}");
    host.exec(&live, &["true"]).assert_failed(4, &["restart"]);
    console.wait_for("crashed", SOON);
    let _ = host.cli(["restart", &live]).text();
    host.wait_for(&live, "lifecycle", "running");
    assert_eq!(host.show(&live)["generation"], 3);
    console.send("q");
    assert_eq!(console.wait_for_end(SOON), 0);
    assert!(!console.alternate(), "the terminal was not given back");
}

/// A session that is deleted while its VM boots is gone, and so is the VM.
#[test]
fn deleting_is_possible_at_any_time() {
    let host = Host::start();
    let early = host.dispatch("early", &[]);
    let _ = host.cli(["rm", "--yes", &early]).text();
    assert!(host.ls().is_empty());
    let booting = host.dispatch("booting", &[]);
    tests::until("its VM", SOON, || (!host.vms().is_empty()).then_some(()));
    let _ = host.cli(["rm", "--yes", &booting]).text();
    assert!(host.ls().is_empty());
    host.wait_for_no_vm();
}

/// A VM that dies is reported as what it is, and can be restarted.
#[test]
fn a_dead_vm_is_noticed() {
    let host = Host::start();
    let id = host.session("victim", &[]);
    for vm in host.vms() {
        vm.signal(Signal::KILL);
    }
    host.wait_for(&id, "lifecycle", "crashed");
    let crashed = host.show(&id);
    assert_eq!(crashed["attention"], "you", "{crashed}");
    assert!(crashed["cause"].as_str().unwrap().contains("its QEMU was killed by signal 9 (SIGKILL)"), "{crashed}");
    let _ = host.cli(["restart", &id]).text();
    host.wait_for(&id, "lifecycle", "running");
    assert_eq!(host.exec(&id, &["echo", "back"]).text(), "back");
}
