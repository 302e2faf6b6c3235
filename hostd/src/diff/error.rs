use std::io;

use hostd_core::diff::Malformed;

/// Why there is no difference to show. The text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum DiffError {
    /// There is no repository of this name.
    #[error("there is no repository `{0}` on this host; `pilothouse repo ls` lists them")]
    NoRepository(String),
    /// The repository has no such revision.
    #[error(
        "repository `{repository}` has no revision `{revision}`; name two that it has, each a branch, a tag or a commit id, \
         with `pilothouse diff --repo {repository} A..B`"
    )]
    NoRevision {
        /// Name of the repository.
        repository: String,
        /// Revision that was asked for.
        revision: String,
    },
    /// The pull request has no revision of this number.
    #[error(
        "{repository}#{number} has no revision {revision}; `pilothouse review show {repository}#{number}` lists them"
    )]
    NoPullRevision {
        /// Name of the pull request's repository.
        repository: String,
        /// Number of the pull request.
        number: u64,
        /// Number of the revision that was asked for.
        revision: u32,
    },
    /// The two commits have no common history.
    #[error(
        "`{old}` and `{new}` have no common history; compare them with `pilothouse diff --repo {repository} {old}..{new}`"
    )]
    NoMergeBase {
        /// Name of the repository.
        repository: String,
        /// The old revision, as it was asked for.
        old: String,
        /// The new revision, as it was asked for.
        new: String,
    },
    /// The session works on no repository of the forge.
    #[error("the session's environment has no repository, so there is nothing to compare its files with")]
    NothingToCompare,
    /// The request asks for what is not allowed.
    #[error("{0}")]
    Invalid(String),
    /// The guest could not say what its working tree has.
    #[error("the session's working tree cannot be read: {0}")]
    WorkingTree(String),
    /// Large files have waited for their turn too long.
    #[error("too many large files are being compared on this host; end another diff and try again")]
    Busy,
    /// git is not there, did not answer in time, or a file cannot be written.
    #[error("git: {0}; is git installed, and is there room in the data folder?")]
    Git(#[from] io::Error),
    /// git ended with an error; what it said.
    #[error("git could not compare them: {0}")]
    Failed(String),
    /// git's list of changed files is malformed.
    #[error("git answered unexpectedly: {0}")]
    Malformed(#[from] Malformed),
}
