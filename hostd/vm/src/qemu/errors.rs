//! Errors of QEMU, as those who start VMs see them.

use super::qmp::QmpError;
use crate::{VmError, program::QEMU};

/// The error that QEMU has failed with these words.
pub(super) fn said(output: &str) -> VmError {
    VmError::Failed { program: QEMU.name.into(), output: output.into() }
}

/// The error of a command that QEMU refused, or did not answer.
pub(super) fn refused(error: QmpError) -> VmError {
    said(&error.to_string())
}

/// The error of a request to a VM that has ended.
pub(super) fn gone() -> VmError {
    said("the VM has ended")
}

/// Runs work that blocks on a thread of its own; work that panics is an error.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, VmError> + Send + 'static,
) -> Result<T, VmError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(said(&error.to_string())))
}
