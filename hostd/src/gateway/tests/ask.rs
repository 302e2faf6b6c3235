use hostd_core::{ForgeId, pulls::PullState};
use pilothouse_proto::guest::v1::{AskRequest, OpenPull, PullOpened, ask_request, ask_response::Answer};

use super::*;
use crate::{
    forge::{Local, PullId, Pulls as _, testing::fake_forge::FakeForge},
    store::Store,
};

/// A gateway with a forge, as hostd has it.
async fn with_forge() -> (Fixture, Local) {
    let mut forge = None;
    let fixture = Fixture::with(caller(), |gateway, folder| {
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
