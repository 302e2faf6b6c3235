//! Upstreams: new commits are fetched from there, merged work is pushed back.

use std::{collections::BTreeMap, path::Path, time::Duration};

use hostd_core::{
    recipe::is_branch_name,
    text,
    upstream::{Stands, Upstream},
};
use tokio::{sync::mpsc, time::timeout};

use super::{
    FetchedBranch, Local, PushedBranch,
    credentials::{Credentials, advice},
    import::check_source,
    now, remote,
};
use crate::{ForgeError, Mirror as _, git::Repository};

/// Prefix of the refs that keep the upstream's branches as they were last seen.
const SEEN: &str = "refs/remotes/upstream/";
/// Longest error kept of a fetch, in bytes.
const ERROR_MAX: usize = 1024;
/// Longest sleep of the schedule: clocks jump.
const NAP: Duration = Duration::from_secs(60);

impl Local {
    pub(super) async fn upstream_of(&self, name: &str) -> Result<Upstream, ForgeError> {
        let repository = self.repositories.open(name)?;
        if let Some(upstream) = self.storage.upstream(name).await? {
            return Ok(upstream);
        }
        // As whoever cloned it into its place left it.
        let url = repository.run(["config", "--get", "remote.origin.url"]).await?.line();
        Ok(Upstream { url, ..Upstream::default() })
    }

    pub(super) async fn change_upstream(
        &self,
        name: &str,
        url: Option<String>,
        fetch_every: Option<u64>,
    ) -> Result<(), ForgeError> {
        let before = self.upstream_of(name).await?;
        if let Some(url) = url.as_ref().filter(|url| !url.is_empty()) {
            check_source(url)?;
        }
        let (least, url) = (Upstream::EVERY_MIN, url.unwrap_or(before.url));
        if fetch_every.is_some_and(|every| every > 0 && every < least) {
            return Err(ForgeError::Invalid(format!("fetches are at least {least} s apart; name a longer time")));
        }
        if url.is_empty() && fetch_every.is_some_and(|every| every > 0) {
            return Err(no_upstream(name));
        }
        let change = move |kept: Option<Upstream>| {
            let kept = kept.unwrap_or_default();
            let fetch_every = if url.is_empty() { 0 } else { fetch_every.unwrap_or(kept.fetch_every) };
            // What was wrong with another URL is over.
            let error = if url == kept.url { kept.error } else { String::new() };
            Upstream { fetch_every, error, url, ..kept }
        };
        self.storage.change_upstream(name, Box::new(change)).await?;
        self.schedule.notify_one();
        self.hint_at_repository(name);
        Ok(())
    }

    pub(super) async fn fetch_upstream(
        &self,
        name: &str,
        progress: mpsc::Sender<String>,
    ) -> Result<Vec<FetchedBranch>, ForgeError> {
        let (repository, upstream) = (self.repositories.open(name)?, self.upstream_of(name).await?);
        if upstream.url.is_empty() {
            return Err(no_upstream(name));
        }
        let _turn = self.upkeep.take(&name.to_owned()).ok_or_else(|| ForgeError::Busy(name.into()))?;
        let fetched = fetch(&repository, &upstream, &self.credentials, progress).await;
        let error = fetched.as_ref().err().map(ToString::to_string).unwrap_or_default();
        let (url, error) = (upstream.url.clone(), text::clean(&error, ERROR_MAX));
        let keep = move |kept: Option<Upstream>| {
            let kept = kept.unwrap_or(Upstream { url, ..Upstream::default() });
            Upstream { fetched_at: now(), error, ..kept }
        };
        self.storage.change_upstream(name, Box::new(keep)).await?;
        let branches = fetched?;
        self.hint_at_repository(name);
        Ok(branches)
    }

    pub(super) async fn push_upstream(
        &self,
        name: &str,
        mut branches: Vec<String>,
        progress: mpsc::Sender<String>,
    ) -> Result<Vec<PushedBranch>, ForgeError> {
        let (repository, upstream) = (self.repositories.open(name)?, self.upstream_of(name).await?);
        if upstream.url.is_empty() {
            return Err(no_upstream(name));
        }
        if branches.is_empty() {
            branches.push(self.repositories.default_head(name, "name the branch that is to be pushed").await?.branch);
        }
        let mut pushed = vec![];
        for branch in branches {
            let commit = self.repositories.head(name, &branch).await?;
            pushed.push(PushedBranch { branch, commit });
        }
        let folder = tempfile::tempdir().map_err(ForgeError::Git)?;
        let credentials = Credentials::new(&upstream.url, &self.credentials, folder.path())?;
        let mut command = remote::git(folder.path(), &credentials).await?;
        command
            .arg("--git-dir")
            .arg(&repository.path)
            .args(["push", "--progress", "--atomic", "--"])
            .arg(&credentials.url);
        // By commit: what is merged meanwhile is not told as pushed.
        command.args(pushed.iter().map(|it| format!("{}:refs/heads/{}", it.commit, it.branch)));
        let done = remote::run(&mut command, progress).await?;
        done.map_err(|words| not_pushed(name, &upstream, &pushed, &words, &self.credentials))?;
        for PushedBranch { branch, commit } in &pushed {
            repository.run(["update-ref", &format!("{SEEN}{branch}"), commit]).await?;
        }
        self.hint_at_repository(name);
        Ok(pushed)
    }

    /// Fetches from upstreams when it is time, until it is dropped.
    pub async fn fetch_on_schedule(self) {
        loop {
            let next = self.fetch_due().await;
            let nap = next.map_or(NAP, |at| Duration::from_millis(u64::try_from(at - now()).unwrap_or(0)).min(NAP));
            // Sooner where somebody changes it.
            let _ = timeout(nap, self.schedule.notified()).await;
        }
    }

