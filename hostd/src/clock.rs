//! The time of day, as the store and the API have it.

/// Milliseconds since the Unix epoch.
pub(crate) fn now() -> hostd_core::UnixMillis {
    jiff::Timestamp::now().as_millisecond()
}
