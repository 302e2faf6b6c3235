//! Snapshots: a clone's memory as a delta against its template, and how it lies on disk.

pub mod delta;
mod parallel;
pub mod store;

use std::{io, path::PathBuf};

/// Why a snapshot cannot be written or used.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// A file of it.
    #[error("{path}: {error}")]
    Io {
        /// Which.
        path: PathBuf,
        /// What went wrong.
        error: io::Error,
    },
    /// It is not what was written.
    #[error("{path} is damaged: {what}")]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What does not fit.
        what: String,
    },
    /// It cannot be loaded on this machine as it is.
    #[error("the snapshot {path} cannot be resumed: {why}")]
    Refused {
        /// Its folder.
        path: PathBuf,
        /// What differs.
        why: String,
    },
}
