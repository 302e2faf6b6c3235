//! The layers of a container image as one root file system in an ext4 image.
//!
//! ```text
//! layers (tar, gzip, zstd) ──▶ archive: entries ──▶ tree: later layers win, whiteouts drop
//!            │                                        │ plan: an inode and blocks for each
//!            └──────── once more, for the contents ───▶ ext4: written into a file system that mke2fs has made
//! ```
//! Nothing of an image becomes a file of the host: its names, owners, modes, devices and links are data here, and go into the
//! image's own inodes. So no right is needed, whatever the image's users are, and a layer cannot reach the host. Each layer is
//! read twice, so that contents which later layers hide are never written.

mod archive;
mod error;
mod ext4;
mod field;
mod layer;
mod one_file;
mod pax;
mod read;
mod sparse;
#[cfg(test)]
mod tests;
mod tree;
mod watch;
mod write;

pub use error::ImageError;
pub use layer::Bounds;
pub use one_file::one_file;
pub use tree::Tree;
pub use watch::Watch;
pub use write::Image;

/// Bytes of a block of the file systems that are written.
pub const BLOCK: u64 = 4096;
