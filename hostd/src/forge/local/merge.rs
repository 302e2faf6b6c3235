//! Merging by real git in the bare repository, without a work tree. Only the last step, moving the base branch, is seen from
//! outside, and git does that whole or not at all.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use hostd_core::{
    pulls::{Merge, MergeMethod, PullInput, PullRequest, PullState, Refusal, Rules, Who, may_merge, step},
    text,
};

use super::{Local, now, revisions::branch};
use crate::{
    forge::{About, Forge as _, ForgeError, PullId, git::Repository},
    store::PullRecord,
};

/// How often a base branch may move under a merge before it is given up.
const TRIES: usize = 3;

impl Local {
    pub(super) async fn merge_pull(&self, id: &PullId, who: Who, head: &str) -> Result<PullRequest, ForgeError> {
        let whole = self.pull(id).await?;
        may_merge(&whole.pull, &whole.rules, &whole.checks, &who, head)?;
        let (pull, rules) = (whole.pull, whole.rules);
        // From here to the end it is not settled by whoever reads it.
        let busy = || Refusal::NotOpen { number: id.number, state: "merging" };
        let _turn = Turn::take(&self.merges, id).ok_or_else(busy)?;
        let repository = self.repositories.open(&id.repository)?;
        let base_ref = branch(&pull.base_branch);
        for _ in 0..TRIES {
            let base = self.repositories.head(&id.repository, &pull.base_branch).await?;
            let commit = combine(&repository, &pull, &rules, &who, &base).await?;
            let (head, method) = (head.to_owned(), rules.method);
            let merge = Merge { by: who.name.clone(), head, commit: commit.clone(), method, at: now() };
            self.step(id, PullInput::Merge(merge)).await?;
            fail::fail_point!("forge::before-update-ref");
            let moved = repository.move_ref(&base_ref, &commit, &base).await;
            fail::fail_point!("forge::after-update-ref");
            let settled = self.settle(id).await?;
            if moved? && matches!(settled.state, PullState::Merged(_)) {
                return Ok(settled);
            }
        }
        let text = format!("`{}` moved {TRIES} times while {id} was being merged; try again", pull.base_branch);
        Err(ForgeError::NotMergeable(text))
    }

    pub(super) fn is_merged_now(&self, id: &PullId) -> bool {
        lock(&self.merges).contains(id)
    }

    /// Ends `merging`, by what git says: the base branch has the commit, or it does not.
    pub(super) async fn settle(&self, id: &PullId) -> Result<PullRequest, ForgeError> {
        let pull = self.record(id).await?.pull;
        let PullState::Merging(merge) = &pull.state else { return Ok(pull) };
        let repository = self.repositories.open(&id.repository)?;
        let base = repository.commit(&branch(&pull.base_branch)).await?;
        let done = match base {
            Some(base) => repository.contains(&base, &merge.commit).await?,
            None => false,
        };
        if !done {
            return self.end_merge(id, pull.state, PullInput::Abandoned).await;
        }
        if !self.store.rules(&id.repository).await?.keep_branches {
            // With what was pushed since the merge began, the branch stays.
            let args = ["update-ref", "-d", &branch(&pull.head_branch), &merge.head];
            let ran = repository.run(args).await?;
            if ran.code != 0 {
                tracing::info!(%id, "the branch stays: {}", ran.stderr);
            }
        }
        self.end_merge(id, pull.state.clone(), PullInput::Merged).await
    }

    /// Ends the merge that was judged, and no other that has begun meanwhile.
    async fn end_merge(&self, id: &PullId, judged: PullState, end: PullInput) -> Result<PullRequest, ForgeError> {
        let change = move |record: &PullRecord| {
            if record.pull.state != judged {
                return Ok(record.clone());
            }
            let pull = step(&record.pull, end, now())?;
            Ok::<_, Refusal>(PullRecord { pull, ..record.clone() })
        };
        let changed = self.store.change_pull(&id.repository, id.number, change).await?;
        self.hint(&id.repository, About::Pull(id.number));
        Ok(changed?.pull)
    }
}

type Turns = Mutex<BTreeSet<PullId>>;

/// Somebody merges this pull request, until it is dropped.
struct Turn {
    turns: Arc<Turns>,
    id: PullId,
}

