//! A session that waits is on disk, and wakes with the answer in its hands.

use serde_json::{Value, json};
use tests::{Host, until, wait::SOON};

/// Opens a pull request, then waits for one thing after the other.
const AGENT: &str = "cd /work/widgets
echo one >FIX
git add FIX
git commit -qm 'Fix it'
git push -q origin HEAD:refs/heads/$PILOTHOUSE_BRANCH
session pr open --title 'Fix it'
for what in checks review message; do
    session wait $what >/root/$what.new
    mv /root/$what.new /root/$what
done
session wait checks --timeout 1s >/root/late || echo $? >/root/code
session status done
sleep 1000000";

/// Opens two pull requests, the one to be waited for first.
const TWO: &str = "cd /work/widgets
for part in a b; do
    git checkout -q -B $part origin/HEAD
    echo $part >PART
    git add PART
    git commit -qm $part
    git push -q origin HEAD:refs/heads/agent/$PILOTHOUSE_SLUG/$part
    session pr open --title $part --branch $part
done
session wait checks --pr 1 >/root/checks.new
mv /root/checks.new /root/checks
session status done
sleep 1000000";

fn answer(host: &Host, id: &str, what: &str) -> Value {
    let text = host.exec(id, &["cat", &format!("/root/{what}")]).text();
    serde_json::from_str(&text).unwrap()
}

/// The head commit of a pull request.
fn head(host: &Host, number: &str) -> String {
    host.cli(["review", "show", number, "--json"]).json()["head"].as_str().unwrap().to_owned()
}

/// CI elsewhere tells of a check of this commit.
fn report(host: &Host, head: &str, name: &str, state: &str, log: &[u8]) {
    let args =
        ["checks", "report", "--repo", "widgets", "--commit", head, "--name", name, "--state", state, "--log", "-"];
    let _ = host.cli_with(args, log).text();
}

#[test]
fn what_a_session_waits_for_wakes_it() {
    let mut host = Host::start();
    let _ = host.cli(["repo", "set", "widgets", "--require", "unit", "--require", "lint"]).text();
    let id = host.session("waiter", &["sh", "-exc", AGENT]);
    host.wait_for(&id, "activity", "waiting-checks");
    let _ = host.cli(["suspend", &id]).text();
    host.wait_for_no_vm();

    // Nobody is there to be told, and hostd dies as well.
    host.kill();
    host.launch();
    let head = head(&host, "1");
    report(&host, &head, "lint", "passed", b"");
    host.wait_for(&id, "reason", "waits on checks: 1 of 2");
    assert_eq!(host.show(&id)["lifecycle"], "suspended");
    report(&host, &head, "unit", "failed", b"first line\nlast line\n");
    host.wait_for(&id, "activity", "waiting-review");
    let told = answer(&host, &id, "checks");
    assert_eq!(
        (&told["outcome"], &told["head"], &told["number"]),
        (&"failed".into(), &head.as_str().into(), &1.into())
    );
    let unit = told["checks"].as_array().unwrap().iter().find(|check| check["name"] == "unit").unwrap();
    assert_eq!((&unit["state"], &unit["log"]), (&"failed".into(), &"first line\nlast line\n".into()));

    let _ = host.cli(["suspend", &id]).text();
    let _ = host.cli(["review", "comment", "1", "--file", "FIX", "--line", "1", "Why one?"]).text();
    host.wait_for(&id, "activity", "idle");
    let told = answer(&host, &id, "review");
    let comment = json!({"path": "FIX", "line": 1, "quote": "one", "body": "Why one?"});
    assert_eq!((&told["state"], &told["reviews"][0]["comments"]), (&"open".into(), &json!([comment])));

    let _ = host.cli(["suspend", &id]).text();
    let _ = host.cli(["send", &id, "That will do."]).text();
    host.wait_for(&id, "activity", "done");
    assert_eq!(answer(&host, &id, "message"), json!({"answer": "message", "text": "That will do."}));
    // The checks are done already, so that this wait is over at once.
    assert_eq!(answer(&host, &id, "late")["outcome"], "failed");
    assert_eq!(host.show(&id)["generation"], 4);
}

/// The newer one's checks are done first, and are not what it asked for.
#[test]
fn a_wait_for_one_of_two_pull_requests_is_answered_about_that_one() {
    let host = Host::start();
    let _ = host.cli(["repo", "set", "widgets", "--require", "unit"]).text();
    let id = host.session("two", &["sh", "-exc", TWO]);
    host.wait_for(&id, "activity", "waiting-checks");
    let (older, newer) = (head(&host, "1"), head(&host, "2"));
    report(&host, &newer, "unit", "passed", b"");
    assert_eq!(host.cli(["review", "show", "2", "--json"]).json()["checks_state"], "passed");
    report(&host, &older, "unit", "failed", b"");
    host.wait_for(&id, "activity", "done");
    let told = answer(&host, &id, "checks");
    assert_eq!(
        (&told["number"], &told["head"], &told["outcome"]),
        (&1.into(), &older.as_str().into(), &"failed".into()),
        "{told}"
    );
}

/// A question with choices, asked before the session was suspended, answered by a person who never attaches.
#[test]
fn an_answer_from_the_command_line_wakes_who_asked() {
    let host = Host::start();
    let agent = "session status needs-input 'red or blue?' --choice red --choice blue; read -r answer; \
                 session status working \"paints it $answer\"; sleep 1000000";
    let id = host.session("painter", &["sh", "-c", agent]);
    host.wait_for(&id, "activity", "needs-input");
    let _ = host.cli(["suspend", &id]).text();
    host.wait_for_no_vm();
    let asking = host.show(&id);
    assert_eq!((&asking["lifecycle"], &asking["attention"]), (&"suspended".into(), &"you".into()), "{asking}");
    assert_eq!(asking["choices"], json!(["red", "blue"]));
    assert!(asking["reason"].as_str().unwrap().contains("red or blue?"), "{asking}");

    let _ = host.cli(["send", &id, "blue"]).text();
    host.wait_for(&id, "lifecycle", "running");
    until("the answer to arrive", SOON, || {
        host.show(&id)["reason"].as_str().unwrap().contains("paints it blue").then_some(())
    });
    let woken = host.show(&id);
    assert_eq!((&woken["generation"], &woken["attention"]), (&2.into(), &"agent".into()), "{woken}");
    assert_eq!(woken["choices"], json!([]));
}
