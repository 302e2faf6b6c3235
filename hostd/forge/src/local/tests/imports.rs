use rstest::rstest;
use tokio::sync::mpsc;

use super::{
    super::{Import, Keeper as _, Repositories as _},
    world::World,
};

async fn import(world: &World, source: &str, name: &str, branch: &str) -> Result<String, String> {
    let import = Import { source: source.into(), name: name.into(), branch: branch.into() };
    let (progress, _lines) = mpsc::channel(8);
    let info = world.forge.import(import, progress).await.map_err(|error| error.to_string())?;
    Ok(format!("{} {}", info.name, info.default_branch))
}

fn left(world: &World) -> Vec<String> {
    let entries = std::fs::read_dir(world.path("git")).unwrap();
    let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn any_repository_comes_in_whole() {
    let world = World::new().await;
    world.git(&["-C", "work", "tag", "v1"]).await;
    world.git(&["-C", "work", "branch", "other"]).await;
    let source = world.path("work").display().to_string();
    let (progress, mut lines) = mpsc::channel(64);
    let order = Import { source: source.clone(), name: String::new(), branch: String::new() };
    let info = world.forge.import(order, progress).await.unwrap();
    assert_eq!((info.name.as_str(), info.default_branch.as_str()), ("work", "main"));
    assert!(lines.recv().await.unwrap().starts_with("Cloning into"));
    assert_eq!(import(&world, &format!("file://{source}/.git"), "again", "other").await.unwrap(), "again other");
    let names: Vec<String> = world.forge.repositories().await.unwrap().into_iter().map(|info| info.name).collect();
    assert_eq!(names, ["again", "widgets", "work"]);
    let refs = world.git(&["--git-dir=git/work.git", "for-each-ref", "--format=%(refname)"]).await;
    assert_eq!(refs, "refs/heads/main\nrefs/heads/other\nrefs/tags/v1");
    assert_eq!(left(&world), ["again.git", "widgets.git", "work.git"]);
}

#[rstest]
#[case::taken("work", "widgets", "", "there is a repository `widgets` already")]
#[case::nothing_there("nowhere", "", "", "could not be cloned:")]
#[case::no_repository("work/sub", "", "", "could not be cloned:")]
#[case::bad_name("work", "../x", "", "cannot be a repository's name")]
#[case::no_branch("work", "x", "nope", "it has no branch `nope`; choose one with --branch, of: main")]
#[case::broken_head("broken", "", "", "its HEAD names the branch `gone`, which is not there; choose one with --branch")]
#[case::empty("empty", "", "", "the repository has no branch; push a commit to it first")]
#[tokio::test]
async fn what_cannot_come_in_leaves_nothing(
    #[case] source: &str,
    #[case] name: &str,
    #[case] branch: &str,
    #[case] says: &str,
) {
    let world = World::new().await;
    world.git(&["init", "-q", "empty"]).await;
    world.git(&["clone", "-q", "work", "broken"]).await;
    world.git(&["-C", "broken", "symbolic-ref", "HEAD", "refs/heads/gone"]).await;
    let source = world.path(source).display().to_string();
    let error = import(&world, &source, name, branch).await.unwrap_err();
    assert!(error.contains(says), "{error}");
    assert_eq!(left(&world), ["widgets.git"]);
}

#[rstest]
#[case("--upload-pack=touch /tmp/x")]
#[case("ext::sh -c true")]
#[case("relative/path")]
#[case("")]
#[tokio::test]
async fn sources_are_urls_or_absolute(#[case] source: &str) {
    let world = World::new().await;
    let error = import(&world, source, "x", "").await.unwrap_err();
    assert!(error.contains("neither a URL that git understands nor an absolute path"), "{error}");
}

#[tokio::test]
async fn a_broken_head_is_mended_by_choosing() {
    let world = World::new().await;
    world.git(&["clone", "-q", "work", "broken"]).await;
    world.git(&["-C", "broken", "symbolic-ref", "HEAD", "refs/heads/gone"]).await;
    let source = world.path("broken").display().to_string();
    assert_eq!(import(&world, &source, "", "main").await.unwrap(), "broken main");
}

#[tokio::test]
async fn half_imports_of_a_hostd_that_died_are_removed() {
    let world = World::new().await;
    std::fs::create_dir_all(world.path("git/.import-left/repository.git")).unwrap();
    world.forge.catch_up().await;
    assert_eq!(left(&world), ["widgets.git"]);
}
