//! Merging by real git in the bare repository, without a work tree. Only the last step, moving the base branch, is seen from
//! outside, and git does that whole or not at all.

use hostd_core::pulls::{Merge, PullInput, PullRequest, PullState, Refusal, Who, may_merge, step};

use super::{Local, combine::combine, now, revisions::branch};
use crate::{ForgeError, KeptPull, Mirror as _, PullId, PullRecord, Pulls as _};

/// Number of times that a base branch may move under a merge before the merge is given up.
const TRIES: usize = 3;

impl Local {
    pub(super) async fn merge_pull(&self, id: &PullId, who: Who, head: &str) -> Result<PullRequest, ForgeError> {
        let whole = self.pull(id).await?;
        may_merge(&whole.pull, &whole.rules, &whole.checks, &who, head)?;
        let (pull, rules) = (whole.pull, whole.rules);
        // From here to the end it is not settled by whoever reads it.
        let busy = || Refusal::NotOpen { number: id.number, state: "merging" };
        let _turn = self.merges.take(id).ok_or_else(busy)?;
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
        self.merges.is_taken(id)
    }

    /// Ends `merging`, by what git says: the base branch has the commit, or it does not.
    pub(super) async fn settle(&self, id: &PullId) -> Result<PullRequest, ForgeError> {
        let KeptPull { record: PullRecord { pull, .. }, rules, .. } = self.kept(id).await?;
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
        if !rules.keep_branches {
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
        self.change(id, Box::new(change)).await
    }
}
