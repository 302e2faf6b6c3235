//! The built-in forge with real git: what is pushed becomes revisions, what is merged is whole.

mod credentials;
mod imports;
mod keeping;
mod merges;
mod world;

use futures::FutureExt as _;
use hostd_core::{
    checks::CheckState,
    pulls::{Closing, NewComment, NewReview, Place, PullState, Verdict, Who},
};
use rstest::rstest;

use super::*;
use crate::{Heard, Report};
use world::{ANN, World};

#[tokio::test]
async fn every_push_makes_a_revision() {
    let world = World::new().await;
    let opened = world.open("one", "a.txt", "1\n").await;
    assert_eq!((opened.pull.number, opened.pull.revisions.len(), opened.standing().word()), (1, 1, "waiting"));
    world.push("one", "a.txt", "2\n").await;
    world.push("one", "a.txt", "3\n").await;
    // Nobody has looked between these pushes: the reflog knows.
    world.force_push("one").await;
    let pull = world.forge.pull(&world.id(1)).await.unwrap().pull;
    let forced: Vec<bool> = pull.revisions.iter().map(|revision| revision.forced).collect();
    assert_eq!(forced, [false, false, false, true]);
    assert_eq!(pull.head(), world.tip("agent/one/work").await);
    for revision in &pull.revisions {
        assert_eq!(world.tip_of(&format!("refs/pull/1/{}", revision.number)).await, revision.head);
    }
    // Opened again, it is the same.
    let again = world.forge.open(world.new_pull("one")).await.unwrap();
    assert_eq!(again.pull, pull);
}

#[tokio::test]
async fn a_push_while_no_hostd_looks_is_not_lost() {
    let world = World::new().await;
    world.open("one", "a.txt", "1\n").await;
    world.push("one", "a.txt", "2\n").await;
    world.force_push("one").await;
    world.restarted().catch_up().await;
    let kept = world.storage.pull("widgets", 1).await.unwrap().record;
    assert_eq!((kept.pull.revisions.len(), kept.pushes), (3, 3));
    // What died between a revision and its ref is mended too.
    world.git(&["--git-dir=git/widgets.git", "update-ref", "-d", "refs/pull/1/3"]).await;
    world.restarted().catch_up().await;
    assert_eq!(world.tip_of("refs/pull/1/3").await, kept.pull.head());
}

#[tokio::test]
async fn a_hint_names_the_sessions_whose_pull_request_it_is_of() {
    let world = World::new().await;
    let mut hints = world.forge.hints();
    let old = world.open("one", "a.txt", "1\n").await.pull.head().to_owned();
    world.open("two", "b.txt", "1\n").await;
    world.push("one", "a.txt", "2\n").await;
    let head = world.forge.pull(&world.id(1)).await.unwrap().pull.head().to_owned();
    for commit in [&head, &old] {
        world.forge.report("widgets", commit, report("unit", CheckState::Passed)).await.unwrap();
    }
    world.forge.set_rules("widgets", Rules { approvals: 1, ..Rules::default() }).await.unwrap();
    let mut heard = vec![];
    while let Some(Some(Heard::Hint(hint))) = hints.next().now_or_never() {
        heard.push((hint.about, hint.sessions));
    }
    let of = |slug: &str| Some(vec![format!("01{slug}")]);
    let expected = [
        (About::Pull(1), of("one")),
        (About::Pull(2), of("two")),
        (About::Pull(1), of("one")),
        (About::Checks(head), of("one")),
        (About::Checks(old), Some(vec![])),
        (About::Repository, None),
    ];
    assert_eq!(heard, expected);
}

#[tokio::test]
async fn readers_at_once_make_no_revision_twice() {
    let world = World::new().await;
    world.open("one", "a.txt", "1\n").await;
    for text in ["2\n", "3\n", "4\n"] {
        world.push("one", "a.txt", text).await;
    }
    let id = world.id(1);
    let reads = futures::future::join_all((0..8).map(|_| world.forge.pull(&id))).await;
    for read in reads {
        read.unwrap();
    }
    let pull = world.forge.pull(&world.id(1)).await.unwrap().pull;
    assert_eq!(pull.revisions.len(), 4);
}

