//! What a pull request changes.

use hostd_core::pulls::{MergeMethod, PullRequest, PullState};

use super::{error::DiffError, types::Revisions};

impl Revisions {
    /// The revisions to compare for a pull request, from revision `from` (0: where it left its base branch) to revision `to`
    /// (0: the newest).
    ///
    /// # Errors
    /// Where it has no such revision, or nobody knows any more where it left its base branch.
    pub fn of_pull(pull: &PullRequest, from: u32, to: u32) -> Result<Self, DiffError> {
        let head = |number: u32| {
            let found = match number {
                0 => pull.revisions.last(),
                number => pull.revisions.iter().find(|revision| revision.number == number),
            };
            let missing = || DiffError::NoPullRevision {
                repository: pull.repository.clone(),
                number: pull.number,
                revision: number,
            };
            found.map(|revision| revision.head.clone()).ok_or_else(missing)
        };
        let (old, new) = match (from, &pull.state) {
            (1.., _) => (head(from)?, head(to)?),
            (0, PullState::Merged(merge)) if merge.method == MergeMethod::FastForward => {
                let repository = &pull.repository;
                let help = format!(
                    "compare its revisions with each other (--revisions 1..2), or commits with \
                     `pilothouse diff --repo {repository} A..{}`",
                    merge.head
                );
                return Err(DiffError::Invalid(format!("its base branch was fast-forwarded to it; {help}")));
            }
            // The base branch has it by now: as it was before.
            (0, PullState::Merged(merge)) => (format!("{}^1", merge.commit), head(to)?),
            (0, _) => (format!("refs/heads/{}", pull.base_branch), head(to)?),
        };
        Ok(Self { repository: pull.repository.clone(), old, new, since_merge_base: from == 0 })
    }
}

#[cfg(test)]
mod tests {
    use hostd_core::{
        ForgeId,
        pulls::{Author, Merge, NewPull, Revision},
    };

    use super::*;

    fn pull(state: PullState) -> PullRequest {
        let new = NewPull {
            forge: ForgeId::local(),
            repository: "a".into(),
            title: "t".into(),
            body: String::new(),
            author: Author { session: String::new(), slug: String::new() },
            head_branch: "h".into(),
            base_branch: "main".into(),
        };
        let mut pull = PullRequest::new(new, 3, "one".into(), 0);
        pull.revisions.push(Revision { number: 2, head: "two".into(), forced: true, at: 0 });
        pull.state = state;
        pull
    }

    fn merged(method: MergeMethod) -> PullState {
        PullState::Merged(Merge { by: "me".into(), head: "two".into(), commit: "m".into(), method, at: 0 })
    }

    #[test]
    fn revisions_of_a_pull_request() {
        let of =
            |state, from, to| Revisions::of_pull(&pull(state), from, to).map(|r| (r.old, r.new, r.since_merge_base));
        assert_eq!(of(PullState::Open, 0, 0).unwrap(), ("refs/heads/main".into(), "two".into(), true));
        assert_eq!(of(PullState::Open, 0, 1).unwrap(), ("refs/heads/main".into(), "one".into(), true));
        assert_eq!(of(PullState::Open, 1, 2).unwrap(), ("one".into(), "two".into(), false));
        assert_eq!(of(merged(MergeMethod::Squash), 0, 0).unwrap(), ("m^1".into(), "two".into(), true));
        assert!(matches!(of(merged(MergeMethod::FastForward), 0, 0), Err(DiffError::Invalid(_))));
        assert!(matches!(of(PullState::Open, 0, 3), Err(DiffError::NoPullRevision { .. })));
    }
}
