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
    /// The two sides do not fit together.
    #[error("{id} conflicts with `{base}`{}; merge or rebase `{base}` into it, and push", place(.paths, .said))]
    Conflicts {
        /// The pull request.
        id: PullId,
        /// The branch it is to be merged into.
        base: String,
        /// Where; empty where git names no path.
        paths: Vec<String>,
        /// What git says of it.
        said: Vec<String>,
    },
    /// A repository could not be brought in; nothing of it is left.
    #[error("{0}")]
    NotImported(String),
    /// New commits could not be brought in from a repository's upstream.
    #[error("{0}")]
    NotFetched(String),
    /// A repository's upstream did not take what was pushed.
    #[error("{0}")]
    NotPushed(String),
    /// The name belongs to another repository.
    #[error(
        "there is a repository `{0}` already; `pilothouse repo fetch {0}` brings in what is new at its upstream, or choose \
         another name"
    )]
    Taken(String),
    /// Something else is being done with the repository.
    #[error("`{0}` is being fetched into, merged into, renamed or removed at this moment; try again when that is over")]
    Busy(String),
    /// Something works with the repository.
    #[error("`{name}` is used by {by}; {help}")]
    InUse {
        /// The repository.
        name: String,
        /// By what.
        by: String,
        /// What to do first.
        help: String,
    },
    /// The disk has no room for it.
    #[error("{0}")]
    NoRoom(String),
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

/// Where a conflict is, and in git's words what it is.
fn place(paths: &[String], said: &[String]) -> String {
    let mut text = if paths.is_empty() { String::new() } else { format!(" in {}", paths.join(", ")) };
    if !said.is_empty() {
        text.push_str(&format!(" (git says: {})", said.join("; ")));
    }
    text
}
