//! Upstreams, removal, renaming, and what people push, with real git.

use std::fmt::Write as _;

use hostd_core::{
    ForgeId,
    checks::CheckState,
    pulls::{DirectPush, Rules, Who},
    upstream::{Stands, Upstream},
};
use rstest::rstest;
use tokio::sync::mpsc;

use super::{
    super::{Checks as _, Import, Keeper as _, PullFilter, PullId, Pulls as _, Repositories as _, Service, now},
    world::{ANN, World},
};
use crate::{ForgeError, Report};

/// A world whose clone `work` was brought in as `mine`: it is its upstream.
async fn world() -> World {
    let world = World::new().await;
    let import =
        Import { source: world.path("work").display().to_string(), name: "mine".into(), branch: String::new() };
    world.forge.import(import, mpsc::channel(1).0).await.unwrap();
    world
}

async fn fetch(world: &World) -> Result<Vec<(String, Stands, u64, u64)>, ForgeError> {
    let branches = world.forge.fetch("mine", mpsc::channel(1).0).await?;
    Ok(branches.into_iter().map(|it| (it.branch, it.stood, it.ahead, it.behind)).collect())
}

async fn commit(world: &World, branch: &str, file: &str) {
    world.git(&["-C", "work", "checkout", "-q", branch]).await;
    std::fs::write(world.path("work").join(file), file).unwrap();
    world.git(&["-C", "work", "add", "."]).await;
    world.git(&["-C", "work", "commit", "-q", "-m", file]).await;
}

async fn tip(world: &World, repository: &str, name: &str) -> String {
    world.git(&["-C", repository, "rev-parse", "--verify", "-q", name]).await
}

#[tokio::test]
async fn what_is_new_at_the_upstream_comes_in_and_what_is_here_alone_stays() {
    let world = world().await;
    assert_eq!(fetch(&world).await.unwrap(), []);
    commit(&world, "main", "one").await;
    world.git(&["-C", "work", "tag", "v1"]).await;
    world.git(&["-C", "work", "branch", "next"]).await;
    world.git(&["-C", "work", "branch", "agent/x/work"]).await;
    let branch = |name: &str, stands, ahead, behind| (name.to_owned(), stands, ahead, behind);
    let new = [branch("main", Stands::Behind, 0, 1), branch("next", Stands::Missing, 0, 0)];
    assert_eq!(fetch(&world).await.unwrap(), new);
    for name in ["refs/heads/main", "refs/heads/next", "refs/tags/v1"] {
        assert_eq!(tip(&world, "git/mine.git", name).await, tip(&world, "work", name).await);
    }
    let refs = world.git(&["-C", "git/mine.git", "for-each-ref", "--format=%(refname)", "refs/heads"]).await;
    assert_eq!(refs, "refs/heads/main\nrefs/heads/next");
    // A branch that was deleted here does not come back.
    world.git(&["-C", "git/mine.git", "branch", "-D", "next"]).await;
    assert_eq!(fetch(&world).await.unwrap(), []);
    // Work was merged here, and then there is something there too.
    world.git(&["clone", "-q", "git/mine.git", "here"]).await;
    world.git(&["-C", "here", "commit", "-q", "--allow-empty", "-m", "Merged"]).await;
    world.git(&["-C", "here", "push", "-q", "origin", "main"]).await;
    let own = tip(&world, "git/mine.git", "main").await;
    assert_eq!(fetch(&world).await.unwrap(), [branch("main", Stands::Ahead, 1, 0)]);
    commit(&world, "main", "two").await;
    assert_eq!(fetch(&world).await.unwrap(), [branch("main", Stands::Diverged, 1, 1)]);
    assert_eq!(tip(&world, "git/mine.git", "main").await, own);
    let kept = world.forge.upstream("mine").await.unwrap();
    assert!(kept.fetched_at > 0 && kept.error.is_empty(), "{kept:?}");
}