#[tokio::test]
async fn a_deleted_branch_closes_and_a_new_push_opens_another() {
    let world = World::new().await;
    world.open("one", "a.txt", "1\n").await;
    world.git(&["--git-dir=git/widgets.git", "update-ref", "-d", "refs/heads/agent/one/work"]).await;
    assert_eq!(why(&world, 1).await, "its head branch is gone");
    assert_eq!(world.open("one", "a.txt", "2\n").await.pull.number, 2);
    // Then the first is not opened again: a branch has one open pull request.
    let error = world.forge.reopen(&world.id(1), Who::person(ANN)).await.unwrap_err().to_string();
    assert_eq!(error, "widgets#2 is open for the same branch, `agent/one/work`; go on there");
}

async fn why(world: &World, number: u64) -> String {
    match world.forge.pull(&world.id(number)).await.unwrap().pull.state {
        PullState::Closed(Closing { why, .. }) => why.to_string(),
        state => state.word().to_owned(),
    }
}

#[tokio::test]
async fn what_is_closed_is_opened_again_with_what_was_pushed_meanwhile() {
    let world = World::new().await;
    world.open("one", "a.txt", "1\n").await;
    let (id, ann) = (world.id(1), || Who::person(ANN));
    let head = world.approve(1).await;
    assert_eq!(world.forge.close(&id, ann()).await.unwrap().pull.state.word(), "closed");
    assert_eq!(why(&world, 1).await, "by ann");
    let error = world.forge.merge(&id, ann(), &head).await.unwrap_err().to_string();
    assert_eq!(error, "pull request #1 is closed; `pilothouse review reopen 1` opens it again");
    world.push("one", "a.txt", "2\n").await;
    let again = world.forge.reopen(&id, ann()).await.unwrap().pull;
    assert_eq!((again.state.word(), again.revision(), again.head()), ("open", 2, &*world.tip("agent/one/work").await));
    // A branch that is gone is made again, as it was.
    world.git(&["--git-dir=git/widgets.git", "update-ref", "-d", "refs/heads/agent/one/work"]).await;
    assert_eq!(why(&world, 1).await, "its head branch is gone");
    let verdict = NewReview {
        who: ann(),
        head: again.head().into(),
        older: false,
        verdict: Verdict::Approve,
        body: String::new(),
        comments: vec![],
    };
    let error = world.forge.review(&id, verdict).await.unwrap_err().to_string();
    assert!(error.starts_with("pull request #1 is closed"), "{error}");
    let pull = world.forge.reopen(&id, ann()).await.unwrap().pull;
    assert_eq!((pull.revision(), world.tip("agent/one/work").await), (2, pull.head().to_owned()));
    world.push("one", "a.txt", "3\n").await;
    assert_eq!(world.forge.pull(&id).await.unwrap().pull.revision(), 3);
}

#[tokio::test]
async fn a_pull_request_whose_base_is_gone_is_closed_until_there_is_one() {
    let world = World::new().await;
    world.git(&["--git-dir=git/widgets.git", "branch", "next", "main"]).await;
    world.push("one", "a.txt", "1\n").await;
    world.forge.open(NewPull { base_branch: "next".into(), ..world.new_pull("one") }).await.unwrap();
    world.git(&["--git-dir=git/widgets.git", "branch", "-D", "next"]).await;
    assert_eq!(why(&world, 1).await, "its base branch is gone");
    let error = world.forge.reopen(&world.id(1), Who::person(ANN)).await.unwrap_err();
    assert!(matches!(error, ForgeError::NoBranch { .. }), "{error}");
    world.git(&["--git-dir=git/widgets.git", "branch", "next", "main"]).await;
    assert_eq!(world.forge.reopen(&world.id(1), Who::person(ANN)).await.unwrap().pull.state.word(), "open");
}

