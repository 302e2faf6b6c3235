use std::io;

use hostd_core::diff::Malformed;

/// Why there is no difference to show. The text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum DiffError {
    /// No such repository.
    #[error("there is no repository `{0}` on this host; `pilothouse repo ls` lists them")]
    NoRepository(String),
    /// It has no such commit.
    #[error(
        "repository `{repository}` has no revision `{revision}`; name two that it has, each a branch, a tag or a commit id, \
         with `pilothouse diff --repo {repository} A..B`"
    )]
    NoRevision {
        /// Its name.
        repository: String,
        /// Asked for.
        revision: String,
    },
    /// The pull request has no such revision.
    #[error(
        "{repository}#{number} has no revision {revision}; `pilothouse review show {repository}#{number}` lists them"
    )]
    NoPullRevision {
        /// Its repository's name.
        repository: String,
        /// Its number.
        number: u64,
        /// Asked for.
        revision: u32,
    },
    /// Two commits without a common past.
    #[error(
        "`{old}` and `{new}` have no common history; compare them with `pilothouse diff --repo {repository} {old}..{new}`"
    )]
    NoMergeBase {
        /// Their repository's name.
        repository: String,
        /// Asked for.
        old: String,
        /// Asked for.
        new: String,
    },
    /// The session works on no repository of the forge.
    #[error("the session's environment has no repository, so there is nothing to compare its files with")]
    NothingToCompare,
    /// Something in the request is not allowed.
    #[error("{0}")]
    Invalid(String),
    /// The guest could not say what its working tree has.
    #[error("the session's working tree cannot be read: {0}")]
    WorkingTree(String),
    /// Large files wait for their turn too long.
    #[error("too many large files are being compared on this host; end another diff and try again")]
    Busy,
    /// git is not there, did not answer in time, or a file cannot be written.
    #[error("git: {0}; is git installed, and is there room in the data folder?")]
    Git(#[from] io::Error),
    /// git says no.
    #[error("git could not compare them: {0}")]
    Failed(String),
    /// git answers what it never should.
    #[error("git answered unexpectedly: {0}")]
    Malformed(#[from] Malformed),
}
