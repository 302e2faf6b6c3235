//! An agent that ends its turns and never waits by command is woken by what happens to its pull request, and reads it as a message.

use tests::{Host, until, wait::SOON};

/// Opens a pull request, ends its turn, and has a turn for each line that it reads.
const AGENT: &str = "cd /work/widgets
echo one >FIX
git add FIX
git commit -qm 'Fix it'
git push -q origin HEAD:refs/heads/$PILOTHOUSE_BRANCH
session pr open --title 'Fix it'
session status idle 'opened it'
turn=0
while read -r told; do
    session status working
    turn=$((turn + 1))
    echo \"$told\" >/root/told.$turn
    session status idle
done";

#[test]
fn an_ended_turn_is_woken_by_a_failure_and_by_a_review_and_reads_them() {
    let host = Host::start();
    let _ = host.cli(["repo", "set", "widgets", "--require", "unit"]).text();
    let id = host.session("unknowing", &["bash", "-ec", AGENT]);
    host.wait_for(&id, "attention", "checks");
    let _ = host.cli(["suspend", &id]).text();
    host.wait_for_no_vm();
    assert_eq!(host.show(&id)["attention"], "checks");

    let head = host.cli(["review", "show", "1", "--json"]).json()["head"].as_str().unwrap().to_owned();
    let report = ["checks", "report", "--repo", "widgets", "--commit", &head, "--name", "unit", "--state", "failed"];
    let _ = host.cli_with(report.into_iter().chain(["--log", "-"]), b"first line\nlast line\n").text();
    // Nobody looks into it before it is awake, and so it is the result that wakes it.
    let told = |turn: u64| {
        until("the session to be woken", SOON, || (host.show(&id)["generation"] == turn + 1).then_some(()));
        until("the agent to be told", SOON, || {
            let read = host.exec(&id, &["cat", &format!("/root/told.{turn}")]);
            (read.code == 0 && !read.stdout.is_empty()).then(|| read.text())
        })
    };
    let first = told(1);
    let expected =
        "The checks of pull request #1: `unit` failed. | The end of the log of `unit`: | first line | last line | ";
    assert!(first.starts_with(expected), "{first}");
    // It pushed nothing: a person is asked, and it is not told again.
    host.wait_for(&id, "attention", "you");

    let _ = host.cli(["suspend", &id]).text();
    let _ = host.cli(["review", "comment", "1", "--file", "FIX", "--line", "1", "Why one?"]).text();
    let second = told(2);
    assert!(
        second.starts_with("Review of pull request #1: | ") && second.contains("FIX:1: Why one? (on `one`)"),
        "{second}"
    );
}
