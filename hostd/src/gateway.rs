//! The guests' only way out: an HTTP/1.1 proxy that knows who asks, because each guest has its own link.

use std::path::PathBuf;

use crate::vm::Io;

/// Whose guest it is that asks, and what it may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Session id, or the id of a build.
    pub session_id: String,
    /// For messages.
    pub slug: String,
    /// Its environment's name, for messages.
    pub environment: String,
    /// The repository of the local forge that it may read, e.g. `widgets`.
    pub repository: Option<String>,
    /// It may push to `refs/heads/<branch_prefix>*` of that repository, e.g. `agent/fix-parser-3f/`. None: it may not push.
    pub branch_prefix: Option<String>,
    /// `host:port` destinations that it may reach.
    pub egress: Vec<String>,
}

/// Serves guests' connections to the world.
#[derive(Debug)]
pub struct Gateway {
    git_root: PathBuf,
}

impl Gateway {
    /// A gateway whose repositories are the `NAME.git` folders in `git_root`.
    #[must_use]
    pub fn new(git_root: PathBuf) -> Self {
        Self { git_root }
    }

    /// Serves one HTTP/1.1 proxy connection until either side ends it. Every byte of `io` is foreign.
    pub async fn serve(&self, caller: &Caller, io: impl Io) {
        let _ = (&self.git_root, caller, io);
    }
}
