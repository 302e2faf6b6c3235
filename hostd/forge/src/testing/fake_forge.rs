//! A forge elsewhere that is made up, on values in memory. What changes there is seen once
//! [`FakeForge::show`] says so, and told by the hints that a test sends: late, twice, in any order, or never.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use hostd_core::{
    ForgeId,
    checks::Check,
    pulls::{NewPull, NewReview, PullInput, PullRequest, PullState, Rules, Who, may_merge, step},
};
use tokio::sync::broadcast;

use crate::{
    About, Checks, Forge, ForgeError, Hint, Hints, Pull, PullFilter, PullId, Pulls, Report, Repositories,
    RepositoryInfo,
};

/// Name of the only repository.
pub const NAME: &str = "widgets";

/// A forge that is made up; see the module.
#[derive(Debug)]
pub struct FakeForge {
    id: ForgeId,
    state: Mutex<State>,
    hints: broadcast::Sender<Hint>,
}

#[derive(Debug, Default)]
struct State {
    now: World,
    shown: World,
    /// How often pull requests of each session were asked for.
    readings: BTreeMap<String, usize>,
    /// Number of questions to come that get no answer.
    down: usize,
}

#[derive(Clone, Debug, Default)]
struct World {
    pulls: BTreeMap<u64, PullRequest>,
    /// Checks by commit and name.
    checks: BTreeMap<(String, String), Check>,
    logs: BTreeMap<String, Vec<u8>>,
    rules: Rules,
    time: i64,
}

impl World {
    fn whole(&self, pull: &PullRequest) -> Pull {
        Pull { pull: pull.clone(), rules: self.rules.clone(), checks: self.checks(pull.head()) }
    }

    fn checks(&self, commit: &str) -> Vec<Check> {
        self.checks.iter().filter(|((of, _), _)| of == commit).map(|(_, check)| check.clone()).collect()
    }

    fn pull(&self, id: &PullId) -> Result<Pull, ForgeError> {
        let found = self.pulls.get(&id.number).filter(|_| id.repository == NAME);
        found.map(|pull| self.whole(pull)).ok_or_else(|| ForgeError::NoPull(id.clone()))
    }

    /// Ids of the sessions whose pull requests this is about; None: it may be about any.
    fn concerned(&self, about: &About) -> Option<Vec<String>> {
        let of = |wanted: &dyn Fn(&PullRequest) -> bool| {
            Some(self.pulls.values().filter(|pull| wanted(pull)).map(|pull| pull.author.session.clone()).collect())
        };
        match about {
            About::Pull(number) => of(&|pull| pull.number == *number),
            About::Checks(commit) => of(&|pull| pull.head() == commit),
            About::Repository => None,
        }
    }

    fn tick(&mut self) -> i64 {
        self.time += 1;
        self.time
    }

    fn change(&mut self, id: &PullId, input: PullInput) -> Result<(), ForgeError> {
        let now = self.tick();
        let pull = self.pull(id)?.pull;
        self.pulls.insert(id.number, step(&pull, input, now)?);
        Ok(())
    }
}

impl FakeForge {
    /// An empty forge, with room for so many hints that nobody has heard.
    pub fn new(hints: usize) -> Self {
        Self { id: ForgeId::local(), state: Mutex::default(), hints: broadcast::channel(hints).0 }
    }

    /// Lets the changes of this pull request be read from now on.
    pub fn show(&self, number: u64) {
        let state = &mut *self.state();
        let (now, shown) = (&state.now, &mut state.shown);
        let Some(pull) = now.pulls.get(&number) else { return };
        shown.pulls.insert(number, pull.clone());
        for check in now.checks(pull.head()) {
            shown.checks.insert((pull.head().into(), check.name.clone()), check);
        }
        shown.logs.clone_from(&now.logs);
    }

    /// Identity of the pull request of this number.
    pub fn pull_id(&self, number: u64) -> PullId {
        PullId::new(self.id.clone(), NAME, number)
    }

