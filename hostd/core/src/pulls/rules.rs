//! What a repository asks of its pull requests.

use serde::{Deserialize, Serialize};

/// How a pull request's commits come into the base branch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MergeMethod {
    /// The base branch gets a merge commit with the base and the head as its parents.
    #[default]
    Merge,
    /// The base branch gets one commit on top of it, with all changes of the pull request.
    Squash,
    /// The base branch is moved to the head commit; refused where the base is not an ancestor of the head.
    FastForward,
}

impl MergeMethod {
    /// Every merge method, in the order of declaration.
    pub const ALL: [Self; 3] = [Self::Merge, Self::Squash, Self::FastForward];

    /// The word of the API and of `--json`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Merge => "merge",
            Self::Squash => "squash",
            Self::FastForward => "fast-forward",
        }
    }

    /// Returns the merge method with this word; None: no method has it.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.word() == word)
    }
}

/// What people may push to a repository's default branch themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DirectPush {
    /// People may push commits on top of the default branch, but not rewrite it.
    #[default]
    FastForward,
    /// People may not push to the default branch: pull requests alone change it.
    None,
    /// People may push anything to the default branch, rewritten history included.
    Any,
}

impl DirectPush {
    /// Every kind of direct push, in the order of declaration.
    pub const ALL: [Self; 3] = [Self::FastForward, Self::None, Self::Any];

    /// The word of the API, of `--json` and of the hook that guards the branch.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::FastForward => "fast-forward",
            Self::None => "none",
            Self::Any => "any",
        }
    }

    /// Returns the kind of direct push with this word; None: no kind has it.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|push| push.word() == word)
    }
}

/// What a repository asks of its pull requests, and of who pushes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Rules {
    /// Names of the checks that must pass.
    pub required_checks: Vec<String>,
    /// Number of people who must approve the head commit before a merge.
    pub approvals: u32,
    /// Method by which pull requests of the repository are merged.
    pub method: MergeMethod,
    /// Whether the head branch stays after the merge.
    pub keep_branches: bool,
    /// What people may push to the repository's default branch.
    pub direct_push: DirectPush,
}

impl Default for Rules {
    /// The rules of a new repository: no required checks, one approval, a merge commit, head branches deleted after the merge,
    /// and people may push commits on top of the default branch.
    fn default() -> Self {
        Self {
            required_checks: vec![],
            approvals: 1,
            method: MergeMethod::Merge,
            keep_branches: false,
            direct_push: DirectPush::default(),
        }
    }
}
