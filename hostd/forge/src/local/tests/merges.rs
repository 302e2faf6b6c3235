use hostd_core::pulls::{Merge, MergeMethod, PullInput, PullState, Rules, Who};
use rstest::rstest;

use super::{
    super::{attributes::Attributes, now},
    world::{ANN, World},
};
use crate::{ForgeError, Pulls as _, Repositories as _, Storage as _, git::Repository};

async fn rules(world: &World, method: MergeMethod) {
    world.forge.set_rules("widgets", Rules { method, ..Rules::default() }).await.unwrap();
}

#[rstest]
#[case::merge(MergeMethod::Merge, "ann|Merge pull request #1: Work of one|2")]
#[case::squash(MergeMethod::Squash, "agent|Work of one (#1)|1")]
#[case::fast_forward(MergeMethod::FastForward, "agent|Write it otherwise|1")]
#[tokio::test]
async fn merges_as_the_repository_says(#[case] method: MergeMethod, #[case] expected: &str) {
    let world = World::new().await;
    rules(&world, method).await;
    world.open("one", "a.txt", "1\n").await;
    world.push("one", "b.txt", "1\n").await;
    if method == MergeMethod::FastForward {
        world.force_push("one").await;
    } else {
        world.push_main("README", "more\n").await;
    }
    let before = world.tip("main").await;
    let head = world.approve(1).await;
    let merged = world.forge.merge(&world.id(1), Who::person(ANN), &head).await.unwrap().pull;
    let PullState::Merged(merge) = &merged.state else { panic!("{:?}", merged.state) };
    let main = world.tip("main").await;
    assert_eq!((merge.commit.as_str(), merge.by.as_str(), merge.method), (main.as_str(), ANN, method));
    let log = world.git(&["--git-dir=git/widgets.git", "log", "-1", "--format=%an|%s|%P", "main"]).await;
    let (told, parents) = log.rsplit_once('|').unwrap();
    let parents: Vec<&str> = parents.split(' ').collect();
    assert_eq!(format!("{told}|{}", parents.len()), expected);
    assert!(method == MergeMethod::FastForward || parents[0] == before);
    let files = world.git(&["--git-dir=git/widgets.git", "ls-tree", "--name-only", "main"]).await;
    assert_eq!(files, "README\na.txt\nb.txt\nsub");
    // The branch is gone, the commits are not, and a repeat says so.
    let branches = world.git(&["--git-dir=git/widgets.git", "for-each-ref", "refs/heads/agent"]).await;
    assert_eq!(world.tip_of(&format!("refs/pull/1/{}", merged.revision())).await, head);
    assert_eq!(branches, "");
    let again = world.forge.merge(&world.id(1), Who::person(ANN), &head).await.unwrap_err().to_string();
    assert_eq!(again, "pull request #1 is merged");
}

#[tokio::test]
async fn conflicts_are_named_and_nothing_is_half_done() {
    let world = World::new().await;
    world.open("one", "a.txt", "1\n").await;
    world.push("one", "README", "mine\n").await;
    world.push_main("README", "theirs\n").await;
    let (main, head) = (world.tip("main").await, world.approve(1).await);
    let error = world.forge.merge(&world.id(1), Who::person(ANN), &head).await.unwrap_err();
    assert!(matches!(&error, ForgeError::Conflicts { paths, .. } if paths == &["README"]), "{error}");
    assert!(
        error.to_string().starts_with("widgets#1 conflicts with `main` in README (git says: CONFLICT (content): "),
        "{error}"
    );
    assert_eq!(world.tip("main").await, main);
    assert_eq!(world.forge.pull(&world.id(1)).await.unwrap().pull.state, PullState::Open);
}

/// `main` with `.gitattributes` at its root and in a folder, and two branches that changed the same files in other places.
async fn attributed(world: &World) {
    std::fs::create_dir_all(world.path("work/deep/er")).unwrap();
    let lock: String = (1..=20).map(|line| format!("{line}\n")).collect();
    for (file, text) in [
        (".gitattributes", "*.lock -merge\n[attr]log merge=union\nCHANGES log\n"),
        ("deep/.gitattributes", "*.lock merge\n/er/NEWS merge=union\n"),
        ("deps.lock", &lock),
        ("deep/er/deps.lock", &lock),
        ("CHANGES", "begin\n"),
        ("deep/er/NEWS", "begin\n"),
    ] {
        std::fs::write(world.path("work").join(file), text).unwrap();
    }
    world.push_main("x", "x\n").await;
    // Branches begin on it.
    world.git(&["-C", "work", "branch", "-f", "main", "HEAD"]).await;
}

