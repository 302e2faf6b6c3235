use std::fs;

use hostd_core::{
    ForgeId, Lifecycle, Session,
    session::{Message, NewSession, Size, TypedEvents},
    usage::{Spending, Tokens},
};

use super::*;
use crate::forge::{Storage as _, testing::keeps_its_contract};

fn record(id: &str, slug: &str) -> Record {
    let (session, _) = Session::new(
        NewSession {
            id: id.into(),
            slug: slug.into(),
            title: "T".into(),
            task: String::new(),
            environment: "demo".into(),
            build: "b".into(),
            owner: "sam".into(),
            command: vec!["agent".into()],
            directory: "/".into(),
            repository: Some("widgets".into()),
            size: Size { vcpus: 1, memory: 1, disk: 1 },
            typed_events: TypedEvents::default(),
            answers: hostd_core::profile::Answers::default(),
        },
        1,
    );
    let phases = vec![Phase { name: "kernel".into(), micros: 7 }];
    Record { session, machine: Machine { layers: vec!["/a.ext4".into()], phases, ..Machine::default() } }
}

fn outbox(path: &Path) -> Vec<(String, String)> {
    let connection = Connection::open(path).unwrap();
    let mut statement = connection.prepare("SELECT session, effect FROM outbox ORDER BY id").unwrap();
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    rows.map(Result::unwrap).collect()
}

#[tokio::test]
async fn what_was_committed_is_there_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.sqlite");
    let (store, none) = Store::open(&path).unwrap();
    assert!(none.is_empty());
    let mut one = record("01A", "one");
    let owed = store.add(&one, vec![Effect::Admit]).await.unwrap();
    store.add(&record("01B", "two"), vec![Effect::Admit]).await.unwrap();
    one.session.lifecycle = Lifecycle::Starting;
    store.commit(&one, vec![Effect::Start { generation: 1 }], vec![owed[0].id], vec![]).await.unwrap();
    // Opened again while the first handle is still there: as after a kill -9.
    let (store, records) = Store::open(&path).unwrap();
    assert_eq!(records, [one.clone(), record("01B", "two")]);
    assert_eq!(outbox(&path).len(), 2);
    let press = Effect::Press {
        generation: 1,
        message: Message { id: 7, keys: vec!["y".parse().unwrap()], ..Message::default() },
    };
    let pressed = store.commit(&one, vec![press.clone(), Effect::Suspend], vec![], vec![]).await.unwrap();
    let kept = store.converge(&one, vec![Effect::Observe], vec![], true).await.unwrap();
    assert_eq!((&kept[0], &kept[1].effect, kept.len()), (&pressed[0], &Effect::Observe, 2));
    store.converge(&one, vec![Effect::Admit], vec![], false).await.unwrap();
    let effects: Vec<String> = outbox(&path).into_iter().filter(|(id, _)| id == "01A").map(|(_, e)| e).collect();
    assert_eq!(effects, [r#"{"effect":"admit"}"#]);
}

#[tokio::test]
async fn what_is_removed_is_gone_with_all_it_was_owed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.sqlite");
    let (store, _) = Store::open(&path).unwrap();
    let one = record("01A", "one");
    store.add(&one, vec![Effect::Admit]).await.unwrap();
    store.remove("01A").await.unwrap();
    store.remove("01A").await.unwrap();
    assert!(outbox(&path).is_empty());
    assert!(matches!(store.commit(&one, vec![], vec![], vec![]).await, Err(StoreError::Gone)));
}

#[tokio::test]
async fn a_slug_is_taken_once_and_nothing_is_half_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.sqlite");
    let (store, _) = Store::open(&path).unwrap();
    store.add(&record("01A", "one"), vec![]).await.unwrap();
    let again = store.add(&record("01B", "one"), vec![Effect::Admit]).await;
    assert!(matches!(again, Err(StoreError::SlugTaken)), "{again:?}");
    assert!(outbox(&path).is_empty());
}

#[test]
fn a_foreign_file_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.sqlite");
    let text = b"not a database at all, but something that somebody wants to keep".repeat(40);
    fs::write(&path, &text).unwrap();
    assert!(matches!(Store::open(&path), Err(StoreError::NotOurs { .. })));
    assert_eq!(fs::read(&path).unwrap(), text);
    fs::remove_file(&path).unwrap();
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE cats (name TEXT)").unwrap();
    assert!(matches!(Store::open(&path), Err(StoreError::NotOurs { .. })));
}

#[test]
fn a_newer_schema_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.sqlite");
    drop(Store::open(&path).unwrap());
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let error = Store::open(&path).unwrap_err().to_string();
    assert!(error.contains("schema 99") && error.contains("nothing was changed"), "{error}");
}