    /// Sends a hint, whether it is true or not.
    pub fn hint(&self, id: &str, about: About) {
        let sessions = self.state().now.concerned(&about);
        let _ = self.hints.send(Hint { id: id.into(), repository: NAME.into(), about, sessions });
    }

    /// Lets the branch of this pull request point to another commit.
    pub fn push(&self, number: u64, head: &str) {
        let id = self.pull_id(number);
        self.state().now.change(&id, PullInput::Pushed { head: head.into(), forced: false }).unwrap();
    }

    /// Leaves the next questions without an answer.
    pub fn down(&self, questions: usize) {
        self.state().down = questions;
    }

    /// How often this session's pull requests were read.
    pub fn readings(&self, session: &str) -> usize {
        self.state().readings.get(session).copied().unwrap_or(0)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn asked(&self) -> Result<MutexGuard<'_, State>, ForgeError> {
        let mut state = self.state();
        if state.down > 0 {
            state.down -= 1;
            return Err(ForgeError::Unavailable("the forge does not answer; it is asked again".into()));
        }
        Ok(state)
    }
}

impl Forge for FakeForge {
    fn id(&self) -> &ForgeId {
        &self.id
    }

    fn hints(&self) -> Hints {
        Hints::new(self.hints.subscribe())
    }
}

#[async_trait]
impl Repositories for FakeForge {
    async fn repositories(&self) -> Result<Vec<RepositoryInfo>, ForgeError> {
        Ok(vec![self.repository(NAME).await?])
    }

    async fn repository(&self, name: &str) -> Result<RepositoryInfo, ForgeError> {
        drop(self.asked()?);
        if name != NAME {
            return Err(ForgeError::NoRepository { name: name.into() });
        }
        let (url, default_branch) = (format!("https://forge.example/{NAME}.git"), "main".into());
        Ok(RepositoryInfo { name: NAME.into(), url, path: None, default_branch, head: "0".repeat(40) })
    }

    async fn rules(&self, _: &str) -> Result<Rules, ForgeError> {
        Ok(self.asked()?.shown.rules.clone())
    }

    async fn set_rules(&self, _: &str, rules: Rules) -> Result<(), ForgeError> {
        let mut state = self.asked()?;
        (state.now.rules, state.shown.rules) = (rules.clone(), rules);
        Ok(())
    }

    async fn suggest_checks(&self, _: &str, _: Vec<String>) -> Result<(), ForgeError> {
        Ok(())
    }

    async fn commit(&self, repository: &str, commit: &str) -> Result<String, ForgeError> {
        let state = self.asked()?;
        let mut heads = state.now.pulls.values().flat_map(|pull| &pull.revisions).map(|revision| &revision.head);
        let found = heads.find(|head| head.starts_with(commit)).cloned();
        found.ok_or_else(|| ForgeError::NoCommit { name: repository.into(), commit: commit.into() })
    }

    async fn branches(&self, _: &str, prefix: &str) -> Result<Vec<String>, ForgeError> {
        drop(self.asked()?);
        Ok(vec![format!("{prefix}work")])
    }
}

#[async_trait]
impl Pulls for FakeForge {
    async fn pulls(&self, filter: PullFilter) -> Result<Vec<Pull>, ForgeError> {
        let mut state = self.asked()?;
        if let Some(session) = &filter.session {
            *state.readings.entry(session.clone()).or_default() += 1;
        }
        let wanted = |pull: &&PullRequest| {
            filter.session.as_ref().is_none_or(|session| pull.author.session == *session)
                && filter.repository.as_ref().is_none_or(|name| name == NAME)
                && (filter.all || pull.state.is_open())
        };
        Ok(state.shown.pulls.values().filter(wanted).map(|pull| state.shown.whole(pull)).collect())
    }