#[rstest]
#[case::never_by_line("deps.lock", "3\n", "three\n", "17\n", "seventeen\n", Some("deps.lock"))]
#[case::deeper_wins("deep/er/deps.lock", "3\n", "three\n", "17\n", "seventeen\n", None)]
#[case::both_lines("CHANGES", "begin\n", "begin\none\n", "begin\n", "begin\ntwo\n", None)]
#[case::both_lines_below("deep/er/NEWS", "begin\n", "begin\none\n", "begin\n", "begin\ntwo\n", None)]
#[case::no_attributes("README", "widgets\n", "one\n", "widgets\n", "two\n", Some("README"))]
#[tokio::test]
async fn merges_follow_the_bases_gitattributes(
    #[case] file: &str,
    #[case] old: &str,
    #[case] new: &str,
    #[case] bases_old: &str,
    #[case] bases_new: &str,
    #[case] conflicts: Option<&str>,
) {
    let world = World::new().await;
    attributed(&world).await;
    let text = std::fs::read_to_string(world.path("work").join(file)).unwrap();
    let changed =
        |old: &str, new: &str| format!("\n{text}").replace(&format!("\n{old}"), &format!("\n{new}"))[1..].to_owned();
    // What the head says of attributes does not count.
    world.push("one", ".gitattributes", "*.lock merge=union\nREADME merge=union\n").await;
    world.open("one", file, &changed(old, new)).await;
    world.push_main(file, &changed(bases_old, bases_new)).await;
    let (base, head) = (world.tip("main").await, world.approve(1).await);
    // git before 2.41 has them from a file: to the same result.
    let repository = Repository { path: world.path("git/widgets.git") };
    let attributes = Attributes::in_a_file(&repository, &base).await.unwrap();
    let args = ["merge-tree", "--write-tree", &base, &head];
    let from_file = repository.run(attributes.arguments().into_iter().chain(args.map(Into::into))).await.unwrap();
    assert_eq!(from_file.code, i32::from(conflicts.is_some()), "{}", from_file.line());

    let merged = world.forge.merge(&world.id(1), Who::person(ANN), &head).await;
    match conflicts {
        Some(path) => {
            let error = merged.unwrap_err();
            assert!(matches!(&error, ForgeError::Conflicts { paths, .. } if paths == &[path]), "{error}");
        }
        None => {
            merged.unwrap();
            let tree = world.git(&["--git-dir=git/widgets.git", "rev-parse", "main^{tree}"]).await;
            assert_eq!(from_file.line(), tree);
            let both = world.git(&["--git-dir=git/widgets.git", "show", &format!("main:{file}")]).await;
            let lines = |text: &str| text.lines().last().unwrap_or_default().to_owned();
            assert!(both.contains(&lines(new)) && both.contains(&lines(bases_new)), "{both}");
        }
    }
}

#[tokio::test]
async fn what_is_no_conflict_in_a_file_is_told_as_what_it_is() {
    let world = World::new().await;
    let numbers = |from: u32| (from..40).map(|line| format!("{line}\n")).collect::<String>();
    for (file, from) in [("d1", 1), ("d2", 2)] {
        std::fs::create_dir_all(world.path("work/d")).unwrap();
        std::fs::write(world.path("work/d").join(file), numbers(from)).unwrap();
    }
    world.push_main("x", "x\n").await;
    world.git(&["-C", "work", "branch", "-f", "main", "HEAD"]).await;
    world.open("one", "d/new", "new\n").await;
    world.git(&["-C", "work", "checkout", "-q", "--detach", &world.tip("main").await]).await;
    for (file, folder) in [("d1", "e"), ("d2", "g")] {
        std::fs::create_dir(world.path("work").join(folder)).unwrap();
        world.git(&["-C", "work", "mv", &format!("d/{file}"), &format!("{folder}/{file}")]).await;
    }
    world.git(&["-C", "work", "commit", "-q", "-m", "Split"]).await;
    world.git(&["-C", "work", "push", "-q", "../git/widgets.git", "HEAD:refs/heads/main"]).await;
    let head = world.approve(1).await;
    let merge = async || world.forge.merge(&world.id(1), Who::person(ANN), &head).await.unwrap_err().to_string();
    let split =
        "widgets#1 conflicts with `main` (git says: CONFLICT (directory rename split): Unclear where to rename d to";
    let error = merge().await;
    assert!(error.starts_with(split) && error.ends_with("; merge or rebase `main` into it, and push"), "{error}");
    // An object is missing: nobody can resolve that.
    let tree = world.git(&["--git-dir=git/widgets.git", "rev-parse", "main^{tree}"]).await;
    let (fan, rest) = tree.split_at(2);
    std::fs::remove_file(world.path(&format!("git/widgets.git/objects/{fan}/{rest}"))).unwrap();
    let error = merge().await;
    // As git's versions have it, the tree is named, or the commit whose tree it is.
    let named = error.contains(&tree) || error.contains(&world.tip("main").await);
    assert!(error.contains("failed: git says: ") && named && !error.contains("conflicts"), "{error}");
}

