//! The checks of a pull request, in VMs of their own.

use std::{fs, process::Command};

use serde_json::Value;
use tests::{
    Host, paths, run, until,
    wait::{BOOT, SOON},
};

const CHECKS: &str = r#"
[[ci.checks]]
name = "unit"
command = ["sh", "-c", "cat FIX; hostname; grep -q good FIX"]

[[ci.checks]]
name = "style"
command = ["git", "diff", "--check", "HEAD~1"]
required = false
"#;

pub(super) const CLONE: &str = "git clone -q http://pilothouse.internal/git/widgets.git /tmp/clone
cd /tmp/clone
git config user.email a@b.invalid
git config user.name A";

/// Ends when the repository has the branch `go`.
const PATIENT: &str = r#"
[[ci.checks]]
name = "unit"
command = ["sh", "-c", "echo begun; until git ls-remote --exit-code origin refs/heads/go; do sleep 0.1; done"]
"#;

/// Builds `tools` with these checks.
pub(super) fn build(host: &Host, checks: &str) {
    let recipe = host.data().join("tools.toml");
    let tools = fs::read_to_string(paths::root().join("tests/environments/tools.toml")).unwrap();
    fs::write(&recipe, tools + checks).unwrap();
    let _ = host.cli(["env", "build", recipe.to_str().unwrap()]).text();
    let required = || host.cli(["repo", "show", "widgets", "--json"]).json()["rules"]["required_checks"].clone();
    until("the rules to know the checks", BOOT, || (required() == serde_json::json!(["unit"])).then_some(()));
}

#[test]
fn each_revision_of_a_pull_request_is_checked() {
    let host = Host::start();
    build(&host, CHECKS);
    let id = host.session("fixer", &[]);
    let slug = host.slug(&id);
    let push = |text: &str| {
        let script = format!(
            "cd /tmp/clone; echo {text} > FIX; git add FIX; git commit -qm '{text}'; \
             git push -q origin HEAD:refs/heads/agent/{slug}/work"
        );
        let _ = host.exec(&id, &["sh", "-ec", &script]).text();
    };
    let _ = host.exec(&id, &["sh", "-ec", CLONE]).text();
    push("bad");
    assert_eq!(host.exec(&id, &["sh", "-ec", "cd /tmp/clone; session pr open --title Fix"]).text(), "1");
    let failed = over(&host, "unit");
    assert_eq!((&failed["state"], &failed["required"]), (&"failed".into(), &true.into()), "{failed}");
    let log = host.cli(["checks", "log", "1", "unit"]).text();
    let lines: Vec<&str> = log.lines().collect();
    assert!(lines.contains(&"bad") && lines.iter().any(|line| line.starts_with("ci-unit-")), "{log}");
    assert_eq!(over(&host, "style")["state"], "passed");

    push("good");
    assert_eq!(over(&host, "unit")["state"], "passed");
    assert_eq!(host.cli(["checks", "rerun", "1", "unit"]).text(), "unit runs again");
    let log = host.cli(["checks", "log", "1", "unit", "--follow"]).text();
    assert!(log.contains("good") && log.trim_end().lines().last().unwrap().contains("passed"), "{log}");
    over(&host, "style");
    until("CI to have left nothing", BOOT, || {
        (host.vms().len() == 1 && fs::read_dir(host.data().join("ci")).unwrap().count() == 0).then_some(())
    });
    host.cli(["checks", "rerun", "1", "lint"]).assert_failed(4, &["`lint` is not run here"]);
}

/// Nothing of it is root's but the setup, which makes the user.
const USER: &str = r#"
user = "dev"
setup = ["useradd --create-home --shell /bin/bash --groups video dev"]
ci = { command = ["sh", "-c", "id -un; git log -1 --format=%s"] }
"#;

const AGENT: &str = "id -un; id -Gn; echo \"$HOME $USER $LOGNAME $SHELL\"; echo seen >/dev/stderr; tty
git config user.email a@example.com; date > stamp; git add stamp; git commit -qm stamp
git push -q origin HEAD:$PILOTHOUSE_BRANCH && session pr open --title stamp; session status done ok; exec sleep 1000";

/// The same without a `user` in the recipe: root begins, and gives the tree away.
const RUNUSER: &str = "useradd --create-home dev && chown -R dev: . && exec runuser -u dev -- sh -c '
git config user.email a@example.com; git config user.name dev; id -un >stamp; git add stamp; git commit -qm stamp
git push -q origin HEAD:$PILOTHOUSE_BRANCH && session pr open --title stamp; session status done ok; exec sleep 1000'";

