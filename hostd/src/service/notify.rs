//! What systemd is told of a hostd that it has started.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::task::AbortOnDropHandle;

/// Tells systemd how this hostd stands, where systemd has started it. Dropping it ends the signs of life.
#[derive(Debug)]
pub(crate) struct Notify {
    _alive: Option<AbortOnDropHandle<()>>,
}

impl Notify {
    /// hostd serves. From now on it gives signs of life, where its unit wants them: from a task among all others, so that a
    /// runtime that hangs gives none.
    pub(crate) fn ready(status: &str) -> Self {
        tell(&[NotifyState::Ready, NotifyState::Status(status)]);
        let alive = sd_notify::watchdog_enabled().map(|within| AbortOnDropHandle::new(tokio::spawn(live(within))));
        Self { _alive: alive }
    }

    /// hostd is about to end.
    pub(crate) fn stopping(&self, status: &str) {
        tell(&[NotifyState::Stopping, NotifyState::Status(status)]);
    }
}

async fn live(within: Duration) {
    let mut ticks = interval((within / 3).max(Duration::from_millis(10)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        tell(&[NotifyState::Watchdog]);
    }
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "systemd cannot be told how hostd stands");
    }
}
