//! `review`, `checks` and `repo`: their output, what they tell the host, their errors.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _};

use rstest::rstest;

use crate::{
    fake::{Fake, pulls::pull},
    program::run,
};

#[tokio::test(flavor = "multi_thread")]
async fn the_queue_is_listed_and_shown() {
    let fake = Fake::with_pulls((1..=200).map(pull).collect()).await;
    let ran = fake.run(&["review", "ls", "--json"]).await;
    let all = ran.json();
    assert_eq!((ran.code, all.as_array().unwrap().len(), all[199]["id"].as_str()), (0, 200, Some("widgets#200")));
    let ran = fake.run(&["review", "ls"]).await;
    assert_eq!(ran.text().lines().count(), 201);
    assert!(ran.text().contains("widgets#7    open   failed  waiting  Fix it, part 7[2J"), "{}", ran.text());
    let ran = fake.run(&["review", "show", "7"]).await;
    assert!(ran.text().contains("blocked       it is not approved (0 of 1 approvals)\n"), "{}", ran.text());
    assert!(ran.text().contains("unit  failed  required\n"), "{}", ran.text());
    assert_eq!(fake.run(&["review", "show", "widgets#7", "--json"]).await.json()["checks"][0]["name"], "unit");
    assert_eq!(fake.run(&["checks", "ls", "7", "--json"]).await.json()[0]["state"], "failed");
    assert_eq!(fake.run(&["repo", "ls", "--json"]).await.json()[0]["rules"]["merge_method"], "merge");
    assert!(fake.run(&["repo", "show", "widgets"]).await.text().contains("required checks  unit\n"));
}

#[rstest]
#[case(&["review", "approve", "7"], "widgets#7 approve \n")]
#[case(&["review", "approve", "7", "well", "done", "--head", "0123456789"], "widgets#7 approve well done\n")]
#[case(&["review", "request-changes", "7", "no", "tests"], "widgets#7 request-changes no tests\n")]
#[case(&["review", "comment", "7", "hm"], "widgets#7 comment hm\n")]
#[case(&["review", "comment", "7", "--file", "a.rs", "--line", "3", "why?"], "widgets#7 comment  0:a.rs:3:why?\n")]
#[case(&["review", "comment", "7", "--thread", "2", "so?"], "widgets#7 comment  2::0:so?\n")]
#[case(
    &["review", "request-changes", "7", "almost", "--at", "a.rs:3", "why?", "--at", "b:c", "no"],
    "widgets#7 request-changes almost 0:a.rs:3:why? 0:b:c:0:no\n"
)]
#[case(&["review", "comment", "7", "--at", "a.rs:3", "why?"], "widgets#7 comment  0:a.rs:3:why?\n")]
#[case(&["review", "approve", "7", "--at", "a.rs", "nice", "well", "done"], "widgets#7 approve well done 0:a.rs:0:nice\n")]
#[case(
    &["review", "comment", "7", "--file", "a.rs", "so?", "--at", "b.rs:1", "and?"],
    "widgets#7 comment  0:a.rs:0:so? 0:b.rs:1:and?\n"
)]
#[case(
    &["review", "approve", "7", "--revision", "1"],
    "widgets#7 approve  of fedcba9876543210fedcba9876543210fedcba98\n"
)]
#[case(&["review", "resolve", "7", "3"], "widgets#7 thread 3 resolved true\n")]
#[case(&["review", "resolve", "7", "3", "--undo"], "widgets#7 thread 3 resolved false\n")]
#[case(&["review", "merge", "7", "--yes"], "merge\n")]
#[case(&["review", "close", "7"], "close\n")]
#[case(&["review", "reopen", "widgets#7", "--json"], "reopen\n")]
#[case(
    &["checks", "report", "--repo", "widgets", "--commit", "0123456", "--name", "unit", "--state", "failed",
      "--url", "https://ci/7", "--summary", "2 failed", "--log", "-"],
    "widgets|0123456|unit|failed|https://ci/7|2 failed|printed\n"
)]
#[case(&["repo", "add", "https://example.com/a.git", "--branch", "trunk"], "https://example.com/a.git||trunk\n")]
#[case(&["repo", "set", "widgets", "--fetch-every", "15m"], "upstream None every Some(900)\n")]
#[case(&["repo", "set", "widgets", "--fetch-every", "never", "--upstream", "none"], "upstream Some(\"\") every Some(0)\n")]
#[case(&["repo", "push", "widgets", "main", "next"], "push main next\n")]
#[case(&["repo", "remove", "widgets", "--yes", "--force"], "removed\n")]
#[tokio::test(flavor = "multi_thread")]
async fn the_host_is_told(#[case] arguments: &[&str], #[case] heard: &str) {
    let fake = Fake::with_pulls(vec![pull(7)]).await;
    let ran = run(fake.command(arguments), b"printed").await;
    assert_eq!((ran.code, fake.state.heard().as_str()), (0, heard), "{ran:?}");
}

