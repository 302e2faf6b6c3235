//! The commands that ask and tell: their output, their errors, several hosts.

use pilothouse_proto::hostd::v1::{Allowed, Checkpoint, ModelUsage, Permission, Refused, Session};
use rstest::rstest;

use crate::{
    fake::{Fake, session},
    program::{command, run},
    terminal::OnTerminal,
};

#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_listed_shown_created_and_sent_to() {
    let mut waits = session("beta");
    (waits.attention, waits.reason) = ("you".into(), "asks: \x1b[2Jwhich?".into());
    (waits.word, waits.lifecycle, waits.activity) = ("asks".into(), "suspended".into(), "needs-input".into());
    waits.turn_since =
        (std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as i64) - 7_500_000;
    let fake = Fake::start(vec![session("alpha"), waits]).await;
    let ran = fake.run(&["ls"]).await;
    let lines: Vec<&str> = ran.text().lines().collect();
    assert!(lines[0].starts_with("SESSION  STATE    TURN   WHY") && lines.len() == 3, "{}", ran.text());
    assert!(fake.run(&["restart", "beta", "--yes"]).await.code == 0, "its memory is given up, as was said");
    // What it is about, not how it is kept; and since when, not since its creation.
    assert!(lines[1].starts_with("beta     asks     you    asks: [2Jwhich?  Title of beta"), "{}", ran.text());
    assert!(lines[1].ends_with("suspended  2h"), "{}", ran.text());
    let ran = fake.run(&["ls", "--json"]).await;
    let slugs: Vec<_> = ran.json().as_array().unwrap().iter().map(|s| s["slug"].as_str().unwrap().to_owned()).collect();
    assert_eq!(slugs, ["alpha", "beta"]);
    assert_eq!(fake.run(&["show", "be", "--json"]).await.json()["host"], "madeup");
    assert!(fake.run(&["show", "be"]).await.text().contains("turn          you: asks: [2Jwhich?"));
    let ran = fake.run(&["new", "--env", "demo", "--json", "fix", "it", "--", "sh", "-c", "true"]).await;
    assert_eq!((&ran.json()["task"], ran.json()["command"][2].as_str()), (&"fix it".into(), Some("true")));
    assert_eq!(fake.run(&["send", "al", "use", "two"]).await.code, 0);
    assert_eq!(fake.state.heard(), "use two");
    assert_eq!(fake.run(&["send", "al", "--key", "Down", "-k", "C-c"]).await.code, 0);
    assert_eq!(fake.run(&["send", "al", "--no-enter", "/model"]).await.code, 0);
    assert_eq!(fake.run_with(&["send", "al"], b"two\nlines\n").await.code, 0);
    assert_eq!(fake.state.heard(), "use two[Down C-c]/model\u{2026}two\nlines");
    assert_eq!(fake.run(&["log", "al"]).await.stdout, b"\x1b[31mred\x1b[2J\xff\n");
    let ran = fake.run(&["fork", "al", "--title", "other way", "--json"]).await;
    assert_eq!((&ran.json()["title"], ran.json()["forked_from"].as_str().is_some()), (&"other way".into(), true));
    assert!(fake.run(&["fork", "al"]).await.text().ends_with('\n'));
    assert_eq!(fake.run(&["host", "show", "madeup", "--json"]).await.json()["cpus"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn checkpoints_are_taken_listed_and_gone_back_to() {
    let known = |number, automatic| Checkpoint { number, at: 1, bytes: 5 << 20, automatic, stood_ms: 0 };
    let crashed =
        Session { lifecycle: "crashed".into(), checkpoints: vec![known(2, true), known(3, false)], ..session("beta") };
    let full = [known(4, false), known(5, true), known(6, false), known(7, false)];
    let full = Session { checkpoints: full.to_vec(), ..session("gamma") };
    let fake = Fake::start(vec![session("alpha"), crashed, full]).await;
    let ran = fake.run(&["checkpoint", "al"]).await;
    assert_eq!((ran.text(), ran.stderr.as_str()), ("1\n", ""));
    let ran = fake.run(&["checkpoint", "gamma"]).await;
    assert_eq!(ran.text(), "8\n");
    assert!(ran.stderr.contains("checkpoint 4, ") && ran.stderr.contains("is not kept any more"), "{}", ran.stderr);
    assert!(!ran.stderr.contains("checkpoint 5") && !ran.stderr.contains("checkpoint 6"), "{}", ran.stderr);
    assert_eq!(fake.run(&["checkpoint", "al", "--json"]).await.json()["stood_ms"], 41);
    let ran = fake.run(&["checkpoint", "beta"]).await;
    assert_eq!(ran.code, 4, "{}", ran.stderr);
    let ran = fake.run(&["checkpoint", "ls", "beta"]).await;
    let lines: Vec<Vec<&str>> = ran.text().lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!((lines.len(), lines[1][0], lines[2][0]), (3, "3", "2"), "the newest first: {}", ran.text());
    assert!(lines[1].ends_with(&["person"]) && lines[2].ends_with(&["schedule"]), "{}", ran.text());
    let ran = fake.run(&["checkpoint", "ls", "beta", "--json"]).await;
    assert_eq!((&ran.json()[0]["number"], &ran.json()[0]["stood_ms"]), (&3.into(), &serde_json::Value::Null));
    assert_eq!(fake.run(&["show", "beta", "--json"]).await.json()["checkpoints"][1]["bytes"], 5 << 20);
    assert!(fake.run(&["show", "beta"]).await.text().contains("checkpoints"), "a crash offers them");
    // What is lost is asked, and said where nobody can be asked.
    let ran = fake.run(&["restart", "beta", "--from", "last"]).await;
    assert!(ran.code == 2 && ran.stderr.contains("checkpoint 3 gives up what beta did"), "{}", ran.stderr);
    let ran = fake.run(&["restart", "beta", "--from", "last", "--yes", "--json"]).await;
    assert_eq!(ran.json()["reason"], "went back to 3");
    let ran = fake.run(&["restart", "beta", "--from", "9", "--yes"]).await;
    assert!(ran.code == 3 && ran.stderr.contains("beta has no checkpoint 9"), "{}", ran.stderr);
    assert_eq!(fake.run(&["restart", "alpha", "--from", "last", "--yes"]).await.code, 3);
    assert_eq!(fake.run(&["fork", "beta", "--from", "2", "--json"]).await.json()["title"], "from 2");
    assert_eq!(fake.run(&["fork", "beta", "--from", "0"]).await.code, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_is_drained_after_a_question_and_says_so() {
    let fake = Fake::start(vec![session("alpha")]).await;
    let ran = fake.run(&["host", "drain"]).await;
    assert!(ran.code == 2 && ran.stderr.contains("draining madeup suspends"), "{}", ran.stderr);
    assert_eq!(fake.run(&["host", "ls", "--json"]).await.json()[0]["drained_by"], serde_json::Value::Null);
    let ran = fake.run(&["host", "drain", "--yes", "--json"]).await;
    assert_eq!((ran.code, ran.json()["left"].as_array().map(Vec::len)), (0, Some(0)));
    assert!(fake.run(&["host", "ls"]).await.text().contains("drained"));
    assert!(fake.run(&["host", "show"]).await.text().contains("by sam, "));
    assert_eq!(fake.run(&["host", "undrain", "madeup"]).await.code, 0);
    assert!(!fake.run(&["host", "ls"]).await.text().contains("drained"));
    let fake = Fake::start(vec![session("stuck")]).await;
    let ran = fake.run(&["host", "drain", "madeup", "--yes"]).await;
    assert!(ran.code == 1 && ran.stderr.contains("still on their way to the disk: stuck"), "{}", ran.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_story_says_who_did_what_also_of_a_session_that_is_gone() {
    let fake = Fake::start(vec![session("alpha")]).await;
    let ran = fake.run(&["events", "al"]).await;
    let lines: Vec<&str> = ran.text().lines().collect();
    assert!(lines[0].ends_with("Z  ann               created            in demo"), "{}", ran.text());
    assert!(lines[1].ends_with("Z  hostd             crashed            its guest [2Jstopped"), "{}", ran.text());
    let ran = fake.run(&["events", "al", "--json", "--limit", "1"]).await;
    assert_eq!(ran.text().lines().count(), 1, "an object a line");
    let event = ran.json();
    assert_eq!((&event["what"], &event["actor"]["kind"]), (&"crashed".into(), &"host".into()));
    assert_eq!(fake.run(&["events", "01j0000000000000000000gone"]).await.text().lines().count(), 2);
    assert_eq!(fake.run(&["events", "01J0000000000000000000NONE"]).await.code, 3);
    assert_eq!(fake.run(&["events", "beta"]).await.code, 3);
    let shown = fake.run(&["show", "al"]).await;
    assert!(shown.text().contains("\nlast done by  agent of ann, "), "{}", shown.text());
    assert!(shown.text().contains("d ago: asks which[2J?\n"), "{}", shown.text());
    let (shown, listed) = (fake.run(&["show", "al", "--json"]).await.json(), fake.run(&["ls", "--json"]).await.json());
    for last in [&shown["last_event"], &listed[0]["last_event"]] {
        assert_eq!((&last["what"], &last["actor"]["person"]), (&"asks".into(), &"ann".into()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_session_was_refused_is_shown() {
    let mut retries = session("alpha");
    let refused =
        Refused { destination: "a\u{200b}.example:443".into(), why: "not in egress".into(), ..Default::default() };
    retries.refused = vec![Refused { count: 12, ..refused }];
    let fake = Fake::start(vec![retries]).await;
    let text = fake.run(&["show", "alpha"]).await;
    assert!(text.text().contains("\nrefused       a.example:443 12 times, last "), "{}", text.text());
    assert_eq!(fake.run(&["show", "alpha", "--json"]).await.json()["refused"][0]["count"], 12);
    assert_eq!(fake.run(&["ls", "--json"]).await.json()[0]["refused"][0]["count"], 12);
    let listed = fake.run(&["ls"]).await;
    assert!(listed.text().contains("1 destination refused; working"), "{}", listed.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_permission_is_answered_by_a_word() {
    let mut asks = session("alpha");
    let keys = |keys: &[&str]| keys.iter().map(|key| (*key).to_owned()).collect();
    let asked =
        Permission { id: "p1".into(), text: "Bash(\x1b[2Jls)".into(), allow: keys(&["y"]), deny: keys(&["Esc"]) };
    asks.permission = Some(asked);
    let fake = Fake::start(vec![asks, session("beta")]).await;
    let shown = fake.run(&["show", "al"]).await;
    let line = "\npermission    Bash([2Jls) (y allows, Esc denies; `pilothouse answer`)\n";
    assert!(shown.text().contains(line), "{}", shown.text());
    let asked = &fake.run(&["show", "al", "--json"]).await.json()["permission"];
    assert_eq!((&asked["id"], &asked["allow"][0]), (&"p1".into(), &"y".into()));
    assert_eq!(fake.run(&["answer", "al", "allow"]).await.text(), "allowed: Bash([2Jls) (pressed y)\n");
    let ran = fake.run(&["answer", "al", "deny", "--permission", "p1", "--json"]).await;
    assert_eq!(
        (ran.code, &ran.json()["permission"], &*fake.state.heard()),
        (0, &serde_json::Value::Null, "p1: true;p1: false;")
    );
    let ran = fake.run(&["answer", "al", "allow", "--permission", "p0"]).await;
    assert_eq!((ran.code, &*ran.stderr), (4, "error: it does not ask for a permission any more\n"));
    let ran = fake.run(&["answer", "beta", "deny"]).await;
    assert!(ran.code == 4 && ran.stderr.starts_with("error: beta needs no permission\nhint: "), "{ran:?}");
    assert_eq!(fake.run(&["answer", "al", "perhaps"]).await.code, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_waited_for_is_seen_on_a_terminal() {
    let fake = Fake::start(vec![session("alpha")]).await;
    let waits = OnTerminal::start(&fake, &["wait", "alpha", "--until", "done"]);
    waits.shows("waiting for alpha to become done").await;
    waits.signal(rustix::process::Signal::TERM);
    let waits = OnTerminal::start(&fake, &["send", "alpha", "late"]);
    waits.shows("sending to alpha").await;
    waits.signal(rustix::process::Signal::TERM);
}

/// The script in a real shell, which asks the program, which asks the host.
#[tokio::test(flavor = "multi_thread")]
async fn completions_know_sessions_environments_repositories_and_pull_requests() {
    let fake = Fake::start(vec![session("alpha"), session("beta")]).await;
    fake.state.has_pull(7);
    let program = fake.command(&[]).as_std().get_program().to_owned();
    let path = std::path::Path::new(&program).parent().unwrap().to_str().unwrap().to_owned();
    for (words, wanted) in [
        (&["pilothouse", "show", "al"][..], "alpha"),
        (&["pilothouse", "rm", "--yes", "be"], "beta"),
        (&["pilothouse", "new", "--env", "de"], "demo"),
        (&["pilothouse", "env", "build", "d"], "demo"),
        (&["pilothouse", "susp"], "suspend"),
        (&["pilothouse", "review", "approve", "widgets#7"], "widgets#7"),
        (&["pilothouse", "diff", "widgets#7"], "widgets#7"),
        (&["pilothouse", "repo", "show", "wid"], "widgets"),
        (&["pilothouse", "checks", "ls", "--repo", "wid"], "widgets"),
    ] {
        let last = words.last().unwrap();
        let script = format!(
            "PATH={path}:$PATH; eval \"$(pilothouse completions bash)\"; COMP_WORDS=({}); COMP_CWORD={}; COMP_TYPE=9; \
             _clap_complete_pilothouse pilothouse {last}; printf '%s' \"${{COMPREPLY[*]}}\"",
            words.join(" "),
            words.len() - 1,
        );
        let mut bash = tokio::process::Command::new("bash");
        bash.args(["-c", &script]).env("PILOTHOUSE_HOST", fake.address());
        bash.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        let ran = run(bash, b"").await;
        assert_eq!((ran.text(), ran.stderr.as_str()), (wanted, ""), "{words:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn help_that_does_not_arrive_is_a_failure() {
    let home = tempfile::tempdir().unwrap();
    for arguments in [&["--help"][..], &["--version"], &["exec", "--help"], &["completions", "zsh"]] {
        let mut full = command(home.path(), None, arguments);
        full.stdout(std::fs::File::options().write(true).open("/dev/full").unwrap());
        let code = full.stderr(std::process::Stdio::null()).status().await.unwrap().code();
        assert_eq!(code, Some(1), "{arguments:?}");
    }
}

#[rstest]
#[case(&["show", "nobody"], 3, "error: there is no such session\n")]
#[case(&["show", ""], 2, "error: more than one session is meant\n")]
#[case(&["send", "alpha", "x", "--key", "Esc"], 2, "")]
#[case(&["resume", "alpha"], 4, "error: could not be resumed: its template is gone\n")]
#[case(&["restart", "alpha"], 4, "error: it is running; only a stopped or crashed session can be restarted\n")]
#[case(&["new", "--env", "other"], 4, "error: the environment was never built\n")]
#[case(&["host", "show", "x"], 3, "error: there is no host `x`\nhint: `pilothouse host ls` lists them\n")]
#[case(&["--host", "x", "ls"], 2, "")]
#[case(&["frobnicate"], 2, "")]
#[case(&[], 2, "the other commands\n")]
#[case(&["new", "fix it"], 2, "")]
#[tokio::test(flavor = "multi_thread")]
async fn errors_are_one_line_with_an_exit_code(#[case] arguments: &[&str], #[case] code: i32, #[case] says: &str) {
    let fake = Fake::start(vec![session("alpha"), session("beta")]).await;
    let ran = fake.run(arguments).await;
    assert_eq!((ran.code, ran.text()), (code, ""));
    assert!(ran.stderr.starts_with("error: ") && ran.stderr.ends_with(says), "{}", ran.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting_needs_a_word() {
    let fake = Fake::start(vec![session("alpha"), session("beta")]).await;
    let ran = fake.run(&["rm", "alpha"]).await;
    assert!(ran.code == 2 && ran.stderr.contains("hint: say --yes"), "{ran:?}");
    let ran = fake.run(&["rm", "--yes", "alpha", "nobody"]).await;
    assert_eq!((ran.code, fake.state.sessions().len()), (3, 2));
    let ran = fake.run(&["rm", "--yes", "alpha", "al"]).await;
    assert_eq!((ran.code, ran.text()), (0, "deleted alpha\n"));
    assert_eq!(fake.state.sessions().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_reads_which_are_gone_and_who_was_told() {
    let fake = Fake::start(vec![session("alpha"), session("stuck"), session("beta")]).await;
    let ran = fake.run(&["send", "alpha", "go", "on", "--json"]).await;
    assert_eq!((ran.code, ran.json()["slug"].as_str(), fake.state.heard().as_str()), (0, Some("alpha"), "go on"));
    let ran = fake.run(&["rm", "--yes", "--json", "alpha", "stuck", "beta"]).await;
    let all = ran.json();
    let told = |n: usize| (all[n]["slug"].as_str(), all[n]["deleted"].as_bool(), all[n]["error"].as_str());
    assert_eq!(told(0), (Some("alpha"), Some(true), None));
    assert_eq!(told(1), (Some("stuck"), Some(false), Some("its disk cannot be removed")));
    assert_eq!(told(2), (Some("beta"), Some(true), None));
    assert_eq!((ran.code, all[1]["host"].as_str(), fake.state.sessions().len()), (1, Some("madeup"), 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_name_is_found_although_it_is_a_prefix_of_several_elsewhere() {
    let near = Fake::start(vec![session("alpha-one"), session("alpha-two")]).await;
    let far = Fake::start(vec![session("alpha")]).await;
    let home = tempfile::tempdir().unwrap();
    let (a, b) = (near.address(), far.address());
    let arguments = ["--host", &a, "--host", &b, "show", "alpha", "--json"];
    let ran = run(command(home.path(), None, &arguments), b"").await;
    assert_eq!((ran.code, ran.json()["slug"].as_str()), (0, Some("alpha")), "{ran:?}");
    let ran = run(command(home.path(), None, &["--host", &a, "--host", &b, "show", "alp"]), b"").await;
    assert_eq!(ran.code, 2, "{ran:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn several_hosts_are_one_fleet() {
    let (near, far) = (Fake::start(vec![session("alpha")]).await, Fake::start(vec![session("beta")]).await);
    let home = tempfile::tempdir().unwrap();
    let config = home.path().join(".config/pilothouse");
    std::fs::create_dir_all(&config).unwrap();
    let hosts = format!(
        "[hosts]\nnear = \"{}\"\nfar = \"{}\"\ndead = \"unix:/nowhere/hostd.sock\"\n",
        near.address(),
        far.address()
    );
    std::fs::write(config.join("config.toml"), hosts).unwrap();
    let ask = async |arguments: &[&str]| run(command(home.path(), None, arguments), b"").await;

    let ran = ask(&["ls", "--json"]).await;
    let all = ran.json();
    assert_eq!((ran.code, all[0]["host"].as_str(), all[1]["host"].as_str()), (0, Some("near"), Some("far")));
    assert!(ran.stderr.starts_with("warning: host dead is out of reach"), "{}", ran.stderr);
    assert_eq!(ask(&["show", "beta", "--json"]).await.json()["host"], "far");
    // The dead one might have it.
    assert_eq!(ask(&["show", "nobody"]).await.code, 5);
    assert_eq!(ask(&["--host", "near", "show", "beta"]).await.code, 3);
    assert_eq!(ask(&["--host", "dead", "ls"]).await.code, 5);
    // Of both hosts that answer.
    let ran = ask(&["usage", "--by", "model", "--json"]).await;
    assert_eq!(
        (ran.code, &ran.json()[0]["answers"], ran.json().as_array().unwrap().len()),
        (0, &6.into(), 1),
        "{ran:?}"
    );
    assert_eq!(ask(&["--host", "far", "usage", "--by", "model", "--json"]).await.json()[0]["answers"], 3);
    assert_eq!(ask(&["new", "--env", "demo"]).await.code, 2);
    assert_eq!(ask(&["new", "--env", "demo", "--host", "far"]).await.code, 0);
    let ran = ask(&["host", "ls", "--json"]).await;
    let all = ran.json();
    let reachable: Vec<_> = all.as_array().unwrap().iter().map(|host| host["reachable"].as_bool().unwrap()).collect();
    assert_eq!((ran.code, reachable), (0, vec![false, true, true]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_out_of_reach_says_what_to_do() {
    let home = tempfile::tempdir().unwrap();
    for arguments in [&["ls"][..], &["show", "alpha"], &["new", "--env", "demo"], &["env", "build", "demo"]] {
        let ran = run(command(home.path(), None, arguments), b"").await;
        assert_eq!((ran.code, ran.stderr.lines().count()), (5, 2), "{ran:?}");
        assert!(ran.stderr.ends_with("hint: is hostd running? start it with `hostd serve`\n"), "{ran:?}");
    }
}

#[rstest]
#[case(&[])]
#[case(&["new"])]
#[case(&["ls"])]
#[case(&["show"])]
#[case(&["attach"])]
#[case(&["exec"])]
#[case(&["send"])]
#[case(&["answer"])]
#[case(&["log"])]
#[case(&["events"])]
#[case(&["rm"])]
#[case(&["wait"])]
#[case(&["restart"])]
#[case(&["suspend"])]
#[case(&["resume"])]
#[case(&["fork"])]
#[case(&["host"])]
#[case(&["host", "ls"])]
#[case(&["host", "show"])]
#[case(&["env"])]
#[case(&["env", "ls"])]
#[case(&["env", "build"])]
#[case(&["env", "show"])]
#[case(&["review"])]
#[case(&["review", "ls"])]
#[case(&["review", "show"])]
#[case(&["review", "comment"])]
#[case(&["review", "approve"])]
#[case(&["review", "request-changes"])]
#[case(&["review", "merge"])]
#[case(&["checks"])]
#[case(&["checks", "ls"])]
#[case(&["checks", "log"])]
#[case(&["checks", "report"])]
#[case(&["repo"])]
#[case(&["repo", "ls"])]
#[case(&["repo", "add"])]
#[case(&["repo", "show"])]
#[case(&["repo", "set"])]
#[case(&["completions"])]
#[tokio::test(flavor = "multi_thread")]
async fn every_command_has_help_with_an_example(#[case] arguments: &[&str]) {
    let home = tempfile::tempdir().unwrap();
    let ran = run(command(home.path(), None, &[arguments, &["--help"]].concat()), b"").await;
    assert!(ran.code == 0 && ran.text().contains("Example"), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_written_in_the_editor_and_kept_where_it_was_not_sent() {
    let fake = Fake::start(vec![session("alpha")]).await;
    let edits = |editor: &str| OnTerminal::start_with(&fake, &["send", "alpha"], &[("VISUAL", editor)]);
    assert_eq!(edits("printf 'one\\n  two\\n' >").ends().await, 0);
    assert_eq!(fake.state.heard(), "one\n  two");
    let mut empty = edits("true");
    empty.shows("the message is empty: nothing was sent").await;
    assert_eq!((empty.ends().await, fake.state.heard().as_str()), (1, "one\n  two"));
    let mut nobody = OnTerminal::start(&fake, &["send", "alpha"]);
    nobody.shows("give the message as arguments or on stdin").await;
    assert_eq!(nobody.ends().await, 2);
    // A host that does not take it costs nobody what was written.
    let mut refused = OnTerminal::start_with(&fake, &["send", "alpha"], &[("EDITOR", "printf refuse >")]);
    refused.shows("what you wrote is kept in").await;
    assert_eq!(refused.ends().await, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hosts_of_one_name_are_told_apart() {
    let (near, far) = (Fake::start(vec![session("alpha")]).await, Fake::start(vec![session("beta")]).await);
    let home = tempfile::tempdir().unwrap();
    let ran =
        run(command(home.path(), None, &["--host", &near.address(), "--host", &far.address(), "ls", "--json"]), b"")
            .await;
    let hosts: Vec<_> = ran.json().as_array().unwrap().iter().map(|s| s["host"].as_str().unwrap().to_owned()).collect();
    let folder = |fake: &Fake| fake.socket().parent().unwrap().file_name().unwrap().to_str().unwrap().to_owned();
    let [a, b] = [folder(&near), folder(&far)].map(|folder| format!("madeup ({folder})"));
    assert!(hosts.contains(&a) && hosts.contains(&b), "{hosts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_models_took_is_told_by_whatever_is_asked_for() {
    let mut paid = session("alpha");
    paid.usage = Some(ModelUsage {
        answers: 2,
        input_tokens: 12_000,
        output_tokens: 345,
        cost_micros: 1_230_000,
        unpriced_tokens: 45,
        ..Default::default()
    });
    let fake = Fake::start(vec![paid, session("beta")]).await;
    let ran = fake.run(&["usage", "--by", "model"]).await;
    let lines: Vec<&str> = ran.text().lines().collect();
    assert_eq!(lines[0].split_whitespace().collect::<Vec<_>>()[..3], ["MODEL", "COST", "ANSWERS"], "{}", ran.text());
    assert!(lines[1].starts_with("some[2J model  $0.0042  3        12.3k  9k      800"), "{}", ran.text());
    assert!(ran.stderr.contains("prices of 2026-08-21"), "{}", ran.stderr);
    assert!(fake.run(&["usage"]).await.stderr.contains("nothing yet"));
    let ran = fake.run(&["usage", "--by", "day", "--json"]).await;
    assert_eq!((&ran.json()[0]["cost_usd"], &ran.json()[0]["answers"]), (&0.0042.into(), &3.into()));
    assert_eq!(fake.run(&["usage", "--by", "planet"]).await.code, 2);
    let ran = fake.run(&["ls"]).await;
    let lines: Vec<&str> = ran.text().lines().collect();
    assert!(lines[0].ends_with("TOKENS  COST") && lines[1].ends_with("12.3k   $1.23"), "{}", ran.text());
    let shown = fake.run(&["show", "alpha"]).await;
    let want = "$1.23 · 2 answers · 12k tokens in, 0 cached, 345 out · 45 tokens without a price";
    assert!(shown.text().contains(want), "{}", shown.text());
    let ran = fake.run(&["ls", "--json"]).await;
    assert_eq!((&ran.json()[0]["usage"]["output_tokens"], &ran.json()[1]["usage"]), (&345.into(), &().into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn destinations_are_allowed_and_taken_back() {
    let mut refused = session("alpha");
    refused.refused =
        vec![Refused { destination: "b.example:443".into(), why: "not in egress".into(), count: 3, last_at: 0 }];
    refused.allowed = vec![Allowed { destination: "db.lan:5432".into(), private: true }];
    let fake = Fake::start(vec![refused, session("beta")]).await;
    for asks in [&["allow", "alpha"], &["show", "alpha"]] {
        let told = fake.run(asks).await;
        assert!(
            told.text().contains("allowed") && told.text().contains("  db.lan:5432, also at a private address\n"),
            "{told:?}"
        );
        assert!(told.text().contains("refused") && told.text().contains("  b.example:443 3 times, last "), "{told:?}");
    }
    assert!(fake.run(&["allow", "beta"]).await.text().starts_with("nothing was refused"));
    let ran = fake.run(&["allow", "alpha", "b.example:443"]).await;
    assert_eq!((ran.code, ran.text()), (0, "alpha may reach \"b.example:443\"\n"));
    let ran = fake.run(&["allow", "alpha", "b.example:443", "--recipe"]).await;
    assert!(ran.text().contains("sessions of demo to come may as well after its next build\n"), "{ran:?}");
    assert!(ran.text().contains("add it to egress in /home/kim/demo.toml"), "{ran:?}");
    let json = fake.run(&["allow", "alpha", "db.lan:5432", "--remove", "--json"]).await.json();
    assert_eq!((&json["session"]["allowed"], &json["environment"]), (&serde_json::json!([]), &().into()));
    let json = fake.run(&["allow", "alpha", "--json"]).await.json();
    assert_eq!((&json["allowed"][0]["private"], &json["refused"][0]["count"]), (&true.into(), &3.into()));
    let listed = fake.run(&["ls", "--json"]).await.json();
    assert!(listed[0].get("allowed").is_none(), "lists of sessions do not know it: {listed}");
    assert_eq!(fake.run(&["allow", "alpha", "a b"]).await.code, 2);
    assert_eq!(fake.run(&["allow", "alpha", "--private"]).await.code, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn budgets_are_set_raised_and_taken_off() {
    let mut bounded = session("alpha");
    (bounded.budget_micros, bounded.usage) = (Some(5_000_000), None);
    let fake = Fake::start(vec![bounded, session("beta")]).await;
    let budget = async |arguments: &[&str]| {
        let ran = fake.run(&[&["budget"][..], arguments, &["--json"]].concat()).await;
        (ran.code, ran.stdout.is_empty().then(|| ran.stderr.clone()).ok_or_else(|| ran.json()["budget_usd"].clone()))
    };
    assert_eq!(budget(&["alpha", "+2.50"]).await, (0, Err(7.5.into())));
    assert_eq!(budget(&["alpha", "$3"]).await, (0, Err(3.0.into())));
    assert_eq!(budget(&["alpha", "none"]).await, (0, Err(().into())));
    let (code, said) = budget(&["beta", "+1"]).await;
    assert!(code == 4 && said.unwrap().contains("it has no budget that could be raised"));
    let (code, said) = budget(&["alpha", "much"]).await;
    assert!(code == 2 && said.unwrap().contains("no amount of US dollars"));
    assert!(fake.run(&["show", "alpha"]).await.text().contains("budget        $5\n"));
    let ran = fake.run(&["new", "--env", "demo", "--budget", "2", "--json", "x"]).await;
    assert_eq!(ran.json()["budget_usd"], 2.0);
    let ran = fake.run(&["fork", "alpha", "--budget", "0.5", "--json"]).await;
    assert_eq!(ran.json()["budget_usd"], 0.5);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_led_to_an_end_is_shown_with_what_can_be_done() {
    let mut crashed = session("beta");
    crashed.lifecycle = "crashed".into();
    crashed.cause = "the guest's kernel panicked: x".into();
    crashed.cause_word = "guest-panic".into();
    crashed.reason = "crashed: the guest's kernel panicked: x".into();
    crashed.cause_lines = vec!["Kernel panic - not syncing: x".into(), "CPU: 0".into()];
    let fake = Fake::start(vec![session("alpha"), crashed]).await;
    let listed = fake.run(&["triage"]).await;
    let lines: Vec<&str> = listed.text().lines().collect();
    assert_eq!(lines.len(), 2, "{}", listed.text());
    assert!(lines[1].starts_with("beta") && lines[1].contains("guest-panic"), "{}", listed.text());
    let shown = fake.run(&["triage", "be"]).await;
    for part in [
        "its panic     Kernel panic - not syncing: x\n              CPU: 0\n",
        "its console   Kernel panic - not syncing: [2Jx\n",
        "its terminal  $ make\n",
        "memory        ▃▅█\n              1 MiB to 3 MiB in 10 s, at most 3 MiB\n",
        "you can       pilothouse bundle beta: does bundle; loses nothing\n",
        "pilothouse rm beta: does delete; loses all\n",
    ] {
        assert!(shown.text().contains(part), "{part}\n{}", shown.text());
    }
    let all = fake.run(&["triage", "--json"]).await.json();
    assert_eq!((all[0]["session"]["cause_word"].as_str(), all[1].is_null()), (Some("guest-panic"), true));
    assert_eq!(all[0]["samples"][2]["cpu_percent"], 50);
    assert!(all[0]["samples"][0]["guest_disk_left_bytes"].is_null() && all[0]["choices"][0]["loses"].is_null());
    assert_eq!(fake.run(&["triage", "gamma"]).await.code, 3);
    assert_eq!(fake.run(&["rm", "--yes", "beta"]).await.code, 0);
    let none = fake.run(&["triage"]).await;
    assert_eq!((none.code, none.stderr.trim_end()), (0, "nothing has crashed"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_goes_into_a_new_file_of_ones_own() {
    use std::os::unix::fs::PermissionsExt as _;
    let fake = Fake::start(vec![session("alpha")]).await;
    assert_eq!(fake.run(&["bundle", "al", "--out", "-"]).await.stdout, b"alpha in a tar");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.tar");
    let into = ["bundle", "al", "--out", file.to_str().unwrap()];
    assert_eq!(fake.run(&into).await.code, 0);
    assert_eq!(std::fs::read(&file).unwrap(), b"alpha in a tar");
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let again = fake.run(&into).await;
    assert_eq!(again.code, 1);
    assert!(again.stderr.contains("name another file with --out"), "{}", again.stderr);
    assert_eq!(fake.run(&["bundle", "gamma", "--out", "-"]).await.code, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rescue_says_which_branch_has_the_work() {
    let fake = Fake::start(vec![session("alpha")]).await;
    let ran = fake.run(&["rescue", "al"]).await;
    assert_eq!(ran.text(), "widgets has the branch agent/alpha/rescue-1 (0123456789ab)\n");
    assert!(ran.stderr.contains("warning: some files could not be read[2J"), "{}", ran.stderr);
    assert_eq!(fake.run(&["rescue", "al", "--json"]).await.json()["branch"], "agent/alpha/rescue-1");
    assert_eq!(fake.run(&["rescue", "gamma"]).await.code, 3);
}