#[tokio::test]
async fn merged_work_is_pushed_to_the_upstream() {
    let world = world().await;
    world.git(&["clone", "-q", "git/mine.git", "here"]).await;
    world.git(&["-C", "here", "commit", "-q", "--allow-empty", "-m", "Merged"]).await;
    world.git(&["-C", "here", "push", "-q", "origin", "main", "main:next"]).await;
    let push = async |branches: &[&str]| {
        let branches = branches.iter().map(ToString::to_string).collect();
        world.forge.push("mine", branches, mpsc::channel(1).0).await.map_err(|error| error.to_string())
    };
    let error = push(&[]).await.unwrap_err();
    assert!(error.ends_with("bring it in from there: git pull pilothouse main"), "{error}");
    assert_eq!(push(&["next"]).await.unwrap()[0].commit, tip(&world, "work", "next").await);
    world.git(&["-C", "work", "checkout", "-q", "--detach"]).await;
    assert_eq!(push(&[]).await.unwrap()[0].branch, "main");
    assert_eq!(tip(&world, "work", "main").await, tip(&world, "git/mine.git", "main").await);
    assert_eq!(fetch(&world).await.unwrap(), [], "what was pushed is the same there");
    commit(&world, "main", "two").await;
    world.git(&["-C", "work", "checkout", "-q", "--detach"]).await;
    world.git(&["-C", "here", "commit", "-q", "--allow-empty", "-m", "More"]).await;
    world.git(&["-C", "here", "push", "-q", "origin", "main"]).await;
    let there = tip(&world, "work", "main").await;
    let error = push(&[]).await.unwrap_err();
    assert!(error.contains("the upstream has commits that this lacks: `pilothouse repo fetch mine`"), "{error}");
    assert_eq!(tip(&world, "work", "main").await, there);
    assert!(push(&["nowhere"]).await.unwrap_err().contains("has no branch `nowhere`"));
}

#[tokio::test]
async fn upstreams_are_fetched_when_it_is_time_and_failures_are_kept() {
    let world = world().await;
    let upstream = async || world.forge.upstream("mine").await.unwrap();
    commit(&world, "main", "one").await;
    assert_eq!(world.forge.fetch_due().await, None, "nobody asked for it");
    let error = world.forge.set_upstream("mine", None, Some(59)).await.unwrap_err().to_string();
    assert!(error.contains("at least 60 s apart"), "{error}");
    world.forge.set_upstream("mine", None, Some(900)).await.unwrap();
    let next = world.forge.fetch_due().await.unwrap();
    assert!(next > now() && next <= now() + 900_000, "{next}");
    assert_eq!(tip(&world, "git/mine.git", "main").await, tip(&world, "work", "main").await);
    let before = upstream().await;
    world.forge.fetch_due().await;
    assert_eq!(upstream().await, before, "it is not time again");
    // Another URL where nothing is.
    let nowhere = world.path("nowhere").display().to_string();
    world.forge.set_upstream("mine", Some(nowhere.clone()), None).await.unwrap();
    assert!(
        fetch(&world).await.unwrap_err().to_string().starts_with(&format!("{nowhere} could not be fetched from:\n"))
    );
    let kept = upstream().await;
    assert!(kept.error.contains("could not be fetched from") && kept.fetch_every == 900, "{kept:?}");
    world.forge.set_upstream("mine", Some(String::new()), None).await.unwrap();
    assert_eq!(upstream().await.due_at(), None);
    for error in [fetch(&world).await.map(drop), world.forge.set_upstream("mine", None, Some(900)).await] {
        let error = error.unwrap_err().to_string();
        assert_eq!(error, "`mine` has no upstream; name one with `pilothouse repo set mine --upstream URL|PATH`");
    }
    let error = world.forge.set_upstream("mine", Some("ext::sh".into()), None).await.unwrap_err();
    assert!(matches!(error, ForgeError::Invalid(_)), "{error}");
}

#[tokio::test]
async fn a_repository_of_before_has_the_upstream_that_it_was_cloned_from() {
    let world = World::new().await;
    let work = world.path("work").display().to_string();
    assert_eq!(world.forge.upstream("widgets").await.unwrap(), Upstream { url: work, ..Upstream::default() });
}

