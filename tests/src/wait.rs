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
pub fn until<T>(what: &str, within: Duration, poll: impl FnMut() -> Option<T>) -> T {
    unless_late(within, poll).unwrap_or_else(|| panic!("waited {within:?} in vain: {what}"))
}

/// Asks `poll` until it has an answer; None: it had none `within` that time.
pub fn unless_late<T>(within: Duration, mut poll: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + within;
    loop {
        let answer = poll();
        if answer.is_some() || Instant::now() >= end {
            return answer;
        }
        thread::park_timeout(Duration::from_millis(25));
    }
}
