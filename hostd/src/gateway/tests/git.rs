use super::*;

#[tokio::test]
async fn clones_fetches_and_pushes_to_its_own_branches() {
    let fixture = Fixture::new(caller()).await;
    fixture.clone_widgets().await;
    fixture.git_works("widgets", &["commit", "-q", "--allow-empty", "-m", "x"]).await;
    fixture.git_works("widgets", &["push", "-q", "origin", "HEAD:refs/heads/agent/fix-parser-3f/work"]).await;
    let pushed = commit_of(&fixture.path("git/widgets.git"), "refs/heads/agent/fix-parser-3f/work");
    assert_eq!(pushed, commit_of(&fixture.path("widgets/.git"), "refs/heads/main"));
    fixture.git_works("widgets", &["fetch", "-q", "origin"]).await;
    fixture.git_works("widgets", &["push", "-q", "origin", ":refs/heads/agent/fix-parser-3f/work"]).await;
    assert_eq!(commit_of(&fixture.path("git/widgets.git"), "refs/heads/agent/fix-parser-3f/work"), "");
}

#[rstest::rstest]
#[case::main("HEAD:refs/heads/main", "refs/heads/main")]
#[case::delete(":refs/heads/main", "refs/heads/main")]
#[case::force("+HEAD~0:refs/heads/main", "refs/heads/main")]
#[case::another_session("HEAD:refs/heads/agent/other/work", "refs/heads/agent/other/work")]
#[case::a_name_that_begins_alike("HEAD:refs/heads/agent/fix-parser-3f-b/work", "refs/heads/agent/fix-parser-3f-b/work")]
#[case::tag("HEAD:refs/tags/v1", "refs/tags/v1")]
#[tokio::test]
async fn other_branches_are_refused(#[case] refspec: &str, #[case] named: &str) {
    let fixture = Fixture::new(caller()).await;
    fixture.clone_widgets().await;
    let before = commit_of(&fixture.path("git/widgets.git"), "packed-refs");
    fixture.git_works("widgets", &["commit", "-q", "--allow-empty", "-m", "x"]).await;
    // A good ref in the same push does not get through either.
    let output = fixture.git("widgets", &["push", "origin", "HEAD:refs/heads/agent/fix-parser-3f/work", refspec]).await;
    let expected = format!(
        "remote: pilothouse: fix-parser-3f may push to refs/heads/agent/fix-parser-3f/* only; {named} was refused"
    );
    assert!(!output.status.success() && text(&output).contains(&expected), "{}", text(&output));
    assert_eq!(commit_of(&fixture.path("git/widgets.git"), "packed-refs"), before);
    assert!(!fixture.path("git/widgets.git/refs/heads/agent").exists());
}

#[tokio::test]
async fn without_a_prefix_nothing_is_pushed() {
    let fixture = Fixture::new(Caller { branch_prefix: None, ..caller() }).await;
    fixture.clone_widgets().await;
    let output = fixture.git("widgets", &["push", "origin", "HEAD:refs/heads/agent/fix-parser-3f/work"]).await;
    assert!(!output.status.success());
    assert!(text(&output).contains("remote: pilothouse: fix-parser-3f may not push"), "{}", text(&output));
}

#[tokio::test]
async fn what_a_recipe_names_besides_is_read_and_not_written() {
    let fixture = Fixture::new(Caller { also_read: vec!["secrets".into()], ..caller() }).await;
    fixture.git_works(".", &["clone", "-q", "http://pilothouse.internal/git/secrets.git"]).await;
    let push = ["push", "origin", "HEAD:refs/heads/agent/fix-parser-3f/work"];
    let output = fixture.git("secrets", &push).await;
    assert!(!output.status.success());
    assert!(text(&output).contains("may read `secrets`, and not push to it"), "{}", text(&output));
    assert!(!fixture.path("git/secrets.git/refs/heads/agent").exists());
}

#[rstest::rstest]
#[case(
    "secrets",
    "fix-parser-3f may read the repository `widgets` only; \"secrets\" was refused; to allow it, add `read = [\"secrets\"]`"
)]
#[case("nothing", "\"nothing\" was refused")]
#[case("widgets%2f..%2fsecrets", "\"widgets%2f..%2fsecrets\" was refused")]
#[tokio::test]
async fn other_repositories_are_refused(#[case] name: &str, #[case] expected: &str) {
    let fixture = Fixture::new(caller()).await;
    let output = fixture.git(".", &["clone", &format!("http://pilothouse.internal/git/{name}.git"), "x"]).await;
    assert!(!output.status.success());
    assert!(text(&output).contains(expected), "{}", text(&output));
}