async fn with_a_pull(world: &World) {
    let head = world.open("one", "a.txt", "1\n").await.pull.head().to_owned();
    let (name, state, log) = ("unit".into(), CheckState::Passed, Some(b"fine".to_vec()));
    let report = Report { name, state, summary: String::new(), url: String::new(), log };
    world.forge.report("widgets", &head, report).await.unwrap();
    world.forge.set_rules("widgets", Rules { approvals: 3, ..Rules::default() }).await.unwrap();
}

#[tokio::test]
async fn a_repository_is_removed_with_all_that_is_kept_of_it() {
    let world = World::new().await;
    with_a_pull(&world).await;
    let turn = world.forge.upkeep.take(&"widgets".to_owned()).unwrap();
    assert!(matches!(world.forge.remove("widgets").await, Err(ForgeError::Busy(_))));
    drop(turn);
    world.forge.remove("widgets").await.unwrap();
    assert!(matches!(world.forge.remove("widgets").await, Err(ForgeError::NoRepository { .. })));
    assert!(world.forge.pulls(PullFilter { all: true, ..PullFilter::default() }).await.unwrap().is_empty());
    assert_eq!(std::fs::read_dir(world.path("git")).unwrap().count(), 0);
    assert_eq!(world.forge.rules("widgets").await.unwrap(), Rules::default());
    // Another of its name begins anew.
    world.git(&["-C", "work", "checkout", "-q", "main"]).await;
    world.git(&["clone", "-q", "--bare", "work", "git/widgets.git"]).await;
    assert_eq!(world.open("one", "a.txt", "2\n").await.pull.number, 1);
}

#[tokio::test]
async fn what_a_removal_leaves_when_hostd_dies_goes_with_the_next_start() {
    let world = World::new().await;
    std::fs::create_dir_all(world.path("git/.removed-x/repository.git")).unwrap();
    world.forge.catch_up().await;
    assert!(!world.path("git/.removed-x").exists());
}

#[tokio::test]
async fn a_renamed_repository_keeps_everything() {
    let world = World::new().await;
    with_a_pull(&world).await;
    world.git(&["clone", "-q", "--bare", "work", "git/taken.git"]).await;
    assert!(matches!(world.forge.rename("widgets", "taken").await, Err(ForgeError::Taken(_))));
    assert!(matches!(world.forge.rename("widgets", "../x").await, Err(ForgeError::Invalid(_))));
    assert_eq!(world.forge.rename("widgets", "gadgets").await.unwrap().name, "gadgets");
    let pull = world.forge.pull(&PullId::new(ForgeId::local(), "gadgets", 1)).await.unwrap();
    assert_eq!((pull.pull.repository.as_str(), pull.checks[0].name.as_str()), ("gadgets", "unit"));
    assert_eq!(world.forge.log("gadgets", &pull.checks[0]).await.unwrap().unwrap(), b"fine");
    assert_eq!((pull.rules.approvals, pull.outcome().word()), (3, "passed"));
    assert!(matches!(world.forge.repository("widgets").await, Err(ForgeError::NoRepository { .. })));
}

/// Pushes as a person's git does, with what serves it on the other side.
async fn push(world: &World, refspec: &str) -> Result<(), String> {
    let served = world.forge.serve("widgets", Service::Push, &Who::person(ANN), "").await.unwrap();
    let served = served.as_std();
    let mut script = String::from("#!/bin/sh\n");
    let quoted = |text: &std::ffi::OsStr| format!("'{}'", text.to_str().unwrap().replace('\'', "'\\''"));
    for (name, value) in served.get_envs() {
        writeln!(script, "export {}={}", name.to_str().unwrap(), quoted(value.unwrap())).unwrap();
    }
    let arguments: Vec<String> = served.get_args().map(quoted).collect();
    writeln!(script, "exec git {}", arguments.join(" ")).unwrap();
    std::fs::write(world.path("serve"), script).unwrap();
    let receive = format!("--receive-pack=sh {}", world.path("serve").display());
    let mut command = crate::git(world.folder.path());
    let output = command.args(["-C", "work", "push", &receive, "../git/widgets.git", refspec]).output().await.unwrap();
    world.forge.pushed("widgets").await;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() { Ok(()) } else { Err(said) }
}

