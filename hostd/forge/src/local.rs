//! The built-in forge: bare repositories, and pull requests in the store.
//!
//! ```text
//!  push ──▶ gateway ──▶ git receive-pack ──▶ branch and its reflog ──▶ look: one revision for each entry   (revisions)
//!  merge: rules ─▶ merge-tree, commit-tree ─▶ `merging` kept ─▶ update-ref ─▶ branch deleted ─▶ `merged`   (merge)
//! ```
//!
//! Each revision's head is kept under `refs/pull/NUMBER/REVISION`, so that a force-push throws nothing away.

mod attributes;
mod checks;
mod combine;
mod credentials;
mod import;
mod keep;
mod keeper;
mod merge;
mod places;
mod remote;
mod retention;
mod revisions;
#[cfg(test)]
mod tests;
mod turns;
mod upstream;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use futures::{StreamExt as _, stream};
use hostd_core::{
    ForgeId, UnixMillis,
    capacity::Disk,
    checks::Check,
    pulls::{NewComment, NewPull, NewReview, PullInput, PullRequest, PullState, Refusal, Rules, Who, step},
};
use tokio::sync::{Notify, broadcast};
use ulid::Ulid;

use super::{
    About, BareRepositories, ChangePull, Checks, Forge, ForgeError, Hint, Hints, KeptPull, Mirror, Pull, PullFilter,
    PullId, PullRecord, Pulls, Report, Repositories, RepositoryInfo, Storage, StorageError,
};
pub use import::Import;
pub use keeper::{FetchedBranch, Keeper, PushedBranch, Service};
use turns::Turns;

/// Hints that a slow reader may be behind.
const HINTS: usize = 256;
/// Most pull requests that are read again at a time.
const AT_A_TIME: usize = 4;

/// The built-in forge. Clones share it.
#[derive(Clone, Debug)]
pub struct Local {
    id: ForgeId,
    storage: Arc<dyn Storage>,
    repositories: BareRepositories,
    /// Folder with the kept logs of checks.
    logs: PathBuf,
    hints: broadcast::Sender<Hint>,
    /// Pull requests that somebody merges at this moment.
    merges: Turns<PullId>,
    /// Repositories that are fetched into, renamed or removed at this moment.
    upkeep: Turns<String>,
    /// Told when somebody changed when upstreams are fetched from.
    schedule: Arc<Notify>,
    /// Passwords for other repositories, where somebody has put some there.
    credentials: PathBuf,
    /// Measures the disk that a folder is on; None: it cannot be measured.
    disk: fn(&Path) -> Option<Disk>,
}

impl Local {
    /// The forge of this data folder, whose pull requests and checks are kept in `storage`; nothing is read yet.
    #[must_use]
    pub fn new(storage: Arc<dyn Storage>, data: &Path) -> Self {
        let repositories = BareRepositories::new(data.join("git"));
        Self {
            id: ForgeId::local(),
            storage,
            repositories,
            logs: data.join("checks"),
            hints: broadcast::channel(HINTS).0,
            merges: Turns::default(),
            upkeep: Turns::default(),
            schedule: Arc::default(),
            credentials: data.join(credentials::NAME),
            disk: |_| None,
        }
    }

    /// Sets how the disk is measured that people's pushes need room on.
    #[must_use]
    pub fn with_disk(self, disk: fn(&Path) -> Option<Disk>) -> Self {
        Self { disk, ..self }
    }

    /// The forge's bare repositories.
    #[must_use]
    pub fn mirror(&self) -> Arc<dyn Mirror> {
        Arc::new(self.repositories.clone())
    }

    /// Finishes what an earlier hostd left half done, and reads every open pull request again, so that no push is lost that
    /// came while it died. What cannot be read is told in the log.
    pub async fn catch_up(&self) {
        self.remove_leftovers().await;
        match self.storage.pulls(PullFilter::default()).await {
            Ok(open) => self.read_all(open, true).await,
            Err(error) => tracing::error!(%error, "pull requests cannot be read"),
        }
    }

    /// Hints that something of a repository may have changed; `sessions` are those that it may concern, None all that work on
    /// the repository.
    fn hint(&self, repository: &str, about: About, sessions: Option<Vec<String>>) {
        // Nobody may be listening.
        let _ = self.hints.send(Hint { id: Ulid::new().to_string(), repository: repository.into(), about, sessions });
    }

