//! A storage in memory. It is held to what the host's database is held to: see [`super::keeps_its_contract`].

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use hostd_core::{
    UnixMillis,
    checks::Check,
    ci::Key,
    pulls::{Refusal, Rules},
    upstream::Upstream,
};

use crate::{
    ChangeCheck, ChangePull, ChangeUpstream, ChangedCheck, KeptPull, MakePull, PullFilter, PullRecord, Storage,
    StorageError,
};

/// A storage in memory.
#[derive(Debug, Default)]
pub struct MemoryStorage(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    /// Pull requests by repository and number.
    pulls: BTreeMap<(String, u64), PullRecord>,
    /// Last number that was given, by repository.
    numbers: BTreeMap<String, u64>,
    checks: BTreeMap<Key, Check>,
    /// Rules by repository, each with whether they were suggested.
    rules: BTreeMap<String, (Rules, bool)>,
    upstreams: BTreeMap<String, Upstream>,
}

impl Kept {
    fn one(&self, repository: &str, number: u64) -> Result<PullRecord, StorageError> {
        self.pulls.get(&(repository.to_owned(), number)).cloned().ok_or(StorageError::Gone)
    }

    fn rules(&self, repository: &str) -> Rules {
        self.rules.get(repository).map(|(rules, _)| rules.clone()).unwrap_or_default()
    }

    fn checks(&self, repository: &str, commit: &str) -> Vec<Check> {
        let of = |key: &&Key| key.repository == repository && key.commit == commit;
        self.checks.iter().filter(|(key, _)| of(key)).map(|(_, check)| check.clone()).collect()
    }

    fn whole(&self, record: &PullRecord) -> KeptPull {
        let rules = self.rules(&record.pull.repository);
        let checks = self.checks(&record.pull.repository, record.pull.head());
        KeptPull { record: record.clone(), rules, checks }
    }

    fn of<'a>(&'a self, repository: &'a str) -> impl Iterator<Item = &'a PullRecord> {
        self.pulls.values().filter(move |record| record.pull.repository == repository)
    }

    fn forget(&mut self, repository: &str) {
        self.pulls.retain(|(name, _), _| name != repository);
        self.checks.retain(|key, _| key.repository != repository);
        self.numbers.remove(repository);
        self.rules.remove(repository);
        self.upstreams.remove(repository);
    }
}

impl MemoryStorage {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Storage for MemoryStorage {
    async fn add_pull(
        &self,
        repository: &str,
        head_branch: &str,
        make: MakePull,
    ) -> Result<(PullRecord, bool), StorageError> {
        let kept = &mut *self.kept();
        let same = |record: &&PullRecord| record.pull.state.is_open() && record.pull.head_branch == head_branch;
        if let Some(known) = kept.of(repository).find(same) {
            return Ok((known.clone(), false));
        }
        let number = kept.numbers.entry(repository.into()).or_default();
        *number += 1;
        let made = make(*number);
        kept.pulls.insert((repository.into(), *number), made.clone());
        Ok((made, true))
    }

    async fn pull(&self, repository: &str, number: u64) -> Result<KeptPull, StorageError> {
        let kept = self.kept();
        Ok(kept.whole(&kept.one(repository, number)?))
    }

    async fn pulls(&self, filter: PullFilter) -> Result<Vec<KeptPull>, StorageError> {
        let kept = self.kept();
        let wanted = |record: &&PullRecord| {
            filter.repository.as_ref().is_none_or(|name| *name == record.pull.repository)
                && filter.session.as_ref().is_none_or(|session| *session == record.pull.author.session)
                && (filter.all || record.pull.state.is_open())
        };
        Ok(kept.pulls.values().filter(wanted).map(|record| kept.whole(record)).collect())
    }

    async fn change_pull(
        &self,
        repository: &str,
        number: u64,
        change: ChangePull,
    ) -> Result<Result<PullRecord, Refusal>, StorageError> {
        let mut kept = self.kept();
        let changed = change(&kept.one(repository, number)?);
        if let Ok(changed) = &changed {
            kept.pulls.insert((repository.into(), number), changed.clone());
        }
        Ok(changed)
    }

    async fn deciding(&self, repository: &str, commit: &str) -> Result<(Rules, Vec<Check>), StorageError> {
        let kept = self.kept();
        Ok((kept.rules(repository), kept.checks(repository, commit)))
    }

