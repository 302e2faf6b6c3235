//! Files and folders as a stream of bytes: what `pilothouse cp` and the guest's `session copy` hand each other.
//!
//! The stream is a sequence of [frames](wire::Frame), each a protobuf message behind its length. A folder is entered, filled and
//! left again, so a frame never has a path but one name at most, and whoever receives keeps the folder open: nothing that a
//! sender says, and no link that it makes, leads out of the place that the receiver chose. As tar does for people who are not root, it keeps the
//! permissions of files and folders as far as the receiver's umask lets them, times of modification, symbolic links, and hard links among what is copied. It does not keep owners,
//! set-user-id bits, extended attributes and holes; devices, sockets and pipes are left out.

mod error;
mod place;
mod receive;
mod send;
mod tally;
#[cfg(test)]
mod tests;
pub mod wire;

pub use error::Error;
pub use place::Place;
pub use receive::{Options, receive};
pub use send::send;
pub use tally::Tally;
pub use wire::DEPTH_MAX;
