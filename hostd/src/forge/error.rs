use std::{io, path::PathBuf};

use hostd_core::pulls::Refusal;

use super::PullId;
use crate::store::StoreError;

/// Why a question to the forge has no answer. The text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum ForgeError {
    /// No such repository.
    #[error("there is no repository `{name}`; add it with `pilothouse repo add SOURCE --name {name}`")]
    NoRepository {
        /// Asked for.
        name: String,
    },
    /// The repository has no such branch.
    #[error("repository `{name}` has no branch `{branch}`; push one to {place}")]
    NoBranch {
        /// The repository.
        name: String,
        /// Asked for.
        branch: String,
        /// Where it is: a path on this host, or a URL.
        place: String,
    },
    /// Its HEAD names no branch that is there.
    #[error("repository `{name}` has no default branch: {why}; {help}")]
    NoDefaultBranch {
        /// The repository.
        name: String,
        /// What is wrong with its HEAD.
        why: String,
        /// What to do.
        help: String,
    },
    /// The repository has no such commit.
    #[error("repository `{name}` has no commit `{commit}`; give its whole id, as `git rev-parse HEAD` prints it")]
    NoCommit {
        /// The repository.
        name: String,
        /// Asked for.
        commit: String,
    },
    /// No such pull request.
    #[error("there is no pull request {0}; `pilothouse review ls --all` lists them")]
    NoPull(PullId),
    /// What a comment is about is not there.
    #[error("{0}")]
    NoPlace(String),
    /// Something in the request is not allowed.
    #[error("{0}")]
    Invalid(String),
    /// The rules refuse it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It cannot be merged as it is.
    #[error("{0}")]
    NotMergeable(String),
    /// Both sides changed the same.
    #[error("{id} conflicts with `{base}` in {}; merge or rebase `{base}` into it, and push", .paths.join(", "))]
    Conflicts {
        /// The pull request.
        id: PullId,
        /// The branch it is to be merged into.
        base: String,
        /// Where, at most [`ForgeError::PATHS`].
        paths: Vec<String>,
    },
    /// A repository could not be brought in; nothing of it is left.
    #[error("{0}")]
    NotImported(String),
    /// The name belongs to another repository.
    #[error("there is a repository `{0}` already; choose another name with --name")]
    Taken(String),
    /// A forge elsewhere did not answer, or takes no more questions for now: it is worth asking again.
    #[error("{0}")]
    Unavailable(String),
    /// git is not there, or did not answer.
    #[error("git: {0}; is git installed?")]
    Git(io::Error),
    /// git answered otherwise than it should.
    #[error("{what} failed: git says: {said}")]
    GitFailed {
        /// What was to be done.
        what: &'static str,
        /// Its words.
        said: String,
    },
    /// A file of ours.
    #[error("{}: {error}", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// Not kept.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ForgeError {
    /// Most paths that are named.
    pub const PATHS: usize = 20;
}
