use hostd_core::{
    ForgeId,
    pulls::{NewReview, PullState, Verdict, Who},
};
use pilothouse_proto::guest::v1::{AskRequest, OpenPull, PullOpened, ask_request, ask_response::Answer};

use super::*;
use crate::{
    forge::{Local, PullFilter, PullId, Pulls as _, testing::fake_forge::FakeForge},
    store::Store,
};

/// A gateway with a forge, as hostd has it.
async fn with_forge() -> (Fixture, Local) {
    with_forge_of(caller()).await
}

/// The same for this caller.
async fn with_forge_of(caller: Caller) -> (Fixture, Local) {
    let mut forge = None;
    let fixture = Fixture::with(caller, |gateway, folder| {
        let (store, _) = Store::open(&folder.join("store.sqlite")).unwrap();
        let local = Local::new(Arc::new(store), folder);
        forge = Some(local.clone());
        gateway.with_forge(Arc::new(local))
    });
    (fixture.await, forge.unwrap())
}

async fn open(fixture: &Fixture, branch: &str) -> Result<PullOpened, String> {
    let open = OpenPull { title: "Fix it".into(), branch: branch.into(), ..OpenPull::default() };
    let request = AskRequest { id: "1".into(), request: Some(ask_request::Request::OpenPull(open)) };
    let answer = fixture.gateway.ask(&caller(), request).await.map_err(|status| status.message().to_owned())?;
    let Some(Answer::PullOpened(opened)) = answer.answer else { panic!("no answer") };
    Ok(opened)
}

async fn push(fixture: &Fixture, branch: &str) {
    fixture.git_works("widgets", &["commit", "-q", "--allow-empty", "-m", "x"]).await;
    let target = format!("+HEAD:refs/heads/agent/fix-parser-3f/{branch}");
    fixture.git_works("widgets", &["push", "-q", "origin", &target]).await;
}

#[tokio::test]
async fn a_pushed_branch_becomes_a_pull_request_and_each_push_a_revision() {
    let (fixture, forge) = with_forge().await;
    fixture.clone_widgets().await;
    let refused = open(&fixture, "").await.unwrap_err();
    let help = "git push origin HEAD:refs/heads/agent/fix-parser-3f/work";
    assert_eq!(refused, format!("nothing was pushed to agent/fix-parser-3f/*; push first: {help}"));
    push(&fixture, "work").await;
    let opened = open(&fixture, "").await.unwrap();
    assert_eq!((opened.number, opened.branch.as_str(), opened.base.as_str()), (1, "agent/fix-parser-3f/work", "main"));
    push(&fixture, "work").await;
    // When the push has returned, its revision is there, unasked.
    let id = PullId::new(ForgeId::local(), "widgets", 1);
    let known = forge.known(&id).await.unwrap().pull;
    assert_eq!((known.revision(), known.author.session.as_str(), known.state), (2, "01J", PullState::Open));
    let tip = commit_of(&fixture.path("git/widgets.git"), "refs/heads/agent/fix-parser-3f/work");
    assert_eq!(known.revisions[1].head, tip);
    assert_eq!(open(&fixture, "work").await.unwrap(), PullOpened { revision: 2, ..opened });
    push(&fixture, "more").await;
    let refused = open(&fixture, "").await.unwrap_err();
    assert!(refused.contains("agent/fix-parser-3f/more, agent/fix-parser-3f/work; say which"), "{refused}");
    assert_eq!(open(&fixture, "agent/fix-parser-3f/more").await.unwrap().number, 2);
    // Another session's branch cannot be meant, whatever is said.
    assert!(open(&fixture, "agent/other/work").await.unwrap_err().contains("was not pushed"));
    assert!(open(&fixture, "../../main").await.unwrap_err().contains("cannot be a branch's name"));
}

#[rstest::rstest]
#[case(Caller { repository: None, ..caller() }, "has no repository")]
#[case(Caller { branch_prefix: None, ..caller() }, "may not push")]
#[tokio::test]
async fn who_cannot_push_opens_nothing(#[case] caller: Caller, #[case] says: &str) {
    let (fixture, _) = with_forge().await;
    let request = AskRequest { id: "1".into(), request: Some(ask_request::Request::OpenPull(OpenPull::default())) };
    let refused = fixture.gateway.ask(&caller, request).await.unwrap_err();
    assert!(refused.message().contains(says), "{refused:?}");
    let nothing = AskRequest { id: "1".into(), request: None };
    assert_eq!(fixture.gateway.ask(&caller, nothing).await.unwrap_err().code(), tonic::Code::Unimplemented);
}

