//! Bounds of a guest's connections that several files keep to.

use std::time::Duration;

/// Longest wait for a place among the connections.
pub(super) const PLACE: Duration = Duration::from_secs(30);
/// Longest wait for the head of a request, the wait between two included.
pub(super) const HEAD_DEADLINE: Duration = Duration::from_secs(120);
/// Longest head of a request, in bytes.
pub(super) const HEAD_BYTES: usize = 64 * 1024;
