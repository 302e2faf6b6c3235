use std::{io, path::PathBuf};

use hostd_core::pulls::Refusal;

use super::{PullId, StorageError};

/// Why a question to the forge has no answer. The text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum ForgeError {
    /// There is no repository of this name.
    #[error("there is no repository `{name}`; add it with `pilothouse repo add SOURCE --name {name}`")]
    NoRepository {
        /// Name that was asked for.
        name: String,
    },
    /// The repository has no branch of this name.
    #[error("repository `{name}` has no branch `{branch}`; push one to {place}")]
    NoBranch {
        /// Name of the repository.
        name: String,
        /// Branch that was asked for.
        branch: String,
        /// Where the repository is: a path on this host, or a URL.
        place: String,
    },
    /// The repository's HEAD names no branch that is there.
    #[error("repository `{name}` has no default branch: {why}; {help}")]
    NoDefaultBranch {
        /// Name of the repository.
        name: String,
        /// What is wrong with the repository's HEAD.
        why: String,
        /// What to do, in words for a person.
        help: String,
    },
    /// The repository has no commit of this id.
    #[error("repository `{name}` has no commit `{commit}`; give its whole id, as `git rev-parse HEAD` prints it")]
    NoCommit {
        /// Name of the repository.
        name: String,
        /// Commit that was asked for.
        commit: String,
    },
    /// There is no pull request of this number.
    #[error("there is no pull request {0}; `pilothouse review ls --all` lists them")]
    NoPull(PullId),
    /// The file or line that a comment is about is not there.
    #[error("{0}")]
    NoPlace(String),
    /// The request asks for what is not allowed.
    #[error("{0}")]
    Invalid(String),
    /// The rules of pull requests refuse it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The pull request cannot be merged as it is.
    #[error("{0}")]
    NotMergeable(String),
    /// The head and the base branch conflict.
    #[error("{id} conflicts with `{base}`{}; merge or rebase `{base}` into it, and push", place(.paths, .said))]
    Conflicts {
        /// The pull request; boxed, since errors are to be small.
        id: Box<PullId>,
        /// Branch that the pull request is to be merged into.
        base: String,
        /// Paths that conflict; empty where git names none.
        paths: Vec<String>,
        /// git's words about the conflicts.
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
    /// Sessions or environments work with the repository.
    #[error("`{name}` is used by {by}; {help}")]
    InUse {
        /// Name of the repository.
        name: String,
        /// What works with the repository, in words for a person.
        by: String,
        /// What to do first, in words for a person.
        help: String,
    },
    /// The disk has no room for what is to be written.
    #[error("{0}")]
    NoRoom(String),
    /// A forge elsewhere did not answer, or takes no more questions for now: it is worth asking again.
    #[error("{0}")]
    Unavailable(String),
    /// git is not there, or did not answer.
    #[error("git: {0}; is git installed?")]
    Git(io::Error),
    /// git failed where it should not.
    #[error("{what} failed: git says: {said}")]
    GitFailed {
        /// What git was to do, in words for a person.
        what: &'static str,
        /// git's words on its error output.
        said: String,
    },
    /// A file of the data folder cannot be read or written.
    #[error("{}: {error}", .path.display())]
    File {
        /// Path of the file.
        path: PathBuf,
        /// Error of the system.
        error: io::Error,
    },
    /// What the forge keeps cannot be read or written.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl ForgeError {
    /// Most paths of a conflict that are named.
    pub const PATHS: usize = 20;
}

/// Paths of a conflict, and what it is in git's words.
fn place(paths: &[String], said: &[String]) -> String {
    let mut text = if paths.is_empty() { String::new() } else { format!(" in {}", paths.join(", ")) };
    if !said.is_empty() {
        text.push_str(&format!(" (git says: {})", said.join("; ")));
    }
    text
}