#[tokio::test]
async fn a_forge_that_does_not_answer_is_asked_again() {
    let forge = Arc::new(FakeForge::new(1));
    let fixture = Fixture::with(caller(), |gateway, _| gateway.with_forge(forge.clone())).await;
    for questions in [1, 0] {
        forge.down(questions);
        let open = OpenPull { title: "Fix it".into(), ..OpenPull::default() };
        let request = AskRequest { id: "1".into(), request: Some(ask_request::Request::OpenPull(open)) };
        let answer = fixture.gateway.ask(&caller(), request).await;
        assert_eq!(answer.err().map(|status| status.code()), (questions > 0).then_some(tonic::Code::Unavailable));
    }
}

/// A gateway whose caller's branches become pull requests with their push.
async fn on_push() -> (Fixture, Local) {
    with_forge_of(Caller { opens_pulls: Some(String::new()), ..caller() }).await
}

/// Pull requests of the session, by number.
async fn pulls(forge: &Local) -> Vec<(u64, String, String, u32, &'static str)> {
    let all = forge.pulls(PullFilter { all: true, ..PullFilter::default() }).await.unwrap();
    let line = |it: crate::forge::Pull| {
        let revision = it.pull.revision();
        (it.pull.number, it.pull.title.clone(), it.pull.body.clone(), revision, it.pull.state.word())
    };
    let mut all: Vec<_> = all.into_iter().map(line).collect();
    all.sort_unstable();
    all
}

async fn commit_and_push(fixture: &Fixture, message: &str, branch: &str) {
    fixture.git_works("widgets", &["commit", "-q", "--allow-empty", "-m", message]).await;
    let target = format!("+HEAD:refs/heads/agent/fix-parser-3f/{branch}");
    fixture.git_works("widgets", &["push", "-q", "origin", &target]).await;
}

#[tokio::test]
async fn where_the_recipe_says_so_a_plain_push_opens_a_pull_request_and_later_ones_are_revisions() {
    let (fixture, forge) = on_push().await;
    fixture.clone_widgets().await;
    // Nothing that the base lacks is no pull request, and its push works.
    fixture.git_works("widgets", &["push", "-q", "origin", "HEAD:refs/heads/agent/fix-parser-3f/empty"]).await;
    assert_eq!(pulls(&forge).await, []);
    fixture.git_works("widgets", &["push", "-q", "origin", ":refs/heads/agent/fix-parser-3f/empty"]).await;
    commit_and_push(&fixture, "Fix the\nparser\n\nIt fell over leap seconds.", "work").await;
    let one =
        |revision, state| (1, "Fix the parser".to_owned(), "It fell over leap seconds.".to_owned(), revision, state);
    assert_eq!(pulls(&forge).await, [one(1, "open")]);
    let id = PullId::new(ForgeId::local(), "widgets", 1);
    let known = forge.known(&id).await.unwrap().pull;
    assert_eq!((known.author.session.as_str(), known.base_branch.as_str()), ("01J", "main"));
    commit_and_push(&fixture, "And its test", "work").await;
    assert_eq!(pulls(&forge).await, [one(2, "open")]);
    // Whoever asks for one gets that.
    assert_eq!(open(&fixture, "work").await.unwrap().number, 1);
    // One that a person has closed stays so; a new one follows one that is merged.
    forge.close(&id, Who::person("ann")).await.unwrap();
    commit_and_push(&fixture, "Again", "work").await;
    assert_eq!(pulls(&forge).await, [one(2, "closed")]);
    forge.reopen(&id, Who::person("ann")).await.unwrap();
    let head = forge.known(&id).await.unwrap().pull.head().to_owned();
    let (who, verdict, body, comments) = (Who::person("ann"), Verdict::Approve, String::new(), vec![]);
    forge.review(&id, NewReview { who, head: head.clone(), older: false, verdict, body, comments }).await.unwrap();
    forge.merge(&id, Who::person("ann"), &head).await.unwrap();
    commit_and_push(&fixture, "And the docs", "work").await;
    let all = pulls(&forge).await;
    assert_eq!(
        all.iter().map(|it| (it.0, it.1.as_str(), it.4)).collect::<Vec<_>>(),
        [(1, "Fix the parser", "merged"), (2, "And the docs", "open")]
    );
}