    fn hint_at_repository(&self, name: &str) {
        self.hint(name, About::Repository, None);
    }

    fn hint_at_pull(&self, pull: &PullRequest) {
        self.hint(&pull.repository, About::Pull(pull.number), Some(vec![pull.author.session.clone()]));
    }

    async fn kept(&self, id: &PullId) -> Result<KeptPull, ForgeError> {
        let found = self.storage.pull(&id.repository, id.number).await;
        found.map_err(|error| match error {
            StorageError::Gone => ForgeError::NoPull(id.clone()),
            error => error.into(),
        })
    }

    /// A pull request with the rules of its repository and the checks of its head.
    async fn whole(&self, pull: PullRequest) -> Result<Pull, ForgeError> {
        let (rules, checks) = self.storage.deciding(&pull.repository, pull.head()).await?;
        Ok(Pull { pull, rules, checks })
    }

    /// Reads a pull request again. What decides about one whose head has not moved was read with it.
    async fn whole_again(&self, kept: KeptPull) -> Result<Pull, ForgeError> {
        let KeptPull { record, rules, checks } = kept;
        let head = record.pull.head().to_owned();
        let pull = self.read(record).await?;
        if pull.head() == head { Ok(Pull { pull, rules, checks }) } else { self.whole(pull).await }
    }

    /// Gives the pull request `input`, keeps it, and hints at what changed.
    async fn step(&self, id: &PullId, input: PullInput) -> Result<PullRequest, ForgeError> {
        let change = move |record: &PullRecord| {
            let pull = step(&record.pull, input, now())?;
            Ok::<_, Refusal>(PullRecord { pull, ..record.clone() })
        };
        self.change(id, Box::new(change)).await
    }

    /// Changes the pull request, and hints at it.
    async fn change(&self, id: &PullId, change: ChangePull) -> Result<PullRequest, ForgeError> {
        let changed = self.storage.change_pull(&id.repository, id.number, change).await??;
        self.hint_at_pull(&changed.pull);
        Ok(changed.pull)
    }

    /// Reads these open pull requests again. `after_death`: hostd may have died in the midst of something.
    async fn read_all(&self, kept: Vec<KeptPull>, after_death: bool) {
        let read = stream::iter(kept).for_each_concurrent(AT_A_TIME, async |KeptPull { record, .. }| {
            let id = PullId::of(&record.pull);
            let read = if after_death { self.read_again(record).await } else { self.read(record).await.map(drop) };
            if let Err(error) = read {
                tracing::warn!(%id, %error, "a pull request cannot be read again");
            }
        });
        read.await;
    }

    /// Reads an open pull request again. One that is being merged is left to whoever merges it, and settled where nobody
    /// does any more.
    async fn read(&self, record: PullRecord) -> Result<PullRequest, ForgeError> {
        match record.pull.state {
            PullState::Open => self.read_pushes(record).await,
            PullState::Merging(_) => {
                let id = PullId::of(&record.pull);
                if self.is_merged_now(&id) { Ok(record.pull) } else { self.settle(&id).await }
            }
            PullState::Merged(_) | PullState::Closed(_) => Ok(record.pull),
        }
    }
}

impl Forge for Local {
    fn id(&self) -> &ForgeId {
        &self.id
    }

    fn hints(&self) -> Hints {
        Hints::new(self.hints.subscribe())
    }
}

#[async_trait]
impl Repositories for Local {
    async fn repositories(&self) -> Result<Vec<RepositoryInfo>, ForgeError> {
        let names = self.repositories.names().await?;
        let infos = stream::iter(names).map(async |name| self.repositories.info(&name).await).buffered(AT_A_TIME);
        infos.collect::<Vec<_>>().await.into_iter().collect()
    }

    async fn repository(&self, name: &str) -> Result<RepositoryInfo, ForgeError> {
        self.repositories.info(name).await
    }

    async fn rules(&self, repository: &str) -> Result<Rules, ForgeError> {
        Ok(self.storage.rules(repository).await?)
    }

    async fn set_rules(&self, repository: &str, rules: Rules) -> Result<(), ForgeError> {
        self.repositories.open(repository)?;
        rules.required_checks.iter().try_for_each(|check| checks::check_name(check))?;
        self.storage.set_rules(repository, rules).await?;
        self.hint_at_repository(repository);
        Ok(())
    }

