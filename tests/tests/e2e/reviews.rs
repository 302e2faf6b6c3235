//! From a pull request opened inside a session to its merge, and a queue of two hundred.

use std::process::Command;

use tests::{Host, Outcome, run};

fn shell(host: &Host, id: &str, script: &str) -> Outcome {
    host.exec(id, &["sh", "-ec", script])
}

fn in_bare(host: &Host, args: &[&str]) -> String {
    run(Command::new("git").arg("-C").arg(host.data().join("git/widgets.git")).args(args), &[]).text()
}

const CLONE: &str = "git clone -q http://pilothouse.internal/git/widgets.git /tmp/clone
cd /tmp/clone
git config user.email a@b.invalid
git config user.name A";

#[test]
fn a_pull_request_from_open_to_merged() {
    let host = Host::start();
    let id = host.session("fixer", &[]);
    let slug = host.slug(&id);
    let _ = shell(&host, &id, CLONE).text();
    let early = shell(&host, &id, "session pr open --title 'Fix it'");
    early.assert_failed(1, &["nothing was pushed", &format!("HEAD:refs/heads/agent/{slug}/work")]);
    let push = format!(
        "cd /tmp/clone; echo one >> FIX; git add FIX; git commit -qm 'Fix it'; git push -q origin HEAD:refs/heads/agent/{slug}/work"
    );
    let _ = shell(&host, &id, &push).text();
    for _ in 0..2 {
        assert_eq!(shell(&host, &id, "session pr open --title 'Fix it' --body 'As asked.'").text(), "1");
    }
    let _ = shell(&host, &id, &push).text();
    let pull = host.cli(["review", "show", "1", "--json"]).json();
    assert_eq!(
        (&pull["author"], &pull["revision"], &pull["state"]),
        (&slug.as_str().into(), &2.into(), &"open".into())
    );
    assert_eq!(pull["head"], in_bare(&host, &["rev-parse", &format!("agent/{slug}/work")]));

    let _ = host.cli(["review", "comment", "1", "--file", "FIX", "--line", "2", "Why twice?"]).text();
    host.cli(["review", "comment", "1", "--file", "FIX", "--line", "3", "?"])
        .assert_failed(3, &["has no line 3 (it has 2)"]);
    host.cli(["review", "merge", "1", "--yes"]).assert_failed(4, &["it is not approved"]);
    let _ = host.cli(["repo", "set", "widgets", "--require", "unit", "--merge", "squash"]).text();
    let _ = host.cli(["review", "approve", "1"]).text();
    host.cli(["review", "merge", "1", "--yes"]).assert_failed(4, &["required checks of", "are not done: unit"]);
    let head = pull["head"].as_str().unwrap();
    let report = ["checks", "report", "--repo", "widgets", "--commit", head, "--name", "unit", "--state"];
    let _ = host.cli(report.iter().chain(&["failed", "--log", "-"])).text();
    host.cli(["review", "merge", "1", "--yes"]).assert_failed(4, &["the required check `unit` failed"]);
    let _ = host.cli(report.iter().chain(&["passed"])).text();

    // What is pushed now was neither seen nor checked.
    let _ = shell(&host, &id, &push).text();
    host.cli(["review", "merge", "1", "--yes"]).assert_failed(4, &["approved revision 2, but the head is revision 3"]);
    host.cli(["review", "approve", "1", "--head", head]).assert_failed(4, &["the head has moved"]);
    let _ = host.cli(["review", "approve", "1"]).text();
    let new = in_bare(&host, &["rev-parse", &format!("agent/{slug}/work")]);
    let report = ["checks", "report", "--repo", "widgets", "--commit", &new, "--name", "unit", "--state", "passed"];
    let _ = host.cli(report).text();
    let merged = host.cli(["review", "merge", "widgets#1", "--yes", "--json"]).json();
    assert_eq!((&merged["state"], &merged["merge_method"]), (&"merged".into(), &"squash".into()));
    assert_eq!(in_bare(&host, &["log", "-1", "--format=%s", "main"]), "Fix it (#1)");
    assert_eq!(in_bare(&host, &["show", "main:FIX"]), "one\none\none");
    assert_eq!(in_bare(&host, &["for-each-ref", "refs/heads/agent"]), "");
    assert!(host.cli(["review", "ls", "--json"]).json().as_array().unwrap().is_empty());
}

