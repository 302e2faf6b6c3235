use std::{future::pending, time::Duration};

use tokio::time::Instant;

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

    pub(super) async fn over(&self) {
        match self.0 {
            Some((_, until)) => tokio::time::sleep_until(until).await,
            None => pending().await,
        }
    }
}