#[rstest]
#[case::not_pushed("two", "main", "was not pushed; push it first: git push origin HEAD:refs/heads/agent/two/work")]
#[case::no_base("one", "nowhere", "has no branch `nowhere`")]
#[case::bad_base("one", "-x", "cannot be a branch's name")]
#[case::no_common_past("orphan", "main", "`agent/orphan/work` and `main` have no commit in common")]
#[case::nothing_new("same", "main", "has nothing that `main` lacks")]
#[tokio::test]
async fn opening_says_what_is_missing(#[case] session: &str, #[case] base: &str, #[case] says: &str) {
    let world = World::new().await;
    world.push("one", "a.txt", "1\n").await;
    let main = world.tip("main").await;
    world.git(&["--git-dir=git/widgets.git", "update-ref", "refs/heads/agent/same/work", &main]).await;
    let tree = world.git(&["--git-dir=git/widgets.git", "rev-parse", "main^{tree}"]).await;
    let orphan = world.git(&["--git-dir=git/widgets.git", "commit-tree", "-m", "Begin anew", &tree]).await;
    world.git(&["--git-dir=git/widgets.git", "update-ref", "refs/heads/agent/orphan/work", &orphan]).await;
    let new = NewPull { base_branch: base.into(), ..world.new_pull(session) };
    let error = world.forge.open(new).await.unwrap_err().to_string();
    assert!(error.contains(says), "{error}");
    assert!(world.forge.pulls(PullFilter { all: true, ..PullFilter::default() }).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_pull_request_without_a_base_is_for_the_default_branch() {
    let world = World::new().await;
    world.push("one", "a.txt", "1\n").await;
    let new = || NewPull { base_branch: String::new(), ..world.new_pull("one") };
    world.git(&["--git-dir=git/widgets.git", "symbolic-ref", "HEAD", "refs/heads/gone"]).await;
    let error = world.forge.open(new()).await.unwrap_err().to_string();
    assert!(error.ends_with("is not there; say with --base which branch it is for, of: main"), "{error}");
    world.git(&["--git-dir=git/widgets.git", "branch", "trunk", "main"]).await;
    world.git(&["--git-dir=git/widgets.git", "symbolic-ref", "HEAD", "refs/heads/trunk"]).await;
    assert_eq!(world.forge.open(new()).await.unwrap().pull.base_branch, "trunk");
}

fn comment(head: &str, path: &str, line: Option<u32>) -> NewReview {
    let place = Place { path: path.into(), line, quote: String::new() };
    let comments = vec![NewComment::At { place, head: String::new(), body: "why?".into() }];
    NewReview {
        who: Who::person(ANN),
        head: head.into(),
        older: false,
        verdict: Verdict::Comment,
        body: String::new(),
        comments,
    }
}

#[tokio::test]
async fn comments_quote_their_line_or_say_that_it_is_gone() {
    let world = World::new().await;
    let submodule = world.tip("main").await;
    // Where a submodule is to be, git has an empty folder.
    std::fs::create_dir(world.path("work/lib")).unwrap();
    world.git(&["-C", "work", "update-index", "--add", "--cacheinfo", &format!("160000,{submodule},lib")]).await;
    world.git(&["-C", "work", "commit", "-q", "-m", "Add a submodule"]).await;
    world.git(&["-C", "work", "push", "-q", "../git/widgets.git", "HEAD:refs/heads/main"]).await;
    let head = world.open("one", "a.txt", "1\ntwo\n\n").await.pull.head().to_owned();
    let id = world.id(1);
    let pull = world.forge.review(&id, comment(&head, "a.txt", Some(2))).await.unwrap().pull;
    assert_eq!((pull.threads[0].place.quote.as_str(), pull.threads[0].revision), ("two", 1));
    world.forge.review(&id, comment(&head, "a.txt", Some(3))).await.unwrap();
    world.forge.review(&id, comment(&head, "README", None)).await.unwrap();
    world.forge.review(&id, comment(&head, "lib", None)).await.unwrap();
    let pull = world.forge.review(&id, comment(&head, "lib", Some(1))).await.unwrap().pull;
    assert_eq!(pull.threads[4].place.quote, format!("Subproject commit {submodule}"));
    for (path, line, says) in [
        ("a.txt", Some(4), "`a.txt` has no line 4 (it has 3) in the head commit"),
        ("a.txt", Some(0), "has no line 0"),
        ("b.txt", Some(1), "there is no file `b.txt`"),
        ("sub", None, "there is no file `sub`"),
        ("sub/", None, "there is no file `sub/`"),
        (":(glob)**", None, "there is no file `:(glob)**`"),
        ("lib", Some(2), "`lib` has no line 2 (it has 1)"),
        ("../x", None, "is no path in a repository"),
        ("", None, "is no path in a repository"),
    ] {
        let error = world.forge.review(&id, comment(&head, path, line)).await.unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
    world.push("one", "a.txt", "1\n").await;
    let error = world.forge.review(&id, comment(&head, "a.txt", Some(2))).await.unwrap_err().to_string();
    assert!(error.starts_with("the head has moved: you saw "), "{error}");
    assert_eq!(world.forge.pull(&id).await.unwrap().pull.threads.len(), 5);
}

#[tokio::test]
async fn what_is_said_of_an_earlier_revision_quotes_that_one() {
    let world = World::new().await;
    let old = world.open("one", "a.txt", "1\ntwo\n").await.pull.head().to_owned();
    world.push("one", "a.txt", "1\nzwei\n").await;
    let id = world.id(1);
    let new = world.forge.pull(&id).await.unwrap().pull.head().to_owned();
    let older = |head: &str, of: &str| {
        let place = Place { path: "a.txt".into(), line: Some(2), quote: String::new() };
        let comments = vec![NewComment::At { place, head: of.into(), body: "why?".into() }];
        NewReview { older: true, comments, ..comment(head, "a.txt", None) }
    };
    world.forge.review(&id, older(&old, "")).await.unwrap();
    world.forge.review(&id, older(&old, &new)).await.unwrap();
    let pull = world.forge.review(&id, older(&new, &old)).await.unwrap().pull;
    let quotes: Vec<_> = pull.threads.iter().map(|it| (&*it.place.quote, it.revision)).collect();
    assert_eq!(quotes, [("two", 1), ("zwei", 2), ("two", 1)]);
    assert_eq!(pull.reviews.iter().map(|review| review.revision).collect::<Vec<_>>(), [1, 1, 2]);
    let main = world.tip("main").await;
    for unknown in [older(&main, ""), older(&new, &main)] {
        let error = world.forge.review(&id, unknown).await.unwrap_err().to_string();
        assert!(error.starts_with("the head has moved: you saw "), "{error}");
    }
    let who = Who::person(ANN);
    let pull = world.forge.resolve(&id, who.clone(), 2, true).await.unwrap().pull;
    assert_eq!(pull.threads[1].resolved.as_ref().map(|resolved| &resolved.who), Some(&who));
    assert!(world.forge.resolve(&id, who, 9, true).await.is_err());
}

fn report(name: &str, state: CheckState) -> Report {
    Report { name: name.into(), state, summary: String::new(), url: String::new(), log: None }
}

#[tokio::test]
async fn reports_count_for_their_commit_and_a_repeat_is_no_news() {
    let world = World::new().await;
    let head = world.open("one", "a.txt", "1\n").await.pull.head().to_owned();
    world.forge.set_rules("widgets", Rules { required_checks: vec!["unit".into()], ..Rules::default() }).await.unwrap();
    let mut hints = world.forge.hints();
    let log = Some(b"1 test failed\n".to_vec());
    let failed = Report { log, ..report("unit", CheckState::Failed) };
    assert!(world.forge.report("widgets", &head[..10], failed).await.unwrap());
    let about = |heard: Heard| heard.hint().map(|hint| hint.about);
    assert_eq!(hints.next().await.and_then(about), Some(About::Checks(head.clone())));
    assert!(!world.forge.report("widgets", &head, report("unit", CheckState::Failed)).await.unwrap());
    assert_eq!(hints.next().now_or_never(), None);
    let whole = world.forge.pull(&world.id(1)).await.unwrap();
    assert_eq!(whole.outcome().to_string(), "`unit` failed");
    assert_eq!(world.forge.log("widgets", &whole.checks[0]).await.unwrap().unwrap(), b"1 test failed\n");
    // A run anew has nothing of the old one's log, and none of it is left when its own comes.
    assert!(world.forge.report("widgets", &head, report("unit", CheckState::Running)).await.unwrap());
    assert_eq!(world.forge.checks("widgets", &head).await.unwrap()[0].log, None);
    world.push("one", "a.txt", "2\n").await;
    assert_eq!(world.forge.pull(&world.id(1)).await.unwrap().outcome().to_string(), "0 of 1 checks passed");
}

#[tokio::test]
async fn a_report_on_a_revision_needs_no_git() {
    let world = World::new().await;
    let head = world.open("one", "a.txt", "1\n").await.pull.head().to_owned();
    std::fs::rename(world.path("git/widgets.git/objects"), world.path("objects")).unwrap();
    let passed = || report("unit", CheckState::Passed);
    assert!(world.forge.report("widgets", &head, passed()).await.unwrap());
    let short = world.forge.report("widgets", &head[..10], passed()).await;
    assert!(matches!(short, Err(ForgeError::NoCommit { .. })), "{short:?}");
}

#[rstest]
#[case::unknown_commit("0123456789012345678901234567890123456789", "unit", "", "has no commit `0123456789")]
#[case::no_commit("HEAD", "unit", "", "has no commit `HEAD`")]
#[case::no_name("", "", "", "cannot be a check's name")]
#[case::bad_name("", "a\nb", "", "cannot be a check's name")]
#[case::bad_url("", "unit", "javascript:1", "URL is http or https")]
#[tokio::test]
async fn foreign_reports_are_checked(#[case] commit: &str, #[case] name: &str, #[case] url: &str, #[case] says: &str) {
    let world = World::new().await;
    let commit = if commit.is_empty() { world.tip("main").await } else { commit.into() };
    let report = Report { url: url.into(), ..report(name, CheckState::Passed) };
    let error = world.forge.report("widgets", &commit, report).await.unwrap_err().to_string();
    assert!(error.contains(says), "{error}");
}

#[tokio::test]
async fn two_hundred_pull_requests_are_listed() {
    let world = World::new().await;
    let main = world.tip("main").await;
    for number in 0..200_u64 {
        let head = format!("agent/s{number}/work");
        let new = NewPull { head_branch: head.clone(), ..world.new_pull("x") };
        let head_commit = main.clone();
        let make = move |number| PullRecord { pull: PullRequest::new(new, number, head_commit, now()), pushes: 0 };
        world.storage.add_pull("widgets", &head, Box::new(make)).await.unwrap();
    }
    world.forge.report("widgets", &main, report("unit", CheckState::Passed)).await.unwrap();
    let pulls = world.forge.pulls(PullFilter::default()).await.unwrap();
    let numbers: Vec<u64> = pulls.iter().map(|whole| whole.pull.number).collect();
    assert_eq!(numbers, (1..=200).collect::<Vec<_>>());
    assert!(pulls.iter().all(|whole| whole.outcome().word() == "passed"));
    let filter = PullFilter { session: Some("nobody".into()), ..PullFilter::default() };
    assert!(world.forge.pulls(filter).await.unwrap().is_empty());
}

#[tokio::test]
async fn results_and_logs_of_pull_requests_that_are_over_are_kept_for_a_while() {
    const HOUR: i64 = 3600 * 1000;
    let world = World::new().await;
    let (over, open) = (world.open("one", "a.txt", "1\n").await, world.open("two", "b.txt", "1\n").await);
    for pull in [&over, &open] {
        let report = Report {
            name: "unit".into(),
            state: CheckState::Passed,
            summary: String::new(),
            url: String::new(),
            log: Some(b"fine".to_vec()),
        };
        world.forge.report("widgets", pull.pull.head(), report).await.unwrap();
    }
    world.git(&["--git-dir=git/widgets.git", "update-ref", "-d", "refs/heads/agent/one/work"]).await;
    assert_eq!(why(&world, 1).await, "its head branch is gone");
    // What a commit that failed leaves.
    std::fs::write(world.path("checks/orphan.log"), "x").unwrap();
    assert_eq!(world.forge.sweep_checks(now(), 1 << 20).await.unwrap(), (0, 0));
    assert_eq!(world.forge.sweep_checks(now() + 2 * HOUR, 1 << 20).await.unwrap(), (0, 1));
    assert_eq!(world.forge.sweep_checks(now() + 31 * 24 * HOUR, 1 << 20).await.unwrap(), (1, 1));
    assert!(world.forge.checks("widgets", over.pull.head()).await.unwrap().is_empty());
    let kept = world.forge.checks("widgets", open.pull.head()).await.unwrap();
    assert_eq!(world.forge.log("widgets", &kept[0]).await.unwrap().unwrap(), b"fine");
    // Where there is no room for it, the result stays.
    assert_eq!(world.forge.sweep_checks(now(), 3).await.unwrap(), (0, 1));
    assert_eq!(world.forge.log("widgets", &kept[0]).await.unwrap(), None);
}
