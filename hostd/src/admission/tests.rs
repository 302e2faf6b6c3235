use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::mpsc;

use super::*;

const GIB: u64 = 1 << 30;

/// A host of 16 GiB, 1 of them its reserve, with so much available.
fn admission(available: &Arc<AtomicU64>) -> Admission {
    let available = available.clone();
    Admission::measured(move || Room {
        memory_total: 16 * GIB,
        memory_available: available.load(Ordering::Relaxed),
        memory_promised: 0,
        memory_limit: None,
        memory_used: 0,
        disk_total: 200 * GIB,
        disk_available: 100 * GIB,
        descriptors: 1024,
    })
}

fn need(gib: u64) -> Need {
    Need { memory: gib * GIB, disk: 0 }
}

/// Asks, and returns once it is known to wait.
async fn waits(
    admission: &Admission,
    purpose: Purpose,
    gib: u64,
) -> (tokio::task::JoinHandle<Result<Reservation, String>>, mpsc::Receiver<String>) {
    let (said, mut words) = mpsc::channel(16);
    let admission = admission.clone();
    let asks = tokio::spawn(async move {
        let say = |why: String| {
            let _ = said.try_send(why);
            std::future::ready(())
        };
        admission.admit(Kind::Session, purpose, need(gib), say).await
    });
    let why = words.recv().await.unwrap();
    assert!(why.starts_with("waits for"), "{why}");
    (asks, words)
}

async fn at_once(admission: &Admission, purpose: Purpose, gib: u64) -> Reservation {
    let say = |why: String| -> std::future::Ready<()> { panic!("it is to go at once: {why}") };
    admission.admit(Kind::Session, purpose, need(gib), say).await.unwrap()
}

#[tokio::test]
async fn what_one_was_promised_no_other_gets() {
    let admission = admission(&Arc::new(AtomicU64::new(9 * GIB)));
    let (_, of_ci) = admission.decide(Kind::Ci, |room| ((), (room.memory() == 8 * GIB).then_some(3 * GIB)));
    assert_eq!((admission.room().memory_promised, admission.room().memory()), (3 * GIB, 5 * GIB));
    let session = at_once(&admission, Purpose::Start, 4).await;
    let (build, mut words) = waits(&admission, Purpose::Build, 2).await;
    assert_eq!(admission.waiting(), Some(need(2)));
    drop(session);
    let build = build.await.unwrap().unwrap();
    assert!(words.recv().await.is_none());
    assert_eq!((admission.room().memory_promised, admission.waiting()), (5 * GIB, None));
    drop((of_ci, build));
    assert_eq!(admission.room().memory_promised, 0);
}

#[tokio::test]
async fn a_large_start_does_not_keep_small_resumes_waiting() {
    let available = Arc::new(AtomicU64::new(4 * GIB));
    let admission = admission(&available);
    let (large, _words) = waits(&admission, Purpose::Start, 8).await;
    let (small, mut words) = waits(&admission, Purpose::Start, 1).await;
    let resumed = at_once(&admission, Purpose::Resume, 2).await;
    assert!(!large.is_finished() && !small.is_finished(), "starts keep their order");
    available.store(12 * GIB, Ordering::Relaxed);
    drop(resumed);
    let _large = large.await.unwrap().unwrap();
    let _small = small.await.unwrap().unwrap();
    assert!(words.recv().await.is_none());
}

#[tokio::test]
async fn who_gives_up_is_not_waited_for() {
    let admission = admission(&Arc::new(AtomicU64::new(4 * GIB)));
    let (large, _words) = waits(&admission, Purpose::Start, 8).await;
    let (small, _words) = waits(&admission, Purpose::Start, 1).await;
    large.abort();
    let _small = small.await.unwrap().unwrap();
    let say = |why: String| -> std::future::Ready<()> { panic!("it is to be refused: {why}") };
    let refused = admission.admit(Kind::Session, Purpose::Start, need(64), say).await.unwrap_err();
    assert!(refused.contains("gives at most"), "{refused}");
}