impl Turn {
    /// None: somebody else does.
    fn take(turns: &Arc<Turns>, id: &PullId) -> Option<Self> {
        let first = lock(turns).insert(id.clone());
        first.then(|| Self { turns: turns.clone(), id: id.clone() })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        lock(&self.turns).remove(&self.id);
    }
}

fn lock(turns: &Turns) -> MutexGuard<'_, BTreeSet<PullId>> {
    turns.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The commit that the base branch is to point to.
async fn combine(
    repository: &Repository,
    pull: &PullRequest,
    rules: &Rules,
    who: &Who,
    base: &str,
) -> Result<String, ForgeError> {
    let (head, base_branch) = (pull.head(), &pull.base_branch);
    if repository.contains(base, head).await? {
        return Err(ForgeError::NotMergeable(format!(
            "`{base_branch}` has all of it already; there is nothing to merge"
        )));
    }
    if rules.method == MergeMethod::FastForward {
        if repository.contains(head, base).await? {
            return Ok(head.to_owned());
        }
        let help = "rebase it and push, or choose another method with `pilothouse repo set --merge`";
        let text = format!("`{base_branch}` has commits that the head lacks, and may only be fast-forwarded; {help}");
        return Err(ForgeError::NotMergeable(text));
    }
    let tree = merge_tree(repository, pull, base).await?;
    let title = match rules.method {
        MergeMethod::Squash => format!("{} (#{})", pull.title, pull.number),
        _ => format!("Merge pull request #{}: {}", pull.number, pull.title),
    };
    let message = if pull.body.is_empty() { title } else { format!("{title}\n\n{}", pull.body) };
    let author = match rules.method {
        MergeMethod::Squash => author_of(repository, head).await?,
        _ => person(&who.name),
    };
    let committer = person(&who.name);
    let mut args = vec!["commit-tree", "--no-gpg-sign", "-p", base];
    if rules.method == MergeMethod::Merge {
        args.extend(["-p", head]);
    }
    args.extend(["-m", &message, &tree]);
    let identity = [
        ("GIT_AUTHOR_NAME", author.0.as_str()),
        ("GIT_AUTHOR_EMAIL", author.1.as_str()),
        ("GIT_COMMITTER_NAME", committer.0.as_str()),
        ("GIT_COMMITTER_EMAIL", committer.1.as_str()),
    ];
    let ran = repository.run_as(args, &identity).await?;
    if ran.code == 0 { Ok(ran.line()) } else { Err(ran.failed("making the merge commit")) }
}

/// The tree of both together.
async fn merge_tree(repository: &Repository, pull: &PullRequest, base: &str) -> Result<String, ForgeError> {
    let args = ["merge-tree", "--write-tree", "-z", "--name-only", "--no-messages", base, pull.head()];
    let ran = repository.run(args).await?;
    let mut fields = ran.stdout.split(|&byte| byte == 0).map(String::from_utf8_lossy);
    match ran.code {
        0 => Ok(fields.next().unwrap_or_default().trim().to_owned()),
        1 => {
            let named = fields.skip(1).filter(|path| !path.is_empty());
            let mut paths: Vec<String> = named.map(|path| text::clean(&path, 256)).collect();
            paths.dedup();
            if paths.len() > ForgeError::PATHS {
                let more = paths.len() - ForgeError::PATHS;
                paths.truncate(ForgeError::PATHS);
                paths.push(format!("and {more} more"));
            }
            Err(ForgeError::Conflicts { id: PullId::of(pull), base: pull.base_branch.clone(), paths })
        }
        _ => Err(ran.failed("merging")),
    }
}

/// Name and address of a commit's author.
async fn author_of(repository: &Repository, commit: &str) -> Result<(String, String), ForgeError> {
    let ran = repository.run(["show", "--no-patch", "--format=%an%x00%ae", commit, "--"]).await?;
    let line = ran.line();
    Ok(match line.split_once('\0') {
        Some((name, email)) if !name.trim().is_empty() => (name.into(), email.into()),
        _ => person("pilothouse"),
    })
}

/// As git knows a person of this host.
fn person(name: &str) -> (String, String) {
    let local: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    (name.to_owned(), format!("{local}@pilothouse.internal"))
}