#[test]
fn an_agent_that_is_not_root_is_checked_and_compared() {
    let host = Host::start();
    let tools = fs::read_to_string(paths::root().join("tests/environments/tools.toml")).unwrap();
    let recipe = host.data().join("dev.toml");
    let build = |text: &str| {
        fs::write(&recipe, tools.replace("\"tools\"", "\"dev\"") + text).unwrap();
        host.cli(["env", "build", recipe.to_str().unwrap()])
    };
    // Whom the setup does not make, the build makes itself.
    let unmade = build(&USER.replace("setup = [\"useradd", "setup = [\"true"));
    assert!(unmade.text().starts_with("dev is ready"), "{}", unmade.text());
    let _ = build(USER).text();
    let id = host.cli(["new", "--env", "dev", "--title", "stamp", "--", "sh", "-c", AGENT]).text();
    host.wait_for(&id, "activity", "done");
    for line in ["dev", "dev video", "/home/dev dev dev /bin/bash", "seen", "/dev/pts/0"] {
        until(&format!("{line:?} on its terminal"), BOOT, || {
            let log = host.cli(["log", &id]).text().replace('\r', "");
            log.lines().any(|shown| shown == line).then_some(())
        });
    }
    assert_eq!(over(&host, "ci")["state"], "passed");
    let log = host.cli(["checks", "log", "1", "ci"]).text();
    assert!(log.lines().any(|line| line == "dev") && log.contains("stamp"), "{log}");
    // Whoever it is that works with it.
    let git = ["sh", "-c", "id -un && git -C /work/widgets log -1 --format=%s"];
    assert_eq!(host.exec(&id, &git).text(), "dev\nstamp");
    assert_eq!(host.cli(["exec", "--user", "root", &id, "--"].iter().chain(&git)).text(), "root\nstamp");
    assert!(host.cli(["diff", &id, "--name-only"]).text().contains("stamp"));
    let _ = host.cli(["suspend", &id]).text();
    assert!(host.cli(["diff", &id, "--name-only"]).text().contains("stamp"));
    assert_eq!(host.show(&id)["lifecycle"], "suspended");

    let id = host.session("given", &["sh", "-c", RUNUSER]);
    host.wait_for(&id, "activity", "done");
    assert_eq!(over_of(&host, "2", "ci")["state"], "passed");
    let log = host.cli(["checks", "log", "2", "ci"]).text();
    assert!(log.contains("stamp"), "{log}");
    assert!(host.cli(["diff", &id]).text().contains("+dev"));
    assert_eq!(host.exec(&id, &["git", "-C", "/work/widgets", "status", "--porcelain"]).text(), "");
    let _ = host.cli(["suspend", &id]).text();
    assert!(host.cli(["diff", &id, "--name-only"]).text().contains("stamp"));
}

/// hostd dies while a check runs: the next one ends its VM, and runs it again from the beginning.
#[test]
fn a_check_cut_off_by_a_dead_hostd_runs_again() {
    let mut host = Host::start();
    build(&host, PATIENT);
    let id = host.session("fixer", &[]);
    let push =
        format!("git commit -q --allow-empty -m Fix; git push -q origin HEAD:refs/heads/agent/{}/work", host.slug(&id));
    let _ = host.exec(&id, &["sh", "-ec", &format!("{CLONE}; {push}")]).text();
    assert_eq!(host.exec(&id, &["session", "pr", "open", "--title", "Fix"]).text(), "1");
    let folders = || {
        let entries = fs::read_dir(host.data().join("ci")).into_iter().flatten();
        entries.map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>()
    };
    let begun = || {
        let log = host.cli(["checks", "log", "1", "unit"]);
        (log.code == 0 && String::from_utf8_lossy(&log.stdout).lines().any(|line| line == "begun")).then_some(())
    };
    until("the check to be under way", BOOT, begun);
    let (cut_off, vms) = (folders(), host.vms());
    assert_eq!((cut_off.len(), vms.len()), (1, 2));

    host.kill();
    assert!(vms.iter().all(|vm| vm.runs()), "hostd took its VMs with it");
    host.launch();
    // The session's is taken over.
    let left = || vms.iter().filter(|vm| vm.runs()).count();
    until("the VM of the run that was cut off to be gone", BOOT, || (left() == 1).then_some(()));
    let again = || {
        let now: Vec<_> =
            fs::read_dir(host.data().join("ci")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        (now.len() == 1 && now != cut_off).then_some(())
    };
    until("a run in its place", BOOT, again);
    let bare = host.data().join("git/widgets.git");
    let _ = run(Command::new("git").arg("-C").arg(bare).args(["update-ref", "refs/heads/go", "main"]), &[]).text();
    assert_eq!(over(&host, "unit")["state"], "passed");
    assert_eq!(host.cli(["checks", "log", "1", "unit"]).text().matches("begun\n").count(), 1);
    until("the VM of the run to be gone", SOON, || (host.vms().len() == 1).then_some(()));
    assert_eq!((left(), &host.show(&id)["lifecycle"]), (1, &"running".into()));
}

/// A check of the head, once it is over.
pub(super) fn over(host: &Host, name: &str) -> Value {
    over_of(host, "1", name)
}

fn over_of(host: &Host, pull: &str, name: &str) -> Value {
    until(&format!("{name} to be over"), BOOT, || {
        let checks = host.cli(["checks", "ls", pull, "--json"]).json();
        let check = checks.as_array().unwrap().iter().find(|check| check["name"] == name)?.clone();
        (check["state"] != "queued" && check["state"] != "running").then_some(check)
    })
}