#[tokio::test]
async fn damage_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.sqlite");
    let connection = {
        let (store, _) = Store::open(&path).unwrap();
        for n in 0..200 {
            store.add(&record(&format!("{n:026}"), &format!("s{n}")), vec![Effect::Admit]).await.unwrap();
        }
        Connection::open(&path).unwrap()
    };
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 8192].fill(0xa5);
    let copy = folder.path().join("copy.sqlite");
    fs::write(&copy, &bytes).unwrap();
    let error = Store::open(&copy).unwrap_err();
    assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
    assert_eq!(fs::read(&copy).unwrap(), bytes);
}

#[tokio::test]
async fn a_torn_log_loses_at_most_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.sqlite");
    let (store, _) = Store::open(&path).unwrap();
    for n in 0..20 {
        store.add(&record(&format!("{n:026}"), &format!("s{n}")), vec![]).await.unwrap();
    }
    // As a power cut leaves it: the database, and a write-ahead log whose last pages never arrived.
    let torn = folder.path().join("torn.sqlite");
    fs::copy(&path, &torn).unwrap();
    let log = fs::read(folder.path().join("store.sqlite-wal")).unwrap();
    fs::write(folder.path().join("torn.sqlite-wal"), &log[..log.len() * 2 / 3]).unwrap();
    let (_, records) = Store::open(&torn).unwrap();
    assert!(!records.is_empty() && records.len() < 20);
    for (n, found) in records.iter().enumerate() {
        assert_eq!(*found, record(&format!("{n:026}"), &format!("s{n}")));
    }
}

#[tokio::test]
async fn a_row_that_is_not_understood_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.sqlite");
    let (store, _) = Store::open(&path).unwrap();
    store.add(&record("01A", "one"), vec![]).await.unwrap();
    Connection::open(&path).unwrap().execute("UPDATE sessions SET state = '{\"id\": 1}'", []).unwrap();
    let error = Store::open(&path).unwrap_err().to_string();
    assert!(error.contains("session 01A"), "{error}");
}

fn event(session: &str, what: &str) -> Event {
    Event::new(session, 5, hostd_core::Actor::person("ann"), what, "a text")
}

async fn words(store: &Store, session: &str, after: i64, limit: u32) -> Vec<String> {
    store.events(session, after + 1..i64::MAX, limit).await.unwrap().into_iter().map(|kept| kept.event.what).collect()
}

#[tokio::test]
async fn a_story_is_kept_with_what_it_tells_of_and_outlives_its_session() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.sqlite");
    let (store, _) = Store::open(&path).unwrap();
    let one = record("01A", "one");
    store.add(&one, vec![]).await.unwrap();
    store.commit(&one, vec![], vec![], vec![event("01A", "sent"), event("01A", "woken")]).await.unwrap();
    store.add_event(event("01A", "ran")).await.unwrap();
    assert_eq!(words(&store, "01A", 0, 100).await, ["created", "sent", "woken", "ran"]);
    assert_eq!(words(&store, "01A", 0, 2).await, ["woken", "ran"], "the newest");
    let all = store.events("01A", ALL_EVENTS, 100).await.unwrap();
    assert_eq!(all[1].event, event("01A", "sent"));
    assert_eq!(words(&store, "01A", all[1].id, 100).await, ["woken", "ran"], "after one");
    // What is refused leaves no word behind.
    assert!(store.commit(&record("01X", "none"), vec![], vec![], vec![event("01X", "sent")]).await.is_err());
    assert!(words(&store, "01X", 0, 100).await.is_empty());
    store.remove("01A").await.unwrap();
    assert_eq!(words(&store, "01A", 0, 1).await, ["ran"]);
    // These happened long ago; the next hostd forgets them, and those of what is there not.
    store.add(&record("01B", "two"), vec![]).await.unwrap();
    let (store, _) = Store::open(&path).unwrap();
    assert!(words(&store, "01A", 0, 100).await.is_empty());
    assert_eq!(words(&store, "01B", 0, 100).await, ["created"]);
}

#[tokio::test]
async fn one_session_crowds_out_its_own_story_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(&folder.path().join("store.sqlite")).unwrap();
    store.add(&record("01A", "one"), vec![]).await.unwrap();
    let two = record("01B", "two");
    store.add(&two, vec![]).await.unwrap();
    let many = (0..6_000).map(|_| event("01B", "asks")).collect();
    store.commit(&two, vec![], vec![], many).await.unwrap();
    assert_eq!(store.events("01B", ALL_EVENTS, 10_000).await.unwrap().len(), 5_000);
    assert_eq!(words(&store, "01A", 0, 100).await, ["created"]);
}