#[tokio::test]
async fn a_big_repository_comes_through_whole() {
    let fixture = Fixture::new(caller()).await;
    fixture.clone_widgets().await;
    let mut noise = vec![0; 24 << 20];
    getrandom::fill(&mut noise).unwrap();
    std::fs::write(fixture.path("widgets/noise"), &noise).unwrap();
    fixture.git_works("widgets", &["add", "noise"]).await;
    fixture.git_works("widgets", &["commit", "-q", "-m", "noise"]).await;
    fixture.git_works("widgets", &["push", "-q", "origin", "HEAD:refs/heads/agent/fix-parser-3f/noise"]).await;
    let url = "http://pilothouse.internal/git/widgets.git";
    fixture.git_works(".", &["clone", "-q", "-b", "agent/fix-parser-3f/noise", url, "again"]).await;
    assert!(std::fs::read(fixture.path("again/noise")).unwrap() == noise);
}

#[tokio::test]
async fn a_push_that_is_too_long_is_refused_midway_and_says_so() {
    let fixture = Fixture::with(caller(), |gateway, _| Gateway { push_bytes: 4 << 20, ..gateway }).await;
    fixture.clone_widgets().await;
    let mut noise = vec![0; 24 << 20];
    getrandom::fill(&mut noise).unwrap();
    std::fs::write(fixture.path("widgets/noise"), &noise).unwrap();
    fixture.git_works("widgets", &["add", "noise"]).await;
    fixture.git_works("widgets", &["commit", "-q", "-m", "noise"]).await;
    let output = fixture.git("widgets", &["push", "origin", "HEAD:refs/heads/agent/fix-parser-3f/noise"]).await;
    let said = text(&output);
    assert!(!output.status.success() && said.contains("remote: pilothouse: a push may be 4 MiB long; "), "{said}");
    assert!(said.contains("[remote rejected]") && !said.contains("RPC failed"), "{said}");
    assert_eq!(commit_of(&fixture.path("git/widgets.git"), "refs/heads/agent/fix-parser-3f/noise"), "");
}

/// A blob of a terabyte, as it is declared: what comes after the limit is read and thrown away.
#[tokio::test]
async fn a_push_without_end_takes_no_more_than_the_limit() {
    let fixture = Fixture::with(caller(), |gateway, _| Gateway { push_bytes: 4 << 20, ..gateway }).await;
    let mut stream = TcpStream::connect(&fixture.proxy).await.unwrap();
    let (zero, one) = ("0".repeat(40), "1".repeat(40));
    let update = format!("{zero} {one} refs/heads/agent/fix-parser-3f/x\0report-status side-band-64k");
    // A pack of one blob of 1 TiB, and how its deflated bytes begin; then blocks that are not compressed.
    let mut body = format!("{:04x}{update}0000", update.len() + 4).into_bytes();
    body.extend(b"PACK\0\0\0\x02\0\0\0\x01\xb0\x80\x80\x80\x80\x80\x02\x78\x01");
    let block = [&[0, 0xff, 0xff, 0, 0][..], &vec![0; 0xffff]].concat();
    let blocks = 4000;
    let head = format!(
        "POST http://pilothouse.internal/git/widgets.git/git-receive-pack HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
         Content-Type: application/x-git-receive-pack-request\r\nContent-Length: {}\r\n\r\n",
        body.len() + block.len() * blocks,
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&body).await.unwrap();
    for _ in 0..blocks {
        stream.write_all(&block).await.unwrap();
    }
    let mut answer = vec![];
    stream.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.contains("pilothouse: a push may be 4 MiB long; "), "{answer}");
    assert!(answer.contains("ng refs/heads/agent/fix-parser-3f/x"), "{answer}");
    let left = std::fs::read_dir(fixture.path("git/widgets.git/objects")).unwrap().flatten();
    assert!(!left.map(|entry| entry.file_name()).any(|name| name.to_string_lossy().starts_with("tmp_")));
}

#[tokio::test]
async fn a_full_disk_refuses_pushes_and_serves_the_rest() {
    let full = |_: &Path| Some(Disk { total: 100 << 30, available: 1 << 30 });
    let fixture = Fixture::with(caller(), |gateway, _| Gateway { disk: full, ..gateway }).await;
    fixture.clone_widgets().await;
    let output = fixture.git("widgets", &["push", "origin", "HEAD:refs/heads/agent/fix-parser-3f/work"]).await;
    let expected = "remote: pilothouse: the push was refused: the host's disk has 1024 MiB free, and 2048 MiB are kept";
    assert!(!output.status.success() && text(&output).contains(expected), "{}", text(&output));
}

