//! Why the guest does not come up.

use std::io;

/// Why the guest does not come up.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {error}")]
pub(super) struct BootError {
    pub(super) what: String,
    pub(super) error: io::Error,
}

/// Names what was being done when an error came.
pub(super) trait Doing<T> {
    fn doing(self, what: impl Into<String>) -> Result<T, BootError>;
}

impl<T, E: Into<io::Error>> Doing<T> for Result<T, E> {
    fn doing(self, what: impl Into<String>) -> Result<T, BootError> {
        self.map_err(|error| BootError { what: what.into(), error: error.into() })
    }
}