#[rstest]
#[case(&["review", "show", "9"], 3, "error: there is no such pull request\n")]
#[case(&["review", "approve", "7", "--head", "ffffffffff"], 4, "error: the head has moved\n")]
#[case(&["review", "request-changes", "7"], 2, "hint: pilothouse review request-changes 7 TEXT\n")]
#[case(&["review", "comment", "7", "--line", "3", "x"], 2, "")]
#[case(&["review", "comment", "7", "--file", "a", "--line", "0", "x"], 2, "")]
#[case(&["review", "approve", "7", "--at", "a.rs:3", ""], 2, "hint: for example: --at src/parser.rs:40 'Why not saturate?'\n")]
#[case(&["review", "approve", "7", "--at", "a.rs:3"], 2, "")]
#[case(&["review", "approve", "7", "--revision", "3"], 2, "hint: pilothouse review show widgets#7\n")]
#[case(&["review", "merge", "7"], 2, "hint: say --yes if you mean it\n")]
#[case(&["checks", "ls"], 2, "")]
#[case(&["checks", "report", "--repo", "a", "--commit", "b", "--name", "c", "--state", "good"], 2, "")]
#[case(&["repo", "set", "widgets"], 2, "")]
#[case(&["repo", "set", "widgets", "--fetch-every", "soon"], 2, "")]
#[case(&["repo", "push", "widgets", "gone"], 3, "error: there is no such branch\n")]
#[case(&["repo", "remove", "widgets"], 2, "hint: say --yes if you mean it\n")]
#[case(&["repo", "remove", "widgets", "--yes"], 4, "error: it is used by the session one\n")]
#[case(&["repo", "show", "gadgets"], 3, "error: there is no such repository\n")]
#[case(&["repo", "add", "/srv/a", "--name", "broken"], 1, "error: its HEAD names the branch `gone`\n")]
#[tokio::test(flavor = "multi_thread")]
async fn errors_have_an_exit_code(#[case] arguments: &[&str], #[case] code: i32, #[case] says: &str) {
    let fake = Fake::with_pulls(vec![pull(7)]).await;
    let ran = fake.run(arguments).await;
    assert!(ran.code == code && ran.text().is_empty() && ran.stderr.ends_with(says), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn gits_words_of_a_failed_import_stand_once() {
    let fake = Fake::start(vec![]).await;
    let ran = fake.run(&["repo", "add", "/srv/a", "--name", "no-git"]).await;
    let error =
        "error: /srv/a could not be cloned:\nwarning: slow\nfatal: '/srv/a' is no repository\nfatal: Could not read.\n";
    assert_eq!((ran.code, ran.stderr.as_str()), (1, error));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_that_is_no_text_is_refused() {
    let fake = Fake::with_pulls(vec![pull(7)]).await;
    let mut command = fake.command(&["review", "comment", "7", "why?", "--file"]);
    command.arg(OsStr::from_bytes(b"caf\xe9.rs"));
    let ran = run(command, b"").await;
    assert!(ran.code == 2 && ran.stderr.contains("is not UTF-8, and comments are on paths that are"), "{ran:?}");
    assert_eq!(fake.state.heard(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_and_imports_show_what_comes() {
    let fake = Fake::with_pulls(vec![pull(7)]).await;
    assert_eq!(fake.run(&["checks", "log", "7", "unit"]).await.text(), "widgets#7|||unit\n");
    let ran = fake.run(&["checks", "log", "--repo", "widgets", "--commit", "0123456", "unit"]).await;
    assert_eq!(ran.text(), "|widgets|0123456|unit\n");
    let ran = fake.run(&["checks", "log", "7", "unit", "--follow"]).await;
    assert_eq!(ran.text(), "widgets#7|||unit and follows\n");
    let ran = fake.run(&["checks", "rerun", "--repo", "widgets", "--commit", "0123456", "unit"]).await;
    assert_eq!(ran.text(), "widgets runs again\n0123456 runs again\nunit runs again\n");
    let ran = fake.run(&["repo", "add", "/srv/widgets.git"]).await;
    assert_eq!(ran.stderr, "Receiving[2J: 100%, done.\n");
    assert!(ran.text().starts_with("widgets is there, on branch main"), "{}", ran.text());
    let ran = fake.run(&["repo", "set", "widgets", "--merge", "squash", "--json"]).await;
    assert_eq!(
        (&ran.json()["rules"]["merge_method"], &ran.json()["rules"]["approvals"]),
        (&"squash".into(), &1.into())
    );
    let ran = fake.run(&["repo", "set", "widgets", "--require-none", "--keep-branches", "yes", "--json"]).await;
    assert!(ran.json()["rules"]["required_checks"].as_array().unwrap().is_empty());
}