    async fn suggest_checks(&self, repository: &str, required: Vec<String>) -> Result<(), ForgeError> {
        self.repositories.open(repository)?;
        if self.storage.suggest_checks(repository, required).await? {
            self.hint_at_repository(repository);
        }
        Ok(())
    }

    async fn commit(&self, repository: &str, commit: &str) -> Result<String, ForgeError> {
        self.whole_id(repository, commit).await
    }

    async fn branches(&self, repository: &str, prefix: &str) -> Result<Vec<String>, ForgeError> {
        let git = self.repositories.open(repository)?;
        let ran = git.run(["for-each-ref", "--format=%(refname:lstrip=2)", "refs/heads/"]).await?;
        let all = String::from_utf8_lossy(&ran.stdout).into_owned();
        Ok(all.lines().filter(|name| name.starts_with(prefix)).map(str::to_owned).collect())
    }
}

#[async_trait]
impl Pulls for Local {
    async fn pulls(&self, filter: PullFilter) -> Result<Vec<Pull>, ForgeError> {
        Ok(self.storage.pulls(filter).await?.into_iter().map(Pull::from).collect())
    }

    async fn known(&self, id: &PullId) -> Result<Pull, ForgeError> {
        Ok(self.kept(id).await?.into())
    }

    async fn pull(&self, id: &PullId) -> Result<Pull, ForgeError> {
        self.whole_again(self.kept(id).await?).await
    }

    async fn refresh(&self, repository: &str, branches: &str) -> Result<(), ForgeError> {
        let filter = PullFilter { repository: Some(repository.into()), ..PullFilter::default() };
        let mut open = self.storage.pulls(filter).await?;
        open.retain(|kept| kept.record.pull.head_branch.starts_with(branches));
        self.read_all(open, false).await;
        Ok(())
    }

    async fn open(&self, new: NewPull) -> Result<Pull, ForgeError> {
        let pull = self.open_pull(new).await?;
        self.whole(pull).await
    }

    async fn review(&self, id: &PullId, mut review: NewReview) -> Result<Pull, ForgeError> {
        let seen = self.pull(id).await?.pull;
        let repository = self.repositories.open(&id.repository)?;
        for comment in &mut review.comments {
            // What is refused below is not looked into.
            let NewComment::At { place, head, .. } = comment else { continue };
            let head = if head.is_empty() { &review.head } else { head };
            if seen.revision_of(head).is_some_and(|of| review.older || of == seen.revision()) {
                places::find(&repository, head, place).await?;
            }
        }
        let pull = self.step(id, PullInput::Review(review)).await?;
        self.whole(pull).await
    }

    async fn close(&self, id: &PullId, who: Who) -> Result<Pull, ForgeError> {
        // What was pushed before is a revision still.
        self.pull(id).await?;
        let pull = self.step(id, PullInput::Close(who)).await?;
        self.whole(pull).await
    }

    async fn reopen(&self, id: &PullId, who: Who) -> Result<Pull, ForgeError> {
        let pull = self.reopen_pull(id, who).await?;
        self.whole(pull).await
    }

    async fn resolve(&self, id: &PullId, who: Who, thread: u64, resolved: bool) -> Result<Pull, ForgeError> {
        let pull = self.step(id, PullInput::Resolve { who, thread, resolved }).await?;
        self.whole(pull).await
    }

    async fn merge(&self, id: &PullId, who: Who, head: &str) -> Result<Pull, ForgeError> {
        // In a task of its own, so that nobody who hangs up leaves it half done.
        let (forge, id, head) = (self.clone(), id.clone(), head.to_owned());
        let merged = tokio::spawn(async move { forge.merge_pull(&id, who, &head).await }).await;
        let pull = merged.map_err(|error| ForgeError::Git(std::io::Error::other(error)))??;
        self.whole(pull).await
    }
}

#[async_trait]
impl Checks for Local {
    async fn report(&self, repository: &str, commit: &str, report: Report) -> Result<bool, ForgeError> {
        self.report_check(repository, commit, report).await
    }

    async fn checks(&self, repository: &str, commit: &str) -> Result<Vec<Check>, ForgeError> {
        let commit = self.whole_id(repository, commit).await?;
        Ok(self.storage.checks(repository, &commit).await?)
    }

    async fn log(&self, _: &str, check: &Check) -> Result<Option<Vec<u8>>, ForgeError> {
        self.kept_log(check).await
    }
}

fn now() -> UnixMillis {
    jiff::Timestamp::now().as_millisecond()
}