#[rstest]
#[case::on_top(DirectPush::FastForward, "HEAD:refs/heads/main", "")]
#[case::rewritten(DirectPush::FastForward, "+other:refs/heads/main", "main takes commits on top of what it has alone")]
#[case::rewritten_where_it_may_be(DirectPush::Any, "+other:refs/heads/main", "")]
#[case::deleted(DirectPush::FastForward, ":refs/heads/main", "main is the default branch, and is not deleted")]
#[case::by_pull_requests_alone(
    DirectPush::None,
    "HEAD:refs/heads/main",
    "main changes by pull requests alone; `pilothouse repo set widgets --direct-push fast-forward` allows more"
)]
#[case::another_branch(DirectPush::None, "HEAD:refs/heads/topic", "")]
#[case::a_name_that_begins_alike(DirectPush::None, "HEAD:refs/heads/main/x", "cannot lock ref")]
#[case::a_tag(DirectPush::None, "HEAD:refs/tags/v1", "")]
#[case::a_revision(
    DirectPush::Any,
    "+HEAD:refs/pull/1/1",
    "people push to refs/heads/ and refs/tags/; refs/pull/1/1 was refused"
)]
#[case::notes(DirectPush::Any, "HEAD:refs/notes/commits", "refs/notes/commits was refused")]
#[tokio::test]
async fn people_push_what_the_rules_allow(#[case] rule: DirectPush, #[case] refspec: &str, #[case] refused: &str) {
    let world = World::new().await;
    world.open("one", "a.txt", "1\n").await;
    world.forge.set_rules("widgets", Rules { direct_push: rule, ..Rules::default() }).await.unwrap();
    world.git(&["-C", "work", "checkout", "-q", "main"]).await;
    world.git(&["-C", "work", "commit", "-q", "--allow-empty", "-m", "More"]).await;
    world.git(&["-C", "work", "branch", "other"]).await;
    world.git(&["-C", "work", "checkout", "-q", "other"]).await;
    world.git(&["-C", "work", "commit", "-q", "--amend", "--allow-empty", "-m", "Otherwise"]).await;
    world.git(&["-C", "work", "checkout", "-q", "main"]).await;
    // So that `other` is not on top.
    world.git(&["-C", "work", "push", "-q", "../git/widgets.git", "main"]).await;
    world.git(&["-C", "work", "commit", "-q", "--allow-empty", "-m", "Even more"]).await;
    let before = world.git(&["-C", "git/widgets.git", "for-each-ref"]).await;
    let pushed = push(&world, refspec).await;
    let said = pushed.as_ref().err().cloned().unwrap_or_default();
    assert!(pushed.is_ok() == refused.is_empty() && said.contains(refused), "{said}");
    let after = world.git(&["-C", "git/widgets.git", "for-each-ref"]).await;
    assert_eq!(before == after, pushed.is_err());
}

#[tokio::test]
async fn what_a_person_pushes_to_a_head_branch_is_a_revision() {
    let world = World::new().await;
    world.open("one", "a.txt", "1\n").await;
    world.git(&["-C", "work", "commit", "-q", "--allow-empty", "-m", "More"]).await;
    push(&world, "HEAD:refs/heads/agent/one/work").await.unwrap();
    let known = world.forge.known(&world.id(1)).await.unwrap().pull;
    assert_eq!((known.revision(), known.head()), (2, &*world.tip("agent/one/work").await));
    let reflog = world.git(&["-C", "git/widgets.git", "log", "-g", "-1", "--format=%gn", "agent/one/work"]).await;
    assert_eq!(reflog, ANN);
}
