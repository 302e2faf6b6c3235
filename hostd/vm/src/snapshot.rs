//! Snapshots: a clone's memory as a delta against its template, and how it lies on disk.

pub mod delta;
mod parallel;
pub mod store;

use std::{io, path::PathBuf};

/// File name of a delta in a snapshot's folder.
pub(crate) const MEMORY_NAME: &str = "memory.zst";
/// File name of the device state in a snapshot's folder.
pub(crate) const DEVICES_NAME: &str = "devices";
/// File name of a template's RAM in its folder.
pub(crate) const RAM_NAME: &str = "ram";

/// Why a snapshot cannot be written or used.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// A file of the snapshot cannot be read or written.
    #[error("{path}: {error}")]
    Io {
        /// Path of the file.
        path: PathBuf,
        /// Error of the system.
        error: io::Error,
    },
    /// A file of the snapshot is not what was written.
    #[error("{path} is damaged: {what}")]
    Damaged {
        /// Path of the file.
        path: PathBuf,
        /// What does not fit, in words for a person.
        what: String,
    },
    /// The snapshot cannot be loaded on this machine as it is.
    #[error("the snapshot {path} cannot be resumed: {why}")]
    Refused {
        /// Path of the snapshot's folder.
        path: PathBuf,
        /// What differs, in words for a person.
        why: String,
    },
}
