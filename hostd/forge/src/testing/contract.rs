//! What every storage of the local forge is held to.

use hostd_core::{
    ForgeId,
    checks::{Check, CheckState},
    ci::Key,
    pulls::{Author, Closing, NewPull, PullInput, PullRequest, PullState, Refusal, Rules, WhyClosed, step},
    upstream::Upstream,
};

use crate::{PullFilter, PullRecord, Storage, StorageError};

/// Name of the repository that the contract is tried on.
const NAME: &str = "widgets";

/// Asserts that an empty storage keeps pull requests, checks and repositories as [`Storage`] says.
///
/// # Panics
/// Where it does not.
pub async fn keeps_its_contract(storage: &dyn Storage) {
    pull_requests(storage).await;
    checks(storage).await;
    repositories(storage).await;
}

fn made(number: u64, session: &str) -> PullRecord {
    let new = NewPull {
        forge: ForgeId::local(),
        repository: NAME.into(),
        title: "Fix".into(),
        body: String::new(),
        author: Author { session: session.into(), slug: session.to_lowercase() },
        base_branch: "main".into(),
        head_branch: format!("agent/{session}/work"),
    };
    PullRecord { pull: PullRequest::new(new, number, format!("{session}-1"), 1), pushes: 1 }
}

async fn add(storage: &dyn Storage, session: &'static str) -> (PullRecord, bool) {
    let branch = format!("agent/{session}/work");
    storage.add_pull(NAME, &branch, Box::new(move |number| made(number, session))).await.unwrap()
}

async fn pull_requests(storage: &dyn Storage) {
    assert!(matches!(storage.pull(NAME, 1).await, Err(StorageError::Gone)));
    let (one, fresh) = add(storage, "A").await;
    assert_eq!((one.pull.number, fresh), (1, true));
    assert_eq!(add(storage, "A").await, (one.clone(), false), "a branch has one open pull request");
    assert_eq!(add(storage, "B").await.0.pull.number, 2);
    let pushed = |record: &PullRecord| {
        let input = PullInput::Pushed { head: "A-2".into(), forced: false };
        Ok(PullRecord { pull: step(&record.pull, input, 2)?, pushes: 2 })
    };
    let changed = storage.change_pull(NAME, 1, Box::new(pushed)).await.unwrap().unwrap();
    assert_eq!(storage.pull(NAME, 1).await.unwrap().record, changed);
    let refused = |_: &PullRecord| Err(Refusal::NotOpen { number: 1, state: "closed" });
    assert!(storage.change_pull(NAME, 1, Box::new(refused)).await.unwrap().is_err());
    assert_eq!(storage.pull(NAME, 1).await.unwrap().record, changed, "what is refused is left");
    assert!(storage.has_head(NAME, "A-1").await.unwrap() && storage.has_head(NAME, "A-2").await.unwrap());
    assert!(!storage.has_head(NAME, "A").await.unwrap() && !storage.has_head("gadgets", "A-1").await.unwrap());
    let closed = |record: &PullRecord| {
        let state = PullState::Closed(Closing { why: WhyClosed::HeadGone, at: 3 });
        Ok(PullRecord { pull: PullRequest { state, ..record.pull.clone() }, ..record.clone() })
    };
    storage.change_pull(NAME, 2, Box::new(closed)).await.unwrap().unwrap();
    let numbers = async |filter| {
        let pulls = storage.pulls(filter).await.unwrap();
        pulls.into_iter().map(|kept| kept.record.pull.number).collect::<Vec<_>>()
    };
    let all = PullFilter { all: true, ..PullFilter::default() };
    assert_eq!((numbers(PullFilter::default()).await, numbers(all.clone()).await), (vec![1], vec![1, 2]));
    assert_eq!(numbers(PullFilter { session: Some("B".into()), ..all.clone() }).await, [2]);
    assert!(numbers(PullFilter { repository: Some("gadgets".into()), ..all }).await.is_empty());
    assert_eq!(add(storage, "B").await.0.pull.number, 3, "no number is given twice");
}

