//! Waiting: for a condition, with a deadline, never for a time.

use std::{
    thread,
    time::{Duration, Instant},
};

/// Longest time of a cold boot on a busy machine without KVM.
pub const BOOT: Duration = Duration::from_secs(180);
/// Longest time of anything else there.
pub const SOON: Duration = Duration::from_secs(60);

/// Asks `poll` until it has an answer. Panics with `what` after `within`.
pub fn until<T>(what: &str, within: Duration, mut poll: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + within;
    loop {
        if let Some(answer) = poll() {
            return answer;
        }
        assert!(Instant::now() < end, "waited {within:?} in vain: {what}");
        thread::park_timeout(Duration::from_millis(25));
    }
}
