use std::io;

/// Why an image is not written. The text is for people.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// A layer is not what it should be, or asks for more than is given.
    #[error("layer {number}: {why}")]
    Layer {
        /// Number of the layer, from 1 at the bottom.
        number: usize,
        /// What is the matter.
        why: String,
    },
    /// All layers together ask for more than is given.
    #[error("{0}")]
    Bound(String),
    /// What is in the image does not fit the file system.
    #[error("the image does not fit: {0}; raise `size.disk`")]
    Full(String),
    /// The file system is none that can be written here.
    #[error("the file system that mke2fs has made is not as expected: {0}")]
    FileSystem(String),
    /// A file cannot be read or written.
    #[error("{what}: {error}")]
    Io {
        /// What was being done.
        what: String,
        /// Error of the system.
        error: io::Error,
    },
    /// Whoever watches wants no more of it.
    #[error("it was ended")]
    Stopped,
}

impl ImageError {
    /// Converts an IO error.
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        |error| Self::Io { what, error }
    }
}
