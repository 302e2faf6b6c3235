//! hostd's disk takes no more writes for a while: what a session says is kept, or not acknowledged.

use serde_json::Value;
use tests::{
    Host, until,
    wait::{BOOT, SOON},
};

/// Says something new all the time.
const AGENT: &str = "n=0; while :; do n=$((n + 1)); session status needs-input \"step $n\"; sleep 0.1; done";
/// More than hostd's small files have, and less than the store's log.
const OFFSET: u64 = 256 << 10;
/// Looks at a VM that has not worked in between, after which it stands.
const LOOKS: u32 = 40;

/// The numbers of the steps that its story tells of.
fn steps(host: &Host, id: &str) -> Vec<u64> {
    let story = host.cli(["events", id, "--json"]).text();
    let events = story.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let said = events.filter(|event| event["what"] == "asks");
    said.filter_map(|event| event["text"].as_str()?.strip_prefix("step ")?.parse().ok()).collect()
}

/// Makes writes fail until the session stands still, and its VM with it. The steps that were told until then.
fn break_disk(host: &Host, id: &str) -> Vec<u64> {
    host.write_no_further(Some(OFFSET));
    let shown = until("the session to stand still", SOON, || {
        Some(host.show(id)).filter(|shown| shown["word"] == "stands still")
    });
    let reason = shown["reason"].as_str().unwrap();
    assert!(reason.starts_with("stands still, because what happens to it cannot be kept: "), "{reason}");
    assert!(reason.contains("disk I/O error") && reason.ends_with("and it goes on by itself"), "{reason}");
    assert_eq!((&shown["lifecycle"], &shown["attention"]), (&"running".into(), &"you".into()));
    let vm = host.vms()[0];
    let (mut worked, mut same) = (0, 0);
    until("its VM to stand", SOON, || {
        let before = std::mem::replace(&mut worked, vm.worked());
        same = if before == worked { same + 1 } else { 0 };
        (same == LOOKS).then_some(())
    });
    steps(host, id)
}

#[test]
fn a_session_stands_still_while_nothing_can_be_written_and_loses_nothing() {
    let mut host = Host::start();
    let id = host.session("says", &["sh", "-c", AGENT]);
    until("it to say something", BOOT, || (steps(&host, &id).len() > 2).then_some(()));
    let told = break_disk(&host, &id);
    host.cli(["send", &id, "hello"]).assert_failed(1, &["the session stands still, because"]);
    host.cli(["fork", &id]).assert_failed(1, &["the session stands still, because"]);
    host.cli(["rm", "--yes", &id]).assert_failed(1, &["the store could not be written"]);
    assert_eq!((steps(&host, &id), &host.ls()[0]["word"]), (told.clone(), &"stands still".into()));

    host.write_no_further(None);
    let after = until("it to go on", SOON, || Some(steps(&host, &id)).filter(|steps| steps.len() > told.len() + 5));
    assert_eq!(after, (1..=after.len() as u64).collect::<Vec<_>>(), "something is lost, or told twice");
    assert_eq!(host.show(&id)["word"], "asks");

    // What had been told is there after hostd has died meanwhile, and the next one hears the rest of the VM that stood.
    let told = break_disk(&host, &id);
    host.kill();
    host.launch();
    let after = until("it to go on", SOON, || Some(steps(&host, &id)).filter(|steps| steps.len() > told.len() + 5));
    assert_eq!(after, (1..=after.len() as u64).collect::<Vec<_>>(), "something is lost, or told twice");
    assert_eq!(host.show(&id)["generation"], 1);
}
