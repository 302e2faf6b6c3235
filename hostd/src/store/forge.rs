//! The local forge's storage: each call is one transaction.

use std::collections::BTreeMap;

use async_trait::async_trait;
use hostd_core::{
    UnixMillis,
    checks::Check,
    ci::Key,
    pulls::{Refusal, Rules},
    upstream::Upstream,
};

use super::{Store, checks, pulls, repositories};
use crate::forge::{
    ChangeCheck, ChangePull, ChangeUpstream, ChangedCheck, KeptPull, MakePull, PullFilter, PullRecord, Storage,
    StorageError,
};

#[async_trait]
impl Storage for Store {
    async fn add_pull(
        &self,
        repository: &str,
        head_branch: &str,
        make: MakePull,
    ) -> Result<(PullRecord, bool), StorageError> {
        let (repository, head_branch) = (repository.to_owned(), head_branch.to_owned());
        let stories = self.stories.clone();
        Ok(self.transact_new(move |tx| pulls::add(tx, &stories, &repository, &head_branch, make)).await?)
    }

    async fn pull(&self, repository: &str, number: u64) -> Result<KeptPull, StorageError> {
        let repository = repository.to_owned();
        Ok(self.transact(move |tx| pulls::whole(tx, pulls::one(tx, &repository, number)?)).await?)
    }

    async fn pulls(&self, filter: PullFilter) -> Result<Vec<KeptPull>, StorageError> {
        Ok(self.transact(move |tx| pulls::selected(tx, filter)).await?)
    }

    async fn change_pull(
        &self,
        repository: &str,
        number: u64,
        change: ChangePull,
    ) -> Result<Result<PullRecord, Refusal>, StorageError> {
        let repository = repository.to_owned();
        let stories = self.stories.clone();
        Ok(self.transact(move |tx| pulls::change(tx, &stories, &repository, number, change)).await?)
    }

    async fn deciding(&self, repository: &str, commit: &str) -> Result<(Rules, Vec<Check>), StorageError> {
        let (repository, commit) = (repository.to_owned(), commit.to_owned());
        let read = self.transact(move |tx| {
            Ok((repositories::rules(tx, &repository)?, checks::of_commit(tx, &repository, &commit)?))
        });
        Ok(read.await?)
    }

    async fn has_head(&self, repository: &str, commit: &str) -> Result<bool, StorageError> {
        let (repository, commit) = (repository.to_owned(), commit.to_owned());
        Ok(self.transact(move |tx| pulls::has_head(tx, &repository, &commit)).await?)
    }

    async fn checks(&self, repository: &str, commit: &str) -> Result<Vec<Check>, StorageError> {
        let (repository, commit) = (repository.to_owned(), commit.to_owned());
        Ok(self.transact(move |tx| checks::of_commit(tx, &repository, &commit)).await?)
    }

    async fn change_check(&self, key: Key, change: ChangeCheck) -> Result<ChangedCheck, StorageError> {
        Ok(self.transact(move |tx| checks::change(tx, &key, change)).await?)
    }

    async fn forget_checks(&self, before: UnixMillis) -> Result<(usize, BTreeMap<String, bool>), StorageError> {
        Ok(self.transact(move |tx| checks::forget(tx, before)).await?)
    }

    async fn rules(&self, repository: &str) -> Result<Rules, StorageError> {
        let name = repository.to_owned();
        Ok(self.transact(move |tx| repositories::rules(tx, &name)).await?)
    }

    async fn set_rules(&self, repository: &str, rules: Rules) -> Result<(), StorageError> {
        let name = repository.to_owned();
        Ok(self.transact(move |tx| repositories::set_rules(tx, &name, &rules)).await?)
    }

    async fn suggest_checks(&self, repository: &str, required: Vec<String>) -> Result<bool, StorageError> {
        let name = repository.to_owned();
        Ok(self.transact(move |tx| repositories::suggest_checks(tx, &name, required)).await?)
    }

    async fn upstream(&self, repository: &str) -> Result<Option<Upstream>, StorageError> {
        let name = repository.to_owned();
        Ok(self.transact(move |tx| repositories::upstream(tx, &name)).await?)
    }

    async fn change_upstream(&self, repository: &str, change: ChangeUpstream) -> Result<Upstream, StorageError> {
        let name = repository.to_owned();
        Ok(self.transact(move |tx| repositories::change_upstream(tx, &name, change)).await?)
    }

    async fn forget_repository(&self, repository: &str) -> Result<(), StorageError> {
        let name = repository.to_owned();
        Ok(self.transact(move |tx| repositories::forget(tx, &name)).await?)
    }

    async fn rename_repository(&self, old: &str, new: &str) -> Result<(), StorageError> {
        let (old, new) = (old.to_owned(), new.to_owned());
        Ok(self.transact(move |tx| repositories::rename(tx, &old, &new)).await?)
    }
}