    async fn has_head(&self, repository: &str, commit: &str) -> Result<bool, StorageError> {
        let kept = self.kept();
        let mut open = kept.of(repository).filter(|record| record.pull.state.is_open());
        Ok(open.any(|record| record.pull.revision_of(commit).is_some()))
    }

    async fn checks(&self, repository: &str, commit: &str) -> Result<Vec<Check>, StorageError> {
        Ok(self.kept().checks(repository, commit))
    }

    async fn change_check(&self, key: Key, change: ChangeCheck) -> Result<ChangedCheck, StorageError> {
        let mut kept = self.kept();
        let before = kept.checks.get(&key).cloned();
        let Some(after) = change(before.as_ref()) else {
            return Ok(ChangedCheck { before, changed: false, sessions: vec![] });
        };
        let at = kept.of(&key.repository).filter(|record| record.pull.head() == key.commit);
        let sessions: BTreeSet<String> = at.map(|record| record.pull.author.session.clone()).collect();
        kept.checks.insert(key, after);
        Ok(ChangedCheck { before, changed: true, sessions: sessions.into_iter().collect() })
    }

    async fn forget_checks(&self, before: UnixMillis) -> Result<(usize, BTreeMap<String, bool>), StorageError> {
        let kept = &mut *self.kept();
        let open = kept.pulls.values().filter(|record| record.pull.state.is_open());
        let heads = open.flat_map(|PullRecord { pull, .. }| {
            pull.revisions.iter().map(|revision| (pull.repository.clone(), revision.head.clone()))
        });
        let heads: BTreeSet<_> = heads.collect();
        let is_open = |key: &Key| heads.contains(&(key.repository.clone(), key.commit.clone()));
        let count = kept.checks.len();
        kept.checks.retain(|key, check| is_open(key) || check.updated_at >= before);
        let mut named = BTreeMap::new();
        for (key, check) in &kept.checks {
            if let Some(log) = &check.log {
                *named.entry(log.clone()).or_default() |= is_open(key);
            }
        }
        Ok((count - kept.checks.len(), named))
    }

    async fn rules(&self, repository: &str) -> Result<Rules, StorageError> {
        Ok(self.kept().rules(repository))
    }

    async fn set_rules(&self, repository: &str, rules: Rules) -> Result<(), StorageError> {
        self.kept().rules.insert(repository.into(), (rules, false));
        Ok(())
    }

    async fn suggest_checks(&self, repository: &str, required: Vec<String>) -> Result<bool, StorageError> {
        let mut kept = self.kept();
        let (rules, suggested) = kept.rules.entry(repository.into()).or_insert((Rules::default(), true));
        if !*suggested || rules.required_checks == required {
            return Ok(false);
        }
        rules.required_checks = required;
        Ok(true)
    }

    async fn upstream(&self, repository: &str) -> Result<Option<Upstream>, StorageError> {
        Ok(self.kept().upstreams.get(repository).cloned())
    }

    async fn change_upstream(&self, repository: &str, change: ChangeUpstream) -> Result<Upstream, StorageError> {
        let mut kept = self.kept();
        let upstream = change(kept.upstreams.get(repository).cloned());
        kept.upstreams.insert(repository.into(), upstream.clone());
        Ok(upstream)
    }

    async fn forget_repository(&self, repository: &str) -> Result<(), StorageError> {
        self.kept().forget(repository);
        Ok(())
    }

    async fn rename_repository(&self, old: &str, new: &str) -> Result<(), StorageError> {
        let kept = &mut *self.kept();
        kept.forget(new);
        let of = |name: &str| if name == old { new.to_owned() } else { name.to_owned() };
        for ((name, number), mut record) in std::mem::take(&mut kept.pulls) {
            record.pull.repository = of(&name);
            kept.pulls.insert((of(&name), number), record);
        }
        for (key, check) in std::mem::take(&mut kept.checks) {
            kept.checks.insert(Key { repository: of(&key.repository), ..key }, check);
        }
        kept.numbers = std::mem::take(&mut kept.numbers).into_iter().map(|(name, it)| (of(&name), it)).collect();
        kept.rules = std::mem::take(&mut kept.rules).into_iter().map(|(name, it)| (of(&name), it)).collect();
        kept.upstreams = std::mem::take(&mut kept.upstreams).into_iter().map(|(name, it)| (of(&name), it)).collect();
        Ok(())
    }
}
