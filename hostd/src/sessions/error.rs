use crate::{diff::DiffError, environments::EnvironmentError, store::StoreError};

/// Why a request to the fleet was not carried out. The text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    /// No session has this id or slug.
    #[error("there is no session `{0}`; `pilothouse ls` lists them")]
    NotFound(String),
    /// Several sessions have ids or slugs that begin so.
    #[error("`{asked}` could be any of {}; give more of it", .candidates.join(", "))]
    Ambiguous {
        /// What was asked for.
        asked: String,
        /// Slugs of those it could be.
        candidates: Vec<String>,
    },
    /// Something in the request is not allowed.
    #[error("{0}")]
    Invalid(String),
    /// The session's state does not allow it.
    #[error("{0}")]
    Denied(String),
    /// The session has no running VM to do it in.
    #[error("{0}")]
    NotRunning(String),
    /// The host cannot start VMs.
    #[error("this host cannot start VMs: {}", .0.join("; "))]
    HostNotReady(Vec<String>),
    /// The host is drained.
    #[error("{0}")]
    Drained(String),
    /// Whether the host is drained could not be changed.
    #[error(
        "that the host is drained, or is not, cannot be kept: {0}; see to the disk of hostd's data folder and try again"
    )]
    NotDrained(String),
    /// The VM would not fit this host.
    #[error("the session's VM needs {} MiB of memory, but this host gives at most {} MiB; lower `size.memory` of its environment", .needed >> 20, .host >> 20)]
    TooLarge {
        /// Bytes of memory that the VM needs.
        needed: u64,
        /// Bytes of memory that the host gives at most.
        host: u64,
    },
    /// The session's environment cannot be used.
    #[error(transparent)]
    Environment(#[from] EnvironmentError),
    /// The session's changes cannot be shown.
    #[error(transparent)]
    Diff(#[from] DiffError),
    /// What was asked for could not be kept in the store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The session could not be put to disk; it runs on, or its VM has ended.
    #[error("not suspended: {0}")]
    NotSuspended(String),
    /// There is no room for a copy of a session that lies on disk.
    #[error(
        "no room for a copy of the session's VM, to read its changes in: {0}; try again later, or bring the session back"
    )]
    NoRoom(String),
    /// The changes of a session on disk could not be read in a copy of it; the session is as it was.
    #[error("the session's changes cannot be read in a copy of its VM: {0}")]
    NotRead(String),
    /// No fork was made of the session, and nothing of one is left.
    #[error("the session could not be forked: {0}")]
    NotForked(String),
    /// No checkpoint was taken of the session, which runs on.
    #[error("no checkpoint could be taken: {0}")]
    NotCheckpointed(String),
    /// The session could not go back to a checkpoint; it is as it was.
    #[error("the session could not go back to its checkpoint: {0}")]
    NotRestored(String),
    /// The session's files could not be removed.
    #[error("the session could not be removed: {0}; put that right and delete it again")]
    NotRemoved(String),
    /// What happened to the session cannot be committed; the text says why, and what to do.
    #[error("the session {0}")]
    StandsStill(String),
    /// hostd is ending.
    #[error("hostd is stopping; try again when it is back")]
    Stopping,
}
