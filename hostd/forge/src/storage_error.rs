//! Why the local forge's storage fails.

use std::error::Error;

/// Why nothing could be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The pull request that is asked for is not kept.
    #[error("it is not kept any more")]
    Gone,
    /// The storage is closed, as the host stops.
    #[error("the store is closed")]
    Closed,
    /// The storage cannot be read or written; the text says what to do.
    #[error(transparent)]
    Failed(Box<dyn Error + Send + Sync>),
}
