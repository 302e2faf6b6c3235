//! What the session's agent waits for.

use std::{future::pending, sync::Arc, time::Duration};

use hostd_core::{UnixMillis, session::Answer};
use tokio::task::AbortHandle;

use super::Supervisor;
use crate::sessions::{message::Message, now, waits};

/// How the forge is read: once at a time.
#[derive(Default)]
pub(super) struct Reading {
    /// Of the last one.
    number: u64,
    /// The one under way.
    task: Option<AbortHandle>,
    /// There was news since it began.
    stale: bool,
}

impl Supervisor {
    /// Reads the forge because the core asks for it. A reading under way begins again: what it has seen may be older than the
    /// wait that this is for, and of a head that was replaced since.
    pub(super) fn observe(&mut self) {
        self.reading.number += 1;
        self.reading.stale = false;
        let (number, host, session) = (self.reading.number, self.host.clone(), self.session());
        let messages = self.handle.messages.clone();
        let task = self.tasks.spawn(async move {
            let seen = waits::observe(&host, session).await;
            let _ = messages.send(Message::Observed { reading: number, seen }).await;
        });
        if let Some(before) = self.reading.task.replace(task) {
            before.abort();
        }
    }

    /// There may be something new. A reading under way goes on, however often that is said; the next one begins after it.
    pub(super) fn news(&mut self) {
        if self.reading.task.is_some() {
            self.reading.stale = true;
        } else {
            self.observe();
        }
    }

    /// A reading has ended. False: it is not the one that counts.
    pub(super) fn read(&mut self, number: u64) -> bool {
        if number != self.reading.number {
            return false;
        }
        self.reading.task = None;
        if self.reading.stale {
            self.observe();
        }
        true
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
