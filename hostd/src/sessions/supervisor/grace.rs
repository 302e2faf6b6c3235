use std::{future::pending, time::Duration};

use tokio::time::Instant;

/// Least time between two tries, however short the grace is.
const AGAIN: Duration = Duration::from_secs(1);
/// Longest time until it is seen that what the grace was put off for is over.
const LOOK: Duration = Duration::from_secs(10);

/// How long a session that waits may go on waiting in memory.
#[derive(Default)]
pub(super) struct Grace(Option<(Duration, Instant)>);

impl Grace {
    /// Begins to run, stops, or runs on.
    pub(super) fn set(&mut self, after: Option<Duration>) {
        self.0 = match (after, self.0) {
            (Some(after), Some((same, until))) if after == same => Some((same, until)),
            (Some(after), _) => Some((after, Instant::now() + after)),
            (None, _) => None,
        };
    }

    /// It is over, and runs anew: what is done then may fail, and is not tried again at once.
    pub(super) fn again(&mut self) {
        self.0 = self.0.map(|(after, _)| (after, Instant::now() + after.max(AGAIN)));
    }

    /// It is over and would be too early: it lasts longer by a while, at most as long as it is.
    pub(super) fn put_off(&mut self) {
        self.0 = self.0.map(|(after, _)| (after, Instant::now() + after.clamp(AGAIN, LOOK)));
    }

    pub(super) async fn over(&self) {
        match self.0 {
            Some((_, until)) => tokio::time::sleep_until(until).await,
            None => pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_fails_at_its_end_is_not_tried_again_at_once() {
        for after in [Duration::ZERO, Duration::from_secs(60)] {
            let (mut grace, began) = (Grace::default(), Instant::now());
            for tries in 1..=3 {
                grace.set(Some(after));
                grace.over().await;
                grace.again();
                assert!(Instant::now() - began >= after * tries);
            }
            grace.set(Some(after));
            let last = Instant::now();
            grace.over().await;
            assert!(Instant::now() - last >= AGAIN);
        }
    }
}
