use futures::FutureExt as _;
use hostd_core::{
    Activity, Lifecycle, Session, attention_by_minute,
    pulls::Standing,
    session::{Fate, NewSession, Pull, Size, TypedEvents},
};

use super::super::{Change, Feed, News, SessionView, Usage};
use crate::{host_status::HostStatus, vm::MemoryUse};

fn view(id: &str, viewers: usize) -> SessionView {
    let (session, _) = Session::new(
        NewSession {
            id: id.into(),
            slug: id.to_lowercase(),
            title: String::new(),
            task: String::new(),
            environment: "demo".into(),
            build: String::new(),
            owner: String::new(),
            command: vec![],
            directory: "/".into(),
            repository: None,
            size: Size { vcpus: 1, memory: 1, disk: 1 },
            typed_events: TypedEvents::default(),
            answers: hostd_core::profile::Answers::default(),
        },
        1,
    );
    let attention = attention_by_minute(&session, 1);
    SessionView {
        last_event: None,
        records: vec![],
        session,
        attention,
        phases: vec![],
        memory: MemoryUse::default(),
        viewers,
        suspended: 0,
        repository: String::new(),
        usage: Usage::default(),
        checkpoints: vec![],
        resumed_in: 0,
        stands_still: false,
    }
}

fn snapshot_ids(news: &News) -> Vec<String> {
    match news {
        News::Snapshot(all) => all.sessions.iter().map(|view| view.session.id.clone()).collect(),
        News::Change(change) => panic!("not a snapshot: {change:?}"),
    }
}

#[tokio::test]
async fn a_snapshot_and_then_every_change_with_the_next_revision() {
    let feed = Feed::new("e".into());
    feed.session(view("A", 0));
    let mut reader = feed.read("", 0);
    let (revision, news) = reader.next().await;
    assert_eq!(snapshot_ids(&news), ["A"]);
    feed.session(view("B", 0));
    feed.session(view("B", 0));
    feed.removed("A");
    feed.removed("A");
    let (next, news) = reader.next().await;
    assert_eq!((next, &news), (revision + 1, &News::Change(Change::Session(view("B", 0).into()))));
    assert_eq!(reader.next().await, (revision + 2, News::Change(Change::Removed("A".into()))));
    assert!(reader.next().now_or_never().is_none());
}

#[tokio::test]
async fn an_age_is_news_once_a_minute() {
    let feed = Feed::new("e".into());
    let mut waits = view("A", 0);
    waits.session.activity = Activity::WaitingReview;
    waits.session.lifecycle = Lifecycle::Suspended;
    waits.session.pull = Some(Pull {
        number: 5,
        fate: Fate::Open,
        head: "a".into(),
        passed: 1,
        total: 1,
        failed: None,
        standing: Standing::Waiting,
        since: 1,
    });
    let mut reasons = vec![];
    let mut reader = feed.read("", 0);
    for seconds in [0, 2, 59, 60, 62, 3599, 3600, 3720] {
        let attention = attention_by_minute(&waits.session, 1 + seconds * 1000);
        feed.session(SessionView { attention, ..waits.clone() });
        match reader.next().now_or_never() {
            Some((_, News::Change(Change::Session(view)))) => reasons.push(view.attention.reason.clone()),
            Some((_, News::Snapshot(all))) => reasons.push(all.sessions[0].attention.reason.clone()),
            _ => {}
        }
    }
    let reasons: Vec<_> = reasons.iter().map(|reason| reason.rsplit_once("since ").unwrap().1).collect();
    assert_eq!(reasons, ["0 s", "1 min", "59 min", "1 h"]);
}

#[tokio::test]
async fn a_reconnect_goes_on_where_it_was() {
    let feed = Feed::new("e".into());
    feed.session(view("A", 0));
    let (revision, _) = feed.read("", 0).next().await;
    feed.session(view("B", 0));
    assert_eq!(feed.read("e", revision).next().await.1, News::Change(Change::Session(view("B", 0).into())));
    // Of another run of hostd, or of the future: a snapshot.
    for (epoch, revision) in [("other", revision), ("e", 999)] {
        assert_eq!(snapshot_ids(&feed.read(epoch, revision).next().await.1), ["A", "B"]);
    }
}

#[tokio::test]
async fn who_is_too_far_behind_gets_a_snapshot() {
    let feed = Feed::new("e".into());
    feed.session(view("A", 0));
    let mut reader = feed.read("", 0);
    reader.next().await;
    for viewers in 1..=5000 {
        feed.session(view("A", viewers));
    }
    let (revision, news) = reader.next().await;
    let News::Snapshot(all) = news else { panic!("{news:?}") };
    assert_eq!((revision, all.sessions[0].viewers), (5001, 5000));
    assert!(reader.next().now_or_never().is_none());
}

#[test]
fn the_host_counts_its_sessions() {
    let feed = Feed::new("e".into());
    let mut running = view("A", 0);
    running.session.lifecycle = Lifecycle::Running;
    feed.session(running);
    feed.session(view("B", 0));
    feed.host(HostStatus::default());
    let host = feed.snapshot().host;
    assert_eq!((host.sessions, host.running), (2, 1));
}