    async fn known(&self, id: &PullId) -> Result<Pull, ForgeError> {
        self.state().shown.pull(id)
    }

    async fn pull(&self, id: &PullId) -> Result<Pull, ForgeError> {
        let mut state = self.asked()?;
        let pull = state.shown.pull(id)?;
        *state.readings.entry(pull.pull.author.session.clone()).or_default() += 1;
        Ok(pull)
    }

    async fn refresh(&self, _: &str, _: &str) -> Result<(), ForgeError> {
        Ok(())
    }

    async fn open(&self, new: NewPull) -> Result<Pull, ForgeError> {
        let mut state = self.asked()?;
        let known = state.now.pulls.values().find(|pull| pull.state.is_open() && pull.head_branch == new.head_branch);
        if let Some(known) = known {
            return Ok(state.now.whole(known));
        }
        let (number, now) = (state.now.pulls.len() as u64 + 1, state.now.tick());
        let pull = PullRequest::new(new, number, format!("{number:040}"), now);
        state.now.pulls.insert(number, pull.clone());
        state.shown.pulls.insert(number, pull.clone());
        Ok(state.now.whole(&pull))
    }

    async fn review(&self, id: &PullId, review: NewReview) -> Result<Pull, ForgeError> {
        let mut state = self.asked()?;
        state.now.change(id, PullInput::Review(review))?;
        state.now.pull(id)
    }

    async fn close(&self, id: &PullId, who: Who) -> Result<Pull, ForgeError> {
        let mut state = self.asked()?;
        state.now.change(id, PullInput::Close(who))?;
        state.now.pull(id)
    }

    async fn reopen(&self, id: &PullId, who: Who) -> Result<Pull, ForgeError> {
        let mut state = self.asked()?;
        state.now.change(id, PullInput::Reopen(who))?;
        state.now.pull(id)
    }

    async fn resolve(&self, id: &PullId, who: Who, thread: u64, resolved: bool) -> Result<Pull, ForgeError> {
        let mut state = self.asked()?;
        state.now.change(id, PullInput::Resolve { who, thread, resolved })?;
        state.now.pull(id)
    }

    async fn merge(&self, id: &PullId, who: Who, head: &str) -> Result<Pull, ForgeError> {
        let mut state = self.asked()?;
        let whole = state.now.pull(id)?;
        may_merge(&whole.pull, &whole.rules, &whole.checks, &who, head)?;
        let (by, head, method, at) = (who.name, head.to_owned(), whole.rules.method, state.now.tick());
        let merge = hostd_core::pulls::Merge { by, commit: head.clone(), head, method, at };
        let pull = PullRequest { state: PullState::Merged(merge), ..whole.pull };
        state.now.pulls.insert(id.number, pull);
        state.now.pull(id)
    }
}

#[async_trait]
impl Checks for FakeForge {
    async fn report(&self, _: &str, commit: &str, report: Report) -> Result<bool, ForgeError> {
        let mut state = self.asked()?;
        let now = state.now.tick();
        let Report { name, state: stands, summary, url, log } = report;
        let key = (commit.to_owned(), name.clone());
        let before = state.now.checks.get(&key).filter(|before| !before.state.is_over());
        let started_at = before.map_or(now, |before| before.started_at);
        let log = log.map(|log| {
            let id = now.to_string();
            state.now.logs.insert(id.clone(), log);
            id
        });
        let check = Check { name, state: stands, summary, url, log, started_at, updated_at: now };
        state.now.checks.insert(key, check);
        Ok(true)
    }

    async fn checks(&self, _: &str, commit: &str) -> Result<Vec<Check>, ForgeError> {
        Ok(self.asked()?.shown.checks(commit))
    }

    async fn log(&self, _: &str, check: &Check) -> Result<Option<Vec<u8>>, ForgeError> {
        let state = self.asked()?;
        Ok(check.log.as_ref().and_then(|id| state.shown.logs.get(id)).cloned())
    }
}