/// The rows are real: opened from inside, one branch each. They outlive hostd.
#[test]
fn a_queue_of_two_hundred_outlives_hostd() {
    let mut host = Host::start();
    let id = host.session("many", &[]);
    let slug = host.slug(&id);
    let script = format!(
        "{CLONE}
        git commit -q --allow-empty -m Many
        git push -q origin $(seq -f 'HEAD:refs/heads/agent/{slug}/b%g' 200)
        for n in $(seq 200); do session pr open --title \"Part $n\" --branch b$n; done
        git commit -q --allow-empty -m More
        git push -q origin HEAD:refs/heads/agent/{slug}/b42"
    );
    let numbers = shell(&host, &id, &script).text();
    assert_eq!(numbers.lines().count(), 200, "{numbers}");
    let _ = host.cli(["repo", "set", "widgets", "--require", "unit"]).text();
    host.kill();
    host.launch();
    let all = host.cli(["review", "ls", "--json"]).json();
    assert_eq!(all.as_array().unwrap().len(), 200);
    assert_eq!(host.cli(["review", "show", "117", "--json"]).json()["title"], "Part 117");
    rules_hold_in_the_queue(&host);
}

/// All have the same head but number 42, which has moved.
fn rules_hold_in_the_queue(host: &Host) {
    let pull = |number: &str| host.cli(["review", "show", number, "--json"]).json();
    let (old, moved) = (pull("117")["head"].clone(), pull("42"));
    let old = old.as_str().unwrap();
    assert_eq!((&moved["revision"], &moved["revisions"][0]["head"]), (&2.into(), &old.into()), "{moved}");
    host.cli(["review", "approve", "42", "--head", old]).assert_failed(4, &["the head has moved"]);
    assert!(pull("42")["reviews"].as_array().unwrap().is_empty());
    for number in ["42", "117"] {
        let _ = host.cli(["review", "approve", number]).text();
        host.cli(["review", "merge", number, "--yes"]).assert_failed(4, &["are not done: unit"]);
    }
    let report = ["checks", "report", "--repo", "widgets", "--commit", old, "--name", "unit", "--state", "passed"];
    let _ = host.cli(report).text();
    let queue = host.cli(["review", "ls", "--json"]).json();
    let others: Vec<_> = queue.as_array().unwrap().iter().filter(|pull| pull["checks_state"] != "passed").collect();
    assert_eq!(others.len(), 1, "{others:?}");
    assert_eq!(others[0]["number"], 42);
    host.cli(["review", "merge", "42", "--yes"]).assert_failed(4, &["are not done: unit"]);
    host.cli(["review", "merge", "118", "--yes"]).assert_failed(4, &["it is not approved"]);
    host.cli(["review", "merge", "117", "--yes", "--head", moved["head"].as_str().unwrap()])
        .assert_failed(4, &["the head has moved"]);
    assert_eq!(host.cli(["review", "merge", "117", "--yes", "--json"]).json()["state"], "merged");
}

/// HEAD of the repository is broken.
fn a_recipe_without_a_branch_takes_what_head_names(host: &Host) {
    let recipe = std::fs::read_to_string(tests::paths::root().join("tests/environments/tools.toml")).unwrap();
    let file = host.data().join("bare.toml");
    std::fs::write(&file, recipe.replace(r#" branch = "main","#, "")).unwrap();
    let build = || host.cli(["env", "build", file.to_str().unwrap()]);
    build().assert_failed(1, &["its HEAD names the branch \"gone\"", "name a `branch` in the recipe", "of: main"]);
    let _ = in_bare(host, &["symbolic-ref", "HEAD", "refs/heads/main"]);
    // The same inputs as with the branch named: its build is there already.
    let _ = build().text();
}

#[test]
fn a_repository_is_imported_whole_or_not_at_all() {
    let host = Host::start();
    let widgets = host.data().join("git/widgets.git");
    let copy = host.cli(["repo", "add", widgets.to_str().unwrap(), "--name", "copy", "--json"]).json();
    assert_eq!(
        (&copy["default_branch"], &copy["head"]),
        (&"main".into(), &in_bare(&host, &["rev-parse", "main"]).into())
    );
    let _ = in_bare(&host, &["symbolic-ref", "HEAD", "refs/heads/gone"]);
    let broken = host.cli(["repo", "add", widgets.to_str().unwrap(), "--name", "broken"]);
    broken.assert_failed(1, &["its HEAD names the branch `gone`, which is not there", "--branch", "main"]);
    host.cli(["repo", "show", "broken"]).assert_failed(3, &["there is no repository `broken`"]);
    host.cli(["repo", "add", "/nowhere/at/all"]).assert_failed(1, &["could not be cloned"]);
    a_recipe_without_a_branch_takes_what_head_names(&host);
    let names = host.cli(["repo", "ls", "--json"]).json();
    let names: Vec<_> = names.as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap().to_owned()).collect();
    assert_eq!(names, ["copy", "widgets"]);
}
