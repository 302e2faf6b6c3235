//! Files and folders as a stream of bytes: what `pilothouse cp` and the guest's `session copy` hand each other.
//!
//! The stream is a sequence of [frames](wire::Frame), each a protobuf message behind its length. A folder is entered, filled and
//! left again, so a frame never has a path but one name at most, and whoever receives keeps the folder open: nothing that a
//! sender says, and no link that it makes, leads out of the place that the receiver chose. As tar does, it keeps the
//! permissions of files and folders, times of modification, symbolic links, and hard links among what is copied. It does not keep owners,
//! set-user-id bits, extended attributes and holes; devices, sockets and pipes are left out.

mod place;
mod receive;
mod send;
mod tally;
#[cfg(test)]
mod tests;
pub mod wire;

pub use place::Place;
pub use receive::{Options, receive};
pub use send::send;
pub use tally::Tally;

/// Most folders within each other.
pub const DEPTH_MAX: usize = 256;

/// Why a copy has ended before its end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system refused something at this path, which begins at the place of the copy.
    #[error("{path}: {error}", path = path.display())]
    File {
        /// Path from the place of the copy on.
        path: std::path::PathBuf,
        /// Error of the system.
        error: std::io::Error,
    },
    /// Something is at this path already, and was not to be written over.
    #[error("{} is there already", .0.display())]
    Exists(std::path::PathBuf),
    /// The stream ended before its last frame, or could not be written.
    #[error("the other end broke off: {0}")]
    Cut(std::io::Error),
    /// The stream holds something that no sender writes.
    #[error("the other end sent what cannot be: {0}")]
    Malformed(&'static str),
    /// The copy has more than the receiver takes.
    #[error("the copy has more than {0} bytes")]
    TooLarge(u64),
}
