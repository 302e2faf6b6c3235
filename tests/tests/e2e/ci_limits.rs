//! Checks that print too much, or never end.

use std::fs;

use tests::{Host, until, wait::BOOT};

use super::ci::{CLONE, build, over};

/// One prints far more than is kept of a log, the other one for ever.
const CHECKS: &str = r#"
[[ci.checks]]
name = "unit"
command = ["sh", "-c", "yes | head -c 128M; echo the end; exit 3"]

[[ci.checks]]
name = "endless"
command = ["yes"]
timeout = "3s"
required = false
"#;

/// Longest log kept, in bytes.
const LOG_MAX: usize = 4 << 20;
/// What hostd's memory may grow by for two runs, in bytes.
const GROWTH: u64 = 96 << 20;

#[test]
fn checks_that_print_too_much_or_never_end_are_bounded() {
    let host = Host::start();
    build(&host, CHECKS);
    let id = host.session("fixer", &[]);
    let push =
        format!("git commit -q --allow-empty -m Fix; git push -q origin HEAD:refs/heads/agent/{}/work", host.slug(&id));
    let _ = host.exec(&id, &["sh", "-ec", &format!("{CLONE}; {push}")]).text();
    let before = host.peak();
    assert_eq!(host.exec(&id, &["session", "pr", "open", "--title", "Fix"]).text(), "1");

    let loud = over(&host, "unit");
    assert_eq!(
        (&loud["state"], &loud["summary"]),
        (&"failed".into(), &"ended with exit code 3: the end".into()),
        "{loud}"
    );
    let log = host.cli(["checks", "log", "1", "unit"]).text();
    assert!(log.len() <= LOG_MAX, "{}", log.len());
    let (first, last) = (log.lines().next().unwrap(), log.lines().last().unwrap());
    assert!(first.starts_with("pilothouse: ") && first.ends_with(" bytes are left out here"), "{first}");
    assert_eq!(last, "pilothouse: failed: ended with exit code 3: the end");

    let endless = over(&host, "endless");
    assert_eq!((&endless["state"], &endless["summary"]), (&"failed".into(), &"timed out after 3 s".into()));
    let log = host.cli(["checks", "log", "1", "endless"]).text();
    assert!(log.len() <= LOG_MAX && log.ends_with("\npilothouse: failed: timed out after 3 s"), "{}", log.len());

    let kept = fs::read_dir(host.data().join("checks")).unwrap();
    let kept: Vec<_> = kept.map(|log| log.unwrap().metadata().unwrap().len()).collect();
    assert!(kept.len() == 2 && kept.iter().all(|length| *length <= LOG_MAX as u64), "{kept:?}");
    let grown = host.peak() - before;
    assert!(grown < GROWTH, "hostd grew by {} MiB", grown >> 20);
    until("CI to have left nothing", BOOT, || {
        (host.vms().len() == 1 && fs::read_dir(host.data().join("ci")).unwrap().count() == 0).then_some(())
    });
}
