//! Pushes to head branches, read from their reflogs.

use hostd_core::{
    pulls::{NewPull, PullInput, PullRequest, PullState, Refusal, Who, step},
    recipe::is_branch_name,
};

use super::{Local, now};
use crate::{ForgeError, Mirror as _, PullFilter, PullId, PullRecord, git::Repository};

/// Most entries of a reflog that are read; of more pushes at once, the oldest make no revision.
const ENTRIES: &str = "--max-count=1000";

impl Local {
    pub(super) async fn open_pull(&self, mut new: NewPull) -> Result<PullRequest, ForgeError> {
        let repository = self.repositories.open(&new.repository)?;
        if new.base_branch.is_empty() {
            let help = "say with --base which branch it is for";
            new.base_branch = self.repositories.default_head(&new.repository, help).await?.branch;
        }
        for branch in [&new.head_branch, &new.base_branch] {
            if !is_branch_name(branch) {
                return Err(ForgeError::Invalid(format!("{branch:?} cannot be a branch's name")));
            }
        }
        let base = self.repositories.head(&new.repository, &new.base_branch).await?;
        let Some(head) = repository.commit(&branch(&new.head_branch)).await? else {
            let help = format!("push it first: git push origin HEAD:refs/heads/{}", new.head_branch);
            return Err(ForgeError::Invalid(format!("the branch `{}` was not pushed; {help}", new.head_branch)));
        };
        if repository.merge_base(&base, &head).await?.is_none() {
            let base = &new.base_branch;
            let help = format!("make the commits again on top of `{base}`");
            let text = format!("`{}` and `{base}` have no commit in common; {help}", new.head_branch);
            return Err(ForgeError::Invalid(text));
        }
        if repository.contains(&base, &head).await? {
            let (head, base) = (&new.head_branch, &new.base_branch);
            let text = format!("`{head}` has nothing that `{base}` lacks; commit and push something first");
            return Err(ForgeError::Invalid(text));
        }
        let pushes = pushes(&repository, &new.head_branch).await?.len() as u64;
        let (name, head_branch) = (new.repository.clone(), new.head_branch.clone());
        let make = move |number| PullRecord { pull: PullRequest::new(new, number, head, now()), pushes };
        let (record, fresh) = self.storage.add_pull(&name, &head_branch, Box::new(make)).await?;
        if !fresh {
            return self.read(record).await;
        }
        keep(&repository, &record.pull).await?;
        self.hint_at_pull(&record.pull);
        Ok(record.pull)
    }

    /// Reads an open pull request again after a death of hostd, which may have come in the midst of a merge, or between a
    /// revision and its being kept.
    pub(super) async fn read_again(&self, record: PullRecord) -> Result<(), ForgeError> {
        let pull = self.read(record).await?;
        keep(&self.repositories.open(&pull.repository)?, &pull).await
    }

    /// Opens a closed pull request again.
    pub(super) async fn reopen_pull(&self, id: &PullId, who: Who) -> Result<PullRequest, ForgeError> {
        let closed = self.kept(id).await?.record.pull;
        if matches!(closed.state, PullState::Closed(_)) && who.session.is_none() {
            let filter = PullFilter { repository: Some(id.repository.clone()), ..PullFilter::default() };
            let open = self.storage.pulls(filter).await?.into_iter().map(|kept| kept.record.pull);
            if let Some(other) = open.into_iter().find(|open| open.head_branch == closed.head_branch) {
                let other = PullId::of(&other);
                let text = format!("{other} is open for the same branch, `{}`; go on there", closed.head_branch);
                return Err(ForgeError::Invalid(text));
            }
            self.repositories.head(&id.repository, &closed.base_branch).await?;
            let repository = self.repositories.open(&id.repository)?;
            let head_ref = branch(&closed.head_branch);
            if repository.commit(&head_ref).await?.is_none() {
                repository.move_ref(&head_ref, closed.head(), "").await?;
            }
        }
        self.step(id, PullInput::Reopen(who)).await?;
        self.read(self.kept(id).await?.record).await
    }