fn check(updated_at: i64, log: Option<&str>) -> Check {
    let (summary, url) = (String::new(), String::new());
    let (state, log) = (CheckState::Passed, log.map(str::to_owned));
    Check { name: "unit".into(), state, summary, url, log, started_at: 1, updated_at }
}

async fn checks(storage: &dyn Storage) {
    let key = |commit: &str| Key { repository: NAME.into(), commit: commit.into(), name: "unit".into() };
    let set = async |commit: &str, check: Option<Check>| {
        storage.change_check(key(commit), Box::new(|_| check)).await.unwrap()
    };
    let first = set("A-2", Some(check(1, Some("log")))).await;
    assert_eq!((first.before, first.changed, first.sessions), (None, true, vec!["A".to_owned()]));
    let same = set("A-2", None).await;
    assert_eq!((same.before, same.changed), (Some(check(1, Some("log"))), false));
    assert!(set("A-1", Some(check(1, None))).await.sessions.is_empty(), "that head was replaced");
    set("gone", Some(check(1, Some("old")))).await;
    assert_eq!(storage.checks(NAME, "A-2").await.unwrap(), [check(1, Some("log"))]);
    assert_eq!(storage.pull(NAME, 1).await.unwrap().checks, [check(1, Some("log"))]);
    assert_eq!(storage.forget_checks(1).await.unwrap().0, 0);
    let (forgotten, named) = storage.forget_checks(2).await.unwrap();
    assert_eq!((forgotten, named.into_iter().collect::<Vec<_>>()), (1, vec![("log".to_owned(), true)]));
    assert!(storage.checks(NAME, "gone").await.unwrap().is_empty());
}

async fn repositories(storage: &dyn Storage) {
    let required = |name: &str| vec![name.to_owned()];
    assert!(storage.suggest_checks(NAME, required("unit")).await.unwrap());
    assert!(!storage.suggest_checks(NAME, required("unit")).await.unwrap());
    assert_eq!(storage.rules(NAME).await.unwrap().required_checks, ["unit"]);
    let rules = Rules { approvals: 2, ..Rules::default() };
    storage.set_rules(NAME, rules.clone()).await.unwrap();
    assert!(!storage.suggest_checks(NAME, required("style")).await.unwrap(), "a person has given rules");
    let (decided, checks) = storage.deciding(NAME, "A-2").await.unwrap();
    assert_eq!((decided, checks.len()), (rules.clone(), 1));
    assert_eq!(storage.upstream(NAME).await.unwrap(), None);
    let url = |_| Upstream { url: "/there".into(), ..Upstream::default() };
    let upstream = storage.change_upstream(NAME, Box::new(url)).await.unwrap();
    assert_eq!(storage.upstream(NAME).await.unwrap(), Some(upstream.clone()));
    storage.set_rules("gadgets", Rules { approvals: 9, ..Rules::default() }).await.unwrap();
    storage.rename_repository(NAME, "gadgets").await.unwrap();
    assert!(matches!(storage.pull(NAME, 1).await, Err(StorageError::Gone)));
    let moved = storage.pull("gadgets", 1).await.unwrap();
    assert_eq!((moved.record.pull.repository.as_str(), moved.rules, moved.checks.len()), ("gadgets", rules, 1));
    assert_eq!(storage.upstream("gadgets").await.unwrap(), Some(upstream));
    storage.forget_repository("gadgets").await.unwrap();
    assert!(storage.pulls(PullFilter { all: true, ..PullFilter::default() }).await.unwrap().is_empty());
    assert_eq!(storage.rules("gadgets").await.unwrap(), Rules::default());
    assert_eq!(add(storage, "A").await.0.pull.number, 1, "another of that name begins anew");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::MemoryStorage;

    #[tokio::test]
    async fn the_one_in_memory_does() {
        keeps_its_contract(&MemoryStorage::default()).await;
    }
}
