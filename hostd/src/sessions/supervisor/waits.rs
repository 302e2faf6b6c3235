//! What the session's agent waits for.

use std::{future::pending, sync::Arc, time::Duration};

use hostd_core::{
    UnixMillis,
    session::{Answer, Due},
};
use pilothouse_proto::guest::v1::AnswerRequest;
use tokio::time::sleep;

use super::{
    Supervisor,
    observe::{Reads, observe},
};
use crate::{
    clock::now,
    guest::Link,
    sessions::{message::Report, vm::resume::request},
};

/// Before an answer that did not reach the guest is sent again.
const PAUSE: Duration = Duration::from_millis(200);

impl Supervisor {
    /// Reads the forge because the core asks for it. A reading under way begins again: what it has seen may be older than the
    /// wait that this is for, and of a head that was replaced since.
    pub(super) fn observe(&mut self) {
        self.begin_reading(Reads::Again);
    }

    /// Begins to read the forge, in place of the reading under way.
    fn begin_reading(&mut self, reads: Reads) {
        self.reading.number += 1;
        self.reading.stale = false;
        let (number, ctx, session) = (self.reading.number, self.ctx.clone(), self.session());
        let reports = self.handle.reports.clone();
        let task = self.tasks.spawn(async move {
            let seen = observe(&ctx, session, reads).await;
            let _ = reports.send(Report::Observed { reading: number, seen }).await;
        });
        if let Some(before) = self.reading.task.replace(task) {
            before.abort();
        }
    }

    /// The forge says that there may be something new: it has read that itself. A reading under way goes on, however often
    /// that is said; the next one begins after it.
    pub(super) fn news(&mut self) {
        if self.reading.task.is_some() {
            self.reading.stale = true;
        } else {
            self.begin_reading(Reads::Known);
        }
    }

    /// A reading has ended. False: it is not the one that counts.
    pub(super) fn read(&mut self, number: u64) -> bool {
        if number != self.reading.number {
            return false;
        }
        self.reading.task = None;
        if self.reading.stale {
            self.begin_reading(Reads::Known);
        }
        true
    }

    /// A VM that ended this moment is reported as ended instead.
    pub(super) fn deliver(&mut self, generation: u64, wait: u64, answer: Answer) {
        let Some(running) = &self.running else { return };
        let (link, reports) = (running.live.link.clone(), self.handle.reports.clone());
        self.tasks.spawn(async move {
            if let Some(known) = hand_over(link, request(&Due { wait, answer })).await {
                let _ = reports.send(Report::Delivered { generation, known }).await;
            }
        });
    }

    /// Until when its agent waits at most, and for which wait.
    pub(super) fn limit(&self) -> Option<(u64, UnixMillis)> {
        let record = self.handle.record.borrow();
        let wait = record.session.open_wait()?;
        Some((wait.id, wait.until?))
    }
}

/// The end of a wait's time.
pub(super) async fn over(wait: Option<(u64, UnixMillis)>) -> u64 {
    let Some((id, until)) = wait else { return pending().await };
    let left = u64::try_from(until.saturating_sub(now())).unwrap_or(0);
    sleep(Duration::from_millis(left)).await;
    id
}

/// Hands an answer over. False: nobody waits for it there; None: the VM is gone.
async fn hand_over(link: Arc<Link>, request: AnswerRequest) -> Option<bool> {
    while let Some(mut client) = link.up().await {
        match client.answer(request.clone()).await {
            Ok(response) => return Some(response.into_inner().known),
            Err(error) => {
                tracing::debug!(%error, "an answer did not reach the guest");
                sleep(PAUSE).await;
            }
        }
    }
    None
}
