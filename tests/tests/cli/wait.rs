//! `wait`: for a state that comes, that cannot come, or does not come in time.

use std::time::Duration;

use crate::{
    fake::{Fake, session},
    program::{Ran, run, until},
};

/// Waits, and meanwhile, once it watches, does `then`.
async fn waiting(fake: &Fake, arguments: &[&str], then: impl FnOnce()) -> Ran {
    let command = fake.command(arguments);
    let change = async {
        until("it watches", || fake.state.watchers() > 0).await;
        then();
    };
    tokio::join!(run(command, b""), change).0
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_that_is_there_needs_no_waiting() {
    let fake = Fake::start(vec![session("alpha")]).await;
    let ran = fake.run(&["wait", "alpha", "--until", "running"]).await;
    assert_eq!((ran.code, ran.text(), ran.stderr.as_str()), (0, "", ""));
    let ran = fake.run(&["wait", "alpha", "--until", "done,agent", "--json"]).await;
    assert_eq!((ran.code, ran.json()["slug"].as_str()), (0, Some("alpha")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_that_comes_ends_it() {
    let fake = Fake::start(vec![session("alpha"), session("beta")]).await;
    let ran = waiting(&fake, &["wait", "alpha", "--until", "needs-input"], || {
        fake.state.change("beta", |session| session.activity = "needs-input".into());
        fake.state.change("alpha", |session| session.activity = "idle".into());
        fake.state.change("alpha", |session| session.activity = "needs-input".into());
    });
    assert_eq!(ran.await.code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_that_cannot_come_is_a_failure() {
    let fake = Fake::start(vec![session("alpha")]).await;
    let ran = waiting(&fake, &["wait", "alpha", "--until", "done"], || {
        fake.state.change("alpha", |session| {
            session.lifecycle = "crashed".into();
            session.reason = "crashed: its VM died".into();
        });
    });
    let ran = ran.await;
    assert_eq!((ran.code, ran.stderr.trim_end()), (1, "error: alpha will not become done: crashed: its VM died"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_session_is_not_found() {
    let fake = Fake::start(vec![session("beta")]).await;
    let ran = waiting(&fake, &["wait", "beta", "--until", "done"], || fake.state.remove("01JBETA")).await;
    assert_eq!((ran.code, ran.stderr.trim_end()), (3, "error: beta was deleted"));
}

#[tokio::test(flavor = "multi_thread")]
async fn last_words_may_come_after_the_end() {
    let fake = Fake::start(vec![session("alpha")]).await;
    let ran = waiting(&fake, &["wait", "alpha", "--until", "done"], || {
        fake.state.change("alpha", |session| session.lifecycle = "stopped".into());
        fake.state.change("alpha", |session| session.activity = "done".into());
    });
    assert_eq!(ran.await.code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_time_can_be_up() {
    let fake = Fake::start(vec![session("alpha")]).await;
    let ran = fake.run(&["wait", "alpha", "--until", "done", "--timeout", "20ms"]).await;
    assert_eq!((ran.code, ran.stderr.trim_end()), (1, "error: alpha did not become done in time"));
    let ran = fake.run(&["wait", "alpha", "--until", "finished"]).await;
    assert!(ran.code == 2 && ran.stderr.contains("there is no state `finished`"), "{ran:?}");
    assert_eq!(fake.run(&["wait", "alpha", "--until", "done", "--timeout", "soon"]).await.code, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_may_be_restarted_meanwhile() {
    let mut fake = Fake::start(vec![session("alpha")]).await;
    let running = tokio::spawn(run(fake.command(&["wait", "alpha", "--until", "done"]), b""));
    until("it watches", || fake.state.watchers() > 0).await;
    fake.kill().await;
    until("nobody watches", || fake.state.watchers() == 0).await;
    fake.restart();
    until("it watches again", || fake.state.watchers() > 0).await;
    fake.state.change("alpha", |session| session.activity = "done".into());
    let ran = tokio::time::timeout(Duration::from_secs(60), running).await.unwrap().unwrap();
    assert!(ran.code == 0 && ran.stderr.contains("trying again"), "{ran:?}");
}