#[tokio::test]
async fn only_what_was_seen_and_approved_is_merged() {
    let world = World::new().await;
    world.open("one", "a.txt", "1\n").await;
    let head = world.approve(1).await;
    world.push("one", "a.txt", "2\n").await;
    let merge = async |head: &str| {
        let merged = world.forge.merge(&world.id(1), Who::person(ANN), head).await;
        merged.map(|_| ()).map_err(|error| error.to_string())
    };
    assert!(merge(&head).await.unwrap_err().starts_with("the head has moved: you saw "));
    let new = world.tip("agent/one/work").await;
    assert_eq!(
        merge(&new).await.unwrap_err(),
        "ann approved revision 1, but the head is revision 2 now; it must be approved again"
    );
    world.approve(1).await;
    assert_eq!(merge(&new).await, Ok(()));
}

#[tokio::test]
async fn a_base_that_moved_is_not_fast_forwarded() {
    let world = World::new().await;
    rules(&world, MergeMethod::FastForward).await;
    world.open("one", "a.txt", "1\n").await;
    world.push_main("b.txt", "1\n").await;
    let head = world.approve(1).await;
    let error = world.forge.merge(&world.id(1), Who::person(ANN), &head).await.unwrap_err().to_string();
    assert!(error.starts_with("`main` has commits that the head lacks"), "{error}");
}

/// As a hostd leaves it that dies while it merges, before or after the base branch was moved.
#[rstest]
#[case::before(false)]
#[case::after(true)]
#[tokio::test]
async fn a_merge_that_was_cut_off_is_settled(#[case] moved: bool, #[values(true, false)] restarted: bool) {
    let world = World::new().await;
    world.open("one", "a.txt", "1\n").await;
    let head = world.approve(1).await;
    let (by, method) = (ANN.to_owned(), MergeMethod::FastForward);
    let merge = Merge { by, head: head.clone(), commit: head.clone(), method, at: now() };
    world.forge.step(&world.id(1), PullInput::Merge(merge)).await.unwrap();
    if moved {
        world.git(&["--git-dir=git/widgets.git", "update-ref", "refs/heads/main", &head]).await;
    }
    if restarted {
        world.restarted().catch_up().await;
    } else {
        // Whoever merged it could not settle it: the next reader does.
        world.forge.pull(&world.id(1)).await.unwrap();
    }
    let kept = world.storage.pull("widgets", 1).await.unwrap().record.pull;
    assert_eq!(kept.state.word(), if moved { "merged" } else { "open" });
    let branches = world.git(&["--git-dir=git/widgets.git", "for-each-ref", "refs/heads/agent"]).await;
    assert_eq!(branches.is_empty(), moved);
}

#[tokio::test]
async fn two_who_merge_at_once_merge_once() {
    let world = World::new().await;
    world.open("one", "a.txt", "1\n").await;
    world.open("two", "b.txt", "1\n").await;
    let (one, two) = (world.approve(1).await, world.approve(2).await);
    let (first, second) = (world.id(1), world.id(2));
    let merge = |id, head| world.forge.merge(id, Who::person(ANN), head);
    let (a, b, c) = tokio::join!(merge(&first, &one), merge(&first, &one), merge(&second, &two));
    assert!(a.is_ok() != b.is_ok() && c.is_ok(), "{a:?} {b:?} {c:?}");
    let merges = world.git(&["--git-dir=git/widgets.git", "log", "--merges", "--format=%s", "main"]).await;
    assert_eq!(merges.lines().count(), 2, "{merges}");
}
