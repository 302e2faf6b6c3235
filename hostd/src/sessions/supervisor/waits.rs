//! What the session's agent waits for.

use std::{future::pending, sync::Arc, time::Duration};

use hostd_core::{UnixMillis, session::Answer};

use super::{Message, Supervisor};
use crate::sessions::{now, waits};

impl Supervisor {
    /// Reads the forge; a reading under way begins again.
    pub(super) fn observe(&mut self) {
        let (forge, session, messages) = (self.host.parts.forge.clone(), self.session(), self.handle.messages.clone());
        let reading = self.tasks.spawn(async move {
            let seen = waits::observe(forge, session).await;
            let _ = messages.send(Message::Observed(seen)).await;
        });
        if let Some(before) = self.observing.replace(reading) {
            before.abort();
        }
    }

    /// A VM that ended this moment is reported as ended instead.
    pub(super) fn tell(&mut self, generation: u64, wait: u64, answer: Answer) {
        let Some(running) = &self.running else { return };
        let (link, messages) = (running.live.link.clone(), self.handle.messages.clone());
        self.tasks.spawn(async move {
            if let Some(known) = waits::tell(link, wait, answer).await {
                let _ = messages.send(Message::Told { generation, known }).await;
            }
        });
    }

    /// Until when its agent waits at most, and for which wait.
    pub(super) fn limit(&self) -> Option<(u64, UnixMillis)> {
        let record = self.handle.record.borrow();
        let wait = record.session.open_wait()?;
        Some((wait.id, wait.until?))
    }

    /// Committed with the input that follows, or a later one.
    pub(super) fn heard(&self, sequence: u64) {
        self.handle.record.send_modify(|record| Arc::make_mut(record).machine.heard = sequence);
    }
}

/// The end of a wait's time.
pub(super) async fn over(wait: Option<(u64, UnixMillis)>) -> u64 {
    let Some((id, until)) = wait else { return pending().await };
    let left = u64::try_from(until.saturating_sub(now())).unwrap_or(0);
    tokio::time::sleep(Duration::from_millis(left)).await;
    id
}
