//! What is to be run, read from the forge and the environments.

use std::collections::{BTreeMap, BTreeSet};

use hostd_core::{
    checks::CheckState,
    ci::{Key, SUPERSEDED, is_wanted},
    pulls::PullRequest,
};

use super::{Ci, Job, RerunError};
use crate::{
    environments::Environments,
    forge::{ForgeError, PullFilter},
};

/// The checks that environments have for each repository: by repository, with each environment's name and its jobs.
type Works = BTreeMap<String, Vec<(String, Vec<Job>)>>;

impl Ci {
    /// Queues what is to be run, and cancels what nobody waits for any more.
    pub(super) async fn look(&self) -> Result<(), ForgeError> {
        // Those that end while the forge is read are over, whatever was read of them.
        let before: BTreeSet<Key> = self.runs().keys().cloned().collect();
        let works = works(&self.deps.environments);
        self.suggest_rules(&works).await;
        let mut heads = BTreeSet::new();
        for whole in self.deps.forge.pulls(PullFilter::default()).await? {
            let pull = &whole.pull;
            heads.insert((pull.repository.clone(), pull.head().to_owned()));
            for job in self.jobs_of(&works, pull) {
                let known = whole.checks.iter().find(|check| check.name == job.check.name);
                let key = key(&pull.repository, pull.head(), &job);
                if !before.contains(&key) && is_wanted(known) {
                    self.enqueue(key, job, false).await;
                }
            }
        }
        for key in before {
            let asked = self.runs().get(&key).is_some_and(|run| run.asked);
            if !asked && !heads.contains(&(key.repository.clone(), key.commit.clone())) {
                self.supersede(&key).await;
            }
        }
        Ok(())
    }

    /// Runs a check of a commit again: the one of this name, or without a name all that are over and did not pass. Returns
    /// the names of those that are under way now.
    ///
    /// # Errors
    /// [`RerunError`].
    pub async fn rerun(&self, repository: &str, commit: &str, name: Option<&str>) -> Result<Vec<String>, RerunError> {
        let commit = self.deps.forge.commit(repository, commit).await?;
        let filter = PullFilter { repository: Some(repository.into()), ..PullFilter::default() };
        let pulls = self.deps.forge.pulls(filter).await?;
        let pull = pulls.iter().map(|whole| &whole.pull).find(|pull| pull.head() == commit);
        let works = works(&self.deps.environments);
        let jobs = match pull {
            Some(pull) => self.jobs_of(&works, pull),
            None => unique(works.get(repository).into_iter().flatten(), None),
        };
        let names: Vec<String> = match name {
            Some(name) => vec![name.into()],
            None => {
                let bad = self.deps.forge.checks(repository, &commit).await?.into_iter();
                let ours = |name: &String| jobs.iter().any(|job| job.check.name == *name);
                bad.filter(|check| check.state.is_bad()).map(|check| check.name).filter(ours).collect()
            }
        };
        if names.is_empty() {
            return Err(RerunError::NothingBad);
        }
        for name in &names {
            let Some(job) = jobs.iter().find(|job| job.check.name == *name) else {
                let known = jobs.iter().map(|job| job.check.name.clone()).collect();
                return Err(RerunError::NotOurs { name: name.clone(), known });
            };
            self.enqueue(key(repository, &commit, job), job.clone(), pull.is_none()).await;
        }
        self.wake.notify_one();
        Ok(names)
    }

    /// Cancels the reports of runs that a hostd that died left as under way and that nobody waits for any more.
    pub(super) async fn forget_superseded(&self) {
        let works = works(&self.deps.environments);
        let all = PullFilter { all: true, ..PullFilter::default() };
        let pulls = match self.deps.forge.pulls(all).await {
            Ok(pulls) => pulls,
            Err(error) => return tracing::warn!(%error, "pull requests cannot be read"),
        };
        for whole in pulls {
            let pull = &whole.pull;
            let names: BTreeSet<_> = self.jobs_of(&works, pull).into_iter().map(|job| job.check.name).collect();
            let mut commits = vec![];
            if pull.state.is_open() {
                commits.extend(pull.revisions.iter().map(|r| r.head.as_str()).filter(|head| *head != pull.head()));
            } else if whole.checks.iter().any(|check| !check.state.is_over()) {
                commits.push(pull.head());
            }
            for commit in commits {
                let checks = self.deps.forge.checks(&pull.repository, commit).await.unwrap_or_default();
                for check in checks.iter().filter(|check| !check.state.is_over() && names.contains(&check.name)) {
                    let (repository, commit) = (pull.repository.clone(), commit.to_owned());
                    let key = Key { repository, commit, name: check.name.clone() };
                    self.report(&key, CheckState::Cancelled, SUPERSEDED, None).await;
                }
            }
        }
    }

    /// The checks of a pull request: those of all environments of its repository; of several with one name, that of its
    /// session's environment.
    fn jobs_of(&self, works: &Works, pull: &PullRequest) -> Vec<Job> {
        let own = self.deps.sessions.environment(&pull.author.session);
        unique(works.get(&pull.repository).into_iter().flatten(), own.as_deref())
    }

    /// Suggests to the forge which checks are required: what is not required cannot be waited for.
    async fn suggest_rules(&self, works: &Works) {
        for (repository, environments) in works {
            let jobs = unique(environments.iter(), None).into_iter();
            let required = jobs.filter(|job| job.check.required).map(|job| job.check.name).collect();
            if let Err(error) = self.deps.forge.suggest_checks(repository, required).await {
                tracing::debug!(repository, %error, "its checks are not required");
            }
        }
    }
}

/// Names of the checks that this host's CI runs on every open pull request of a repository.
#[must_use]
pub fn checks_of(environments: &Environments, repository: &str) -> Vec<String> {
    let works = works(environments);
    let jobs = works.get(repository).into_iter().flatten().flat_map(|(_, jobs)| jobs);
    let names: BTreeSet<&String> = jobs.map(|job| &job.check.name).collect();
    names.into_iter().cloned().collect()
}

/// The checks of all environments that are built, by repository.
fn works(environments: &Environments) -> Works {
    let mut works = Works::new();
    for info in environments.list() {
        let Ok(build) = environments.ready(&info.name) else { continue };
        let Some(repository) = build.recipe.local_repository().map(str::to_owned) else { continue };
        let checks = build.recipe.ci.iter().cloned();
        let jobs = checks.map(|check| Job { check, build: build.clone() }).collect();
        works.entry(repository).or_default().push((info.name, jobs));
    }
    works
}

/// One check of each name; those of the environment `first` go before others.
fn unique<'a>(environments: impl Iterator<Item = &'a (String, Vec<Job>)>, first: Option<&str>) -> Vec<Job> {
    let mut all: Vec<_> = environments.collect();
    all.sort_by_key(|(name, _)| Some(name.as_str()) != first);
    let mut names = BTreeSet::new();
    all.into_iter().flat_map(|(_, jobs)| jobs).filter(|job| names.insert(&job.check.name)).cloned().collect()
}

fn key(repository: &str, commit: &str, job: &Job) -> Key {
    Key { repository: repository.into(), commit: commit.into(), name: job.check.name.clone() }
}
