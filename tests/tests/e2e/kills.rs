//! However a VM ends, the agent's repository is whole, and what git said is done is there.

use rustix::process::Signal;
use tests::{Host, until, wait::BOOT};

/// Commits once a second, and says so: a file that changes, one that is new, and a branch. Begun again, it goes on from HEAD.
const AGENT: &str = r#"
cd /work/widgets && git config user.name agent && git config user.email agent@localhost || exit 1
number=$(git log -1 --format=%s) && case $number in *[!0-9]*) number=0 ;; esac
while :; do
    while [ -e /run/hold ]; do touch /run/held; sleep 0.1; done; rm -f /run/held
    number=$((number + 1))
    mkdir -p "notes/$((number % 7))" && echo "$number" | tee notes/last >"notes/$((number % 7))/$number" || exit 1
    git add -A && git commit -q -m "$number" && git branch -f "at-$((number % 5))" && echo "committed $number" || exit 1
    sleep 1
done
"#;
/// Has the agent stand still between two commits, and looks at all that git does. Beside it, `git fsck` would miss what was
/// committed meanwhile, and `git status` would have the index locked. What was committed is in the files, too, but for the one
/// that changes.
const CHECKS: &str = r#"
cd /work/widgets && touch /run/hold || exit 1
for try in $(seq 600); do [ ! -e /run/held ] || break; sleep 0.1; done
git log -1 --format=%s && git fsck --no-dangling --no-progress 2>&1 && git status >/dev/null &&
    find .git/objects -type f -size 0 ! -name 'tmp_*' && git diff --name-only --diff-filter=a HEAD -- . ':!notes/last'
code=$?; rm /run/hold; exit $code
"#;
/// Between two kills.
const COMMITS: u64 = 4;
/// A second for each.
const LOST: u64 = 2;

/// How often each way: a soak says more.
fn rounds() -> u64 {
    std::env::var("PILOTHOUSE_KILLS").map_or(1, |rounds| rounds.parse().unwrap())
}

/// The last commit that the agent told of, as hostd has seen.
fn told(host: &Host, id: &str) -> u64 {
    let log = host.cli(["log", id]).text();
    let numbers = log.lines().filter_map(|line| line.trim().strip_prefix("committed ")?.parse().ok());
    numbers.max().unwrap_or_default()
}

fn works_on(host: &Host, id: &str) {
    let from = told(host, id) + COMMITS;
    until("the agent to commit", BOOT, || {
        let session = host.show(id);
        assert!(session["activity"] == "working", "{session}\n{}", host.cli(["log", id]));
        (told(host, id) >= from).then_some(())
    });
}

/// Whole in all that git looks at; no more is lost than may be. How many commits are.
fn whole(host: &Host, id: &str, told: u64) -> u64 {
    let checked = host.exec(id, &["sh", "-c", CHECKS]).text();
    let mut lines = checked.lines();
    let kept: u64 = lines.next().unwrap().parse().unwrap();
    assert_eq!(lines.next(), None, "{checked}");
    let lost = told.saturating_sub(kept);
    assert!(lost <= LOST, "{lost} commits are lost: {kept} of {told}");
    lost
}

fn restarted(host: &Host, id: &str) {
    host.wait_for(id, "lifecycle", "crashed");
    let _ = host.cli(["restart", id]).text();
    host.wait_for(id, "lifecycle", "running");
    until("its repository to be looked at", BOOT, || {
        let state = host.show(id)["repository_state"].as_str().unwrap_or_default().to_owned();
        assert!(!state.starts_with("broken"), "{state}");
        // On a busy machine that may take too long, which is said; the test looks at it itself in any case.
        let looked = ["whole after its last restart, HEAD ", "not looked at after its last restart: that took over "];
        looked.iter().any(|begin| state.starts_with(begin)).then_some(())
    });
}

#[test]
fn no_end_of_a_vm_breaks_a_repository_or_loses_more_than_two_seconds() {
    let mut host = Host::start();
    let id = host.session("commits", &["sh", "-c", AGENT]);
    for round in 1..=rounds() {
        // It works on while no hostd runs.
        works_on(&host, &id);
        host.kill();
        host.launch();
        works_on(&host, &id);
        let hostd = whole(&host, &id, told(&host, &id));

        works_on(&host, &id);
        host.vms().iter().for_each(|vm| vm.signal(Signal::KILL));
        host.wait_for(&id, "lifecycle", "crashed");
        let last = told(&host, &id);
        restarted(&host, &id);
        let qemu = whole(&host, &id, last);

        works_on(&host, &id);
        let before = host.show(&id)["generation"].as_u64().unwrap();
        host.stop();
        assert!(host.vms().is_empty());
        host.launch();
        host.wait_for(&id, "lifecycle", "running");
        let resumed = host.show(&id);
        assert_eq!(resumed["generation"], before + 1, "{resumed}");
        assert!(resumed["resumed_in_ms"].as_u64().is_some(), "it was booted: {resumed}");
        let stopped = whole(&host, &id, told(&host, &id));
        eprintln!("round {round}: commits lost: {hostd} hostd killed, {qemu} QEMU killed, {stopped} hostd stopped");
    }
}