    /// Makes a revision of each push to the head branch that has none yet.
    pub(super) async fn read_pushes(&self, record: PullRecord) -> Result<PullRequest, ForgeError> {
        let id = PullId::of(&record.pull);
        let repository = self.repositories.open(&id.repository)?;
        let branches = [branch(&record.pull.head_branch), branch(&record.pull.base_branch)];
        let tips = repository.tips(&branches).await?;
        let Some(tip) = tips.get(&branches[0]).cloned() else {
            return self.step(&id, PullInput::BranchGone { base: false }).await;
        };
        if !tips.contains_key(&branches[1]) {
            return self.step(&id, PullInput::BranchGone { base: true }).await;
        }
        // After the tip: git writes the reflog first, so it knows of that push, and maybe of a later one.
        let pushes = pushes(&repository, &record.pull.head_branch).await?;
        let heads = unread(&pushes, &record, tip);
        let mut inputs = vec![];
        let mut before = record.pull.head().to_owned();
        for head in heads {
            let forced = !repository.contains(&head, &before).await?;
            before.clone_from(&head);
            inputs.push(PullInput::Pushed { head, forced });
        }
        let count = pushes.len() as u64;
        if inputs.is_empty() && count == record.pushes {
            return Ok(record.pull);
        }
        let change = move |now_kept: &PullRecord| {
            // Somebody else was quicker, and has read as much or more.
            if now_kept.pushes != record.pushes || now_kept.pull.head() != record.pull.head() {
                return Ok(now_kept.clone());
            }
            let told = inputs.into_iter().try_fold(now_kept.pull.clone(), |pull, input| step(&pull, input, now()));
            Ok::<_, Refusal>(PullRecord { pull: told?, pushes: count })
        };
        let pull = self.storage.change_pull(&id.repository, id.number, Box::new(change)).await??.pull;
        keep(&repository, &pull).await?;
        self.hint_at_pull(&pull);
        Ok(pull)
    }
}

/// Heads that are no revisions yet, oldest first. `tip` is of before `pushes` were read.
fn unread(pushes: &[String], record: &PullRecord, tip: String) -> Vec<String> {
    let read = usize::try_from(record.pushes).unwrap_or(usize::MAX);
    let mut heads = pushes.get(read..).unwrap_or_default().to_vec();
    // Else the reflog began anew, was shortened, or does not know of the last push.
    let is_known = if heads.is_empty() { record.pull.head() == tip } else { pushes.contains(&tip) };
    if !is_known {
        heads.push(tip);
    }
    heads
}

/// Commits that the branch was set to, oldest first; empty where it has no reflog.
async fn pushes(repository: &Repository, head_branch: &str) -> Result<Vec<String>, ForgeError> {
    let ran = repository.run(["log", "--walk-reflogs", "--format=%H", ENTRIES, &branch(head_branch), "--"]).await?;
    let mut pushes: Vec<String> = String::from_utf8_lossy(&ran.stdout).lines().map(str::to_owned).collect();
    pushes.reverse();
    Ok(if ran.code == 0 { pushes } else { vec![] })
}

/// Keeps the commits of all revisions, so that none is thrown away and each can be fetched. Oldest first: before one that is
/// kept all are.
async fn keep(repository: &Repository, pull: &PullRequest) -> Result<(), ForgeError> {
    let mut lacking = vec![];
    for revision in pull.revisions.iter().rev() {
        let name = format!("refs/pull/{}/{}", pull.number, revision.number);
        if repository.commit(&name).await?.is_some() {
            break;
        }
        lacking.push((name, &revision.head));
    }
    for (name, head) in lacking.into_iter().rev() {
        // False: another reader has just kept it.
        repository.move_ref(&name, head, "").await?;
    }
    Ok(())
}

pub(super) fn branch(name: &str) -> String {
    format!("refs/heads/{name}")
}

#[cfg(test)]
mod tests {
    use hostd_core::{ForgeId, pulls::Author};

    use super::*;

    #[test]
    fn a_push_between_two_looks_makes_one_revision() {
        let new = NewPull {
            forge: ForgeId::local(),
            repository: "widgets".into(),
            title: "Fix".into(),
            body: String::new(),
            author: Author { session: "01one".into(), slug: "one".into() },
            base_branch: "main".into(),
            head_branch: "agent/one/work".into(),
        };
        let record = PullRecord { pull: PullRequest::new(new, 1, "b".into(), 1), pushes: 2 };
        let unread = |pushes: &[&str], tip: &str| {
            let pushes: Vec<String> = pushes.iter().map(ToString::to_string).collect();
            unread(&pushes, &record, tip.into())
        };
        assert_eq!(unread(&["a", "b"], "b"), [""; 0]);
        assert_eq!(unread(&["a", "b", "c"], "c"), ["c"]);
        assert_eq!(unread(&["a", "b", "c"], "b"), ["c"], "pushed after the tip was read");
        assert_eq!(unread(&["a", "b", "a"], "a"), ["a"], "back to what it was");
        assert_eq!(unread(&["d"], "d"), ["d"], "a reflog that began anew");
        assert_eq!(unread(&[], "d"), ["d"], "none");
    }
}