/// A session as it was kept before a session named its forge.
const OLD_SESSION: &str = r#"{"id":"01A","slug":"one","title":"T","task":"","environment":"demo","build":"b","owner":"sam",
    "command":["agent"],"directory":"/","repository":"widgets","size":{"vcpus":1,"memory":1,"disk":1},
    "lifecycle":{"state":"queued"},"activity":"working","text":"","choices":[],"sign":{"sign":"nothing"},"spoke_at":1,
    "generation":0,"exited":null,"notice":"","inbox":[],"sent":0,"typing":false,"unread":false,"wake":false,"wanted":false,
    "waiting":"","forking":false,"forked_from":null,"wait":null,"next_wait":null,"answer":null,"telling":false,"asked":0,
    "pull":null,"told":[],"reviews_told":0,"typed_events":false,"oom_killed":"","guest_disk_full":"","deleting":false,
    "created_at":1,"updated_at":1,"turned_at":1}"#;
/// A pull request of that time.
const OLD_PULL: &str = r#"{"repository":"widgets","number":1,"title":"Fix","body":"","author":{"session":"01A","slug":"one"},
    "head_branch":"agent/one/work","base_branch":"main","state":{"state":"open"},
    "revisions":[{"number":1,"head":"abc","forced":false,"at":1}],"reviews":[],"threads":[],"created_at":1,"updated_at":1}"#;

#[tokio::test]
async fn what_was_kept_before_forges_had_names_is_of_the_one_that_is_built_in() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.sqlite");
    let (store, _) = Store::open(&path).unwrap();
    store.add(&record("01A", "one"), vec![]).await.unwrap();
    let connection = Connection::open(&path).unwrap();
    connection.execute("UPDATE sessions SET state = ?1", [OLD_SESSION]).unwrap();
    let sql = "INSERT INTO pulls (repository, number, session, head_branch, open, state, pushes)
        VALUES ('widgets', 1, '01A', 'agent/one/work', 1, ?1, 1)";
    connection.execute(sql, [OLD_PULL]).unwrap();
    let (store, records) = Store::open(&path).unwrap();
    assert_eq!(records, [record("01A", "one")]);
    assert_eq!(records[0].session.forge, ForgeId::local());
    let pull = store.pull("widgets", 1).await.unwrap().record.pull;
    assert_eq!((pull.forge, pull.head_branch.as_str()), (ForgeId::local(), "agent/one/work"));
    assert!(store.has_head("widgets", "abc").await.unwrap() && !store.has_head("widgets", "ab").await.unwrap());
}

#[tokio::test]
async fn the_forge_is_kept_as_it_asks() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(&folder.path().join("store.sqlite")).unwrap();
    keeps_its_contract(&store).await;
}

#[tokio::test]
async fn what_answers_took_adds_up_by_whatever_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(&folder.path().join("store.sqlite")).unwrap();
    let tokens = Tokens { input: 10, cache_read: 3, cache_write: 2, output: 5 };
    let answer = |session: &str, day: &str, micros, unpriced| Answer {
        session: session.into(),
        environment: if session == "a" { "web".into() } else { "api".into() },
        person: "sam".into(),
        day: day.into(),
        model: "m".into(),
        took: Spending { answers: 1, tokens, micros, unpriced },
    };
    for answer in [
        answer("a", "2026-11-29", 100, 0),
        answer("a", "2026-11-29", 50, 0),
        answer("b", "2026-11-30", 0, 20),
        answer("b", "2026-11-30", u64::MAX, 0),
    ] {
        store.add_usage(answer).await.unwrap();
    }
    let keys =
        |accounts: &[Account]| accounts.iter().map(|one| (one.key.clone(), one.spending.answers)).collect::<Vec<_>>();
    let sessions = store.usage(By::Session).await.unwrap();
    assert_eq!(keys(&sessions), [("b".into(), 2), ("a".into(), 2)]);
    let (a, b) = (sessions[1].spending, sessions[0].spending);
    assert_eq!((a.micros, a.tokens, a.unpriced), (150, tokens.plus(&tokens), 0));
    assert_eq!((b.unpriced, b.micros), (20, 1 << 40), "no sum of such numbers goes wrong");
    assert_eq!(store.spending("a").await.unwrap(), a);
    assert_eq!(store.spending("nobody").await.unwrap(), Spending::default());
    assert_eq!(keys(&store.usage(By::Day).await.unwrap()), [("2026-11-30".into(), 2), ("2026-11-29".into(), 2)]);
    assert_eq!(keys(&store.usage(By::Person).await.unwrap()), [("sam".into(), 4)]);
    assert_eq!(keys(&store.usage(By::Environment).await.unwrap()), [("api".into(), 2), ("web".into(), 2)]);
    assert_eq!(keys(&store.usage(By::Model).await.unwrap()), [("m".into(), 4)]);
}