    /// Fetches from those whose time has come; when the next one's comes.
    pub(super) async fn fetch_due(&self) -> Option<hostd_core::UnixMillis> {
        let mut next = None;
        for name in self.repositories.names().await.unwrap_or_default() {
            let Ok(upstream) = self.upstream_of(&name).await else { continue };
            let Some(mut at) = upstream.due_at() else { continue };
            if at <= now() {
                // Nobody is there to hear of its progress.
                if let Err(error) = self.fetch_upstream(&name, mpsc::channel(1).0).await {
                    tracing::warn!(repository = name, %error, "its upstream could not be fetched from");
                }
                // Whatever came of it: not again at once.
                at = Upstream { fetched_at: now(), ..upstream }.due_at().unwrap_or(at);
            }
            next = Some(next.map_or(at, |next: i64| next.min(at)));
        }
        next
    }
}

/// Brings in the upstream's commits, and moves the branches that may be moved.
async fn fetch(
    repository: &Repository,
    upstream: &Upstream,
    file: &Path,
    progress: mpsc::Sender<String>,
) -> Result<Vec<FetchedBranch>, ForgeError> {
    let before = repository.refs(SEEN).await?;
    let folder = tempfile::tempdir().map_err(ForgeError::Git)?;
    let credentials = Credentials::new(&upstream.url, file, folder.path())?;
    let mut command = remote::git(folder.path(), &credentials).await?;
    command.arg("--git-dir").arg(&repository.path);
    command.args(["fetch", "--prune", "--progress", "--no-write-fetch-head", "--"]).arg(&credentials.url);
    command.arg(format!("+refs/heads/*:{SEEN}*"));
    let shown = text::clean(&upstream.shown(), 1024);
    let done = remote::run(&mut command, progress).await?;
    done.map_err(|words| {
        let help = advice(&words, file);
        ForgeError::NotFetched(format!("{shown} could not be fetched from:\n{words}{help}"))
    })?;
    let here = repository.refs("refs/heads/").await?;
    let mut branches = vec![];
    for (branch, commit) in repository.refs(SEEN).await? {
        // Those of sessions are made here.
        if branch.starts_with("agent/") || !is_branch_name(&branch) {
            continue;
        }
        let found = match here.get(&branch) {
            Some(own) if *own == commit => continue,
            Some(own) => advance(repository, branch, own, commit).await?,
            // One that was deleted here does not come back.
            None if before.contains_key(&branch) => continue,
            None => {
                repository.move_ref(&format!("refs/heads/{branch}"), &commit, "").await?;
                FetchedBranch { branch, stood: Stands::Missing, ahead: 0, behind: 0, upstream: commit }
            }
        };
        branches.push(found);
    }
    Ok(branches)
}

async fn advance(
    repository: &Repository,
    branch: String,
    own: &str,
    upstream: String,
) -> Result<FetchedBranch, ForgeError> {
    let (ahead, behind) = repository.apart(own, &upstream).await?;
    let stood = Stands::of(ahead, behind);
    // Where it has moved meanwhile, the next fetch sees it.
    if stood == Stands::Behind {
        repository.move_ref(&format!("refs/heads/{branch}"), &upstream, own).await?;
    }
    Ok(FetchedBranch { branch, stood, ahead, behind, upstream })
}

fn no_upstream(name: &str) -> ForgeError {
    let help = format!("name one with `pilothouse repo set {name} --upstream URL|PATH`");
    ForgeError::Invalid(format!("`{name}` has no upstream; {help}"))
}

/// git's words, and what to do in the cases that are usual.
fn not_pushed(name: &str, upstream: &Upstream, pushed: &[PushedBranch], words: &str, file: &Path) -> ForgeError {
    let shown = text::clean(&upstream.shown(), 1024);
    let branch = pushed.first().map_or("", |it| it.branch.as_str());
    let help = if words.contains("currently checked out") {
        format!("\nthat branch is checked out there; bring it in from there: git pull pilothouse {branch}")
    } else if words.contains("fetch first") || words.contains("non-fast-forward") {
        let both = format!("pull `{branch}` from both into a clone, and push the merge to both");
        format!(
            "\nthe upstream has commits that this lacks: `pilothouse repo fetch {name}`; where that says diverged, {both}"
        )
    } else {
        advice(words, file)
    };
    ForgeError::NotPushed(format!("{shown} did not take it:\n{words}{help}"))
}

impl Repository {
    /// The refs below `prefix` (which ends with a slash) by the rest of their names, with their commits.
    async fn refs(&self, prefix: &str) -> Result<BTreeMap<String, String>, ForgeError> {
        let ran = self.run(["for-each-ref", "--format=%(objectname) %(refname)", prefix]).await?;
        let listed = String::from_utf8_lossy(&ran.stdout).into_owned();
        let pair = |line: &str| {
            let (commit, name) = line.split_once(' ')?;
            Some((name.strip_prefix(prefix)?.to_owned(), commit.to_owned()))
        };
        Ok(listed.lines().filter_map(pair).collect())
    }

    /// Number of commits that `one` has and `other` lacks, and the other way round.
    async fn apart(&self, one: &str, other: &str) -> Result<(u64, u64), ForgeError> {
        let ran = self.run(["rev-list", "--left-right", "--count", &format!("{one}...{other}"), "--"]).await?;
        let line = ran.line();
        let counts = line.split_once('\t').and_then(|(left, right)| Some((left.parse().ok()?, right.parse().ok()?)));
        counts.ok_or_else(|| ran.failed("comparing commits"))
    }
}
