//! hostd dies and comes back: nothing is forgotten, nothing is claimed that is not so.

use rustix::process::Signal;
use tests::{Console, Host, wait::SOON};

/// Killed with -9 while one session is done and one works; a console looks on.
#[test]
fn a_killed_hostd_tells_the_truth_when_it_is_back() {
    let mut host = Host::start();
    let done = host.session("finished", &["sh", "-c", "session status done 'all is painted'"]);
    let live = host.session("at-work", &["sh", "-c", "echo kept > /root/kept; sync; sleep 1000000"]);
    host.wait_for(&done, "activity", "done");
    assert_eq!(host.exec(&live, &["sh", "-c", "while ! cat /root/kept; do sleep 0.1; done"]).text(), "kept");
    let mut console = Console::start(&host.pilothouse(), 120, 30);
    console.wait_for("at-work", SOON);

    host.kill();
    console.wait_for("reconnect", SOON);
    host.launch();

    assert_eq!(host.ls().len(), 2);
    let finished = host.show(&done);
    assert_eq!((&finished["activity"], &finished["attention"]), (&"done".into(), &"nobody".into()), "{finished}");
    assert!(finished["reason"].as_str().unwrap().contains("all is painted"), "{finished}");
    let crashed = host.show(&live);
    assert_eq!((&crashed["lifecycle"], &crashed["attention"]), (&"crashed".into(), &"you".into()), "{crashed}");
    assert!(crashed["cause"].as_str().unwrap().contains("restarted"), "{crashed}");
    host.wait_for_no_vm();
    host.exec(&live, &["true"]).assert_failed(4, &["restart"]);
    console.wait_for("crashed", SOON);

    // Its disk is as it was.
    let _ = host.cli(["restart", &live]).text();
    host.wait_for(&live, "lifecycle", "running");
    assert_eq!(host.show(&live)["generation"], 2);
    assert_eq!(host.exec(&live, &["cat", "/root/kept"]).text(), "kept");
    console.wait_for_no("crashed", SOON);
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
    assert!(crashed["cause"].as_str().unwrap().contains("VM died"), "{crashed}");
    let _ = host.cli(["restart", &id]).text();
    host.wait_for(&id, "lifecycle", "running");
    assert_eq!(host.exec(&id, &["echo", "back"]).text(), "back");
}
