use std::{io, path::PathBuf};

/// Why a copy has ended before its end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system refused something at this path, which begins at the place of the copy.
    #[error("{path}: {error}", path = path.display())]
    File {
        /// Path from the place of the copy on.
        path: PathBuf,
        /// Error of the system.
        error: io::Error,
    },
    /// Something is at this path already, and was not to be written over.
    #[error("{} is there already", .0.display())]
    Exists(PathBuf),
    /// The stream ended before its last frame, or could not be written.
    #[error("the other end broke off: {0}")]
    Cut(io::Error),
    /// The stream holds something that no sender writes.
    #[error("the other end sent what cannot be: {0}")]
    Malformed(&'static str),
    /// The copy has more than the receiver takes.
    #[error("the copy has more than {0} bytes")]
    TooLarge(u64),
}