#[tokio::test]
async fn a_branch_that_was_deleted_and_pushed_again_is_another_pull_request_and_many_at_once_are_not_all() {
    let (fixture, forge) = on_push().await;
    fixture.clone_widgets().await;
    commit_and_push(&fixture, "x", "work").await;
    fixture.git_works("widgets", &["push", "-q", "origin", ":refs/heads/agent/fix-parser-3f/work"]).await;
    commit_and_push(&fixture, "y", "work").await;
    let all = pulls(&forge).await;
    assert_eq!(all.iter().map(|it| (it.1.as_str(), it.4)).collect::<Vec<_>>(), [("x", "closed"), ("y", "open")]);
    let many: Vec<String> = (0..12).map(|n| format!("HEAD:refs/heads/agent/fix-parser-3f/many-{n}")).collect();
    let push: Vec<&str> = ["push", "-q", "origin"].into_iter().chain(many.iter().map(String::as_str)).collect();
    fixture.git_works("widgets", &push).await;
    assert_eq!(pulls(&forge).await.len(), 2 + 8);
    // Those that were left out stay so, whatever else is pushed.
    commit_and_push(&fixture, "z", "one").await;
    let all = pulls(&forge).await;
    assert_eq!((all.len(), all[10].1.as_str()), (2 + 8 + 1, "z"));
}

/// Pushes the present commit to this many branches at once.
async fn push_many(fixture: &Fixture, name: &str, many: usize, also: &[&str]) {
    let many: Vec<String> = (0..many).map(|n| format!("HEAD:refs/heads/agent/fix-parser-3f/{name}-{n:02}")).collect();
    let push = ["push", "-q", "origin"].into_iter().chain(many.iter().map(String::as_str));
    fixture.git_works("widgets", &push.chain(also.iter().copied()).collect::<Vec<_>>()).await;
}

#[tokio::test]
async fn branches_that_become_no_pull_request_take_no_place_of_others() {
    let (fixture, forge) = on_push().await;
    fixture.clone_widgets().await;
    fixture.git_works("widgets", &["branch", "fix"]).await;
    fixture.git_works("widgets", &["checkout", "-q", "fix"]).await;
    fixture.git_works("widgets", &["commit", "-q", "--allow-empty", "-m", "Fix it"]).await;
    fixture.git_works("widgets", &["checkout", "-q", "main"]).await;
    push_many(&fixture, "empty", 10, &["fix:refs/heads/agent/fix-parser-3f/fix"]).await;
    let all = pulls(&forge).await;
    assert_eq!(all.iter().map(|it| it.1.as_str()).collect::<Vec<_>>(), ["Fix it"]);
}

#[tokio::test]
async fn pushes_open_no_flood_of_pull_requests_and_that_is_told_once() {
    let (fixture, forge) = on_push().await;
    fixture.clone_widgets().await;
    let mut denials = fixture.gateway.denials();
    fixture.git_works("widgets", &["commit", "-q", "--allow-empty", "-m", "x"]).await;
    for name in ["a", "b", "c", "d"] {
        push_many(&fixture, name, 8, &[]).await;
    }
    assert_eq!(pulls(&forge).await.len(), 20);
    let told = denials.try_recv().unwrap();
    assert_eq!((told.session.as_str(), told.refused.count), ("01J", 1));
    assert_eq!(told.refused.destination, "a pull request for agent/fix-parser-3f/c-04");
    assert!(told.refused.why.contains("20 within an hour"), "{told:?}");
    assert!(denials.try_recv().is_err(), "once");
    // Those that are gone count, too, and who asks for one is served.
    fixture.git_works("widgets", &["push", "-q", "origin", ":refs/heads/agent/fix-parser-3f/a-00"]).await;
    commit_and_push(&fixture, "y", "a-00").await;
    assert_eq!(pulls(&forge).await.len(), 20);
    assert_eq!(open(&fixture, "d-00").await.unwrap().number, 21);
}

#[tokio::test]
async fn elsewhere_a_push_opens_nothing() {
    let (fixture, forge) = with_forge().await;
    fixture.clone_widgets().await;
    push(&fixture, "work").await;
    assert_eq!(pulls(&forge).await, []);
}