#[tokio::test]
async fn one_session_keeps_no_other_from_git() {
    let permit_wait = Duration::from_secs(2);
    let fixture = Fixture::with(caller(), |gateway, _| Gateway { permit_wait, ..gateway }).await;
    let head = "POST http://pilothouse.internal/git/widgets.git/git-upload-pack HTTP/1.1\r\nHost: x\r\n\
                Content-Type: application/x-git-upload-pack-request\r\nContent-Length: 1000\r\n\r\n";
    let mut stalled = vec![];
    for _ in 0..git_permits::OF_SESSION {
        let mut stream = TcpStream::connect(&fixture.proxy).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        stalled.push(stream);
    }
    let root = fixture.path("git");
    until("git runs", || count_git(&root) >= git_permits::OF_SESSION).await;
    let output = fixture.git(".", &["clone", "http://pilothouse.internal/git/widgets.git", "x"]).await;
    assert!(text(&output).contains("remote: pilothouse: git is busy with other transfers"), "{}", text(&output));
    assert_eq!(fixture.gateway.git_permits.available_permits(), git_permits::OF_HOST - git_permits::OF_SESSION);
    drop(stalled);
    until("git is gone", || count_git(&root) == 0).await;
    fixture.clone_widgets().await;
}

#[tokio::test]
async fn git_ends_when_the_guest_goes_away() {
    let fixture = Fixture::new(caller()).await;
    let mut stream = TcpStream::connect(&fixture.proxy).await.unwrap();
    let head = "POST http://pilothouse.internal/git/widgets.git/git-upload-pack HTTP/1.1\r\nHost: x\r\n\
                Content-Type: application/x-git-upload-pack-request\r\nContent-Length: 1000\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let root = fixture.path("git");
    until("git runs", || count_git(&root) > 0).await;
    drop(stream);
    until("git is gone", || count_git(&root) == 0).await;
}

#[rstest::rstest]
#[case::dumb("GET", "info/refs", "")]
#[case::file("GET", "config", "")]
#[case::two_parameters("GET", "info/refs?service=git-upload-pack&x=1", "")]
#[case::archive("POST", "git-upload-archive", "")]
#[case::wrong_type("POST", "git-upload-pack", "Content-Type: text/plain\r\n")]
#[tokio::test]
async fn only_the_smart_protocol_is_spoken(#[case] method: &str, #[case] rest: &str, #[case] headers: &str) {
    let fixture = Fixture::new(caller()).await;
    let url = format!("http://pilothouse.internal/git/widgets.git/{rest}");
    let answer =
        fixture.ask(&format!("{method} {url} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n")).await;
    assert!(answer.starts_with("HTTP/1.1 40") || answer.starts_with("HTTP/1.1 415"), "{answer}");
    assert!(answer.contains("\r\n\r\npilothouse: "), "{answer}");
}

/// Processes of git that serve this folder.
fn count_git(root: &Path) -> usize {
    let variable = format!("GIT_PROJECT_ROOT={}", root.display());
    let of_process = |entry: std::fs::DirEntry| std::fs::read(entry.path().join("environ")).unwrap_or_default();
    let serves = |environment: &Vec<u8>| environment.split(|&b| b == 0).any(|entry| entry == variable.as_bytes());
    std::fs::read_dir("/proc").unwrap().flatten().map(of_process).filter(serves).count()
}

async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(tokio::time::Instant::now() < deadline, "waited too long: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// As old programs wrote them; a repository that comes in whole may have them, and whoever pushes on top must not be refused.
#[rstest::rstest]
#[case::odd_time_zone("author a <a@b> 1 +051800\ncommitter a <a@b> 1 +051800\n", true)]
#[case::no_address("author a <a@b> 1 +0000\ncommitter a <> 1 -7\n", true)]
#[case::no_name("author <a@b> 1 +0000\ncommitter <a@b> 01 +0000\n", true)]
#[case::two_authors("author a <a@b> 1 +0000\nauthor b <b@b> 1 +0000\ncommitter a <a@b> 1 +0000\n", true)]
#[case::nobody("committer a <a@b> 1 +0000\n", false)]
#[tokio::test]
async fn pushes_may_have_the_oddities_that_imports_have(#[case] people: &str, #[case] taken: bool) {
    let fixture = Fixture::new(caller()).await;
    fixture.clone_widgets().await;
    let tree = fixture.git("widgets", &["rev-parse", "HEAD^{tree}"]).await;
    let commit = format!("tree {}\n{people}\nOdd\n", text(&tree).trim());
    std::fs::write(fixture.path("commit"), commit).unwrap();
    let odd = fixture.git("widgets", &["hash-object", "-t", "commit", "--literally", "-w", "../commit"]).await;
    let refspec = format!("{}:refs/heads/agent/fix-parser-3f/odd", text(&odd).trim());
    let output = fixture.git("widgets", &["push", "origin", &refspec]).await;
    assert_eq!(output.status.success(), taken, "{}", text(&output));
}
