//! hostd ends: what runs is left to the next hostd, or put to disk, so that it goes on with that, or powered off.

use std::time::Duration;

use hostd_core::{Actor, Cause, Input};
use tokio::time::{Instant, timeout_at};

use super::{Supervisor, under_way::Suspending};
use crate::sessions::message::AtStop;

/// For a message that is being typed, or an answer that is being handed over, to be taken.
const TAKEN: Duration = Duration::from_secs(2);

impl Supervisor {
    /// What had not begun begins again with the next hostd. What cannot be put to disk in time, where it is to be, is powered off.
    pub(super) async fn stop(&mut self, until: Instant, vms: AtStop) {
        self.patience.get_or_insert(self.ctx.timings.last_tries);
        if self.take_reports().await.is_break() {
            return;
        }
        let leave = vms == AtStop::Leave;
        if leave {
            self.leave_adoption().await;
        } else if let Err(cause) = self.settle_adoption(until).await {
            let generation = self.session().generation;
            let _ = self.feed(Input::VmEnded { generation, cause }).await;
        }
        if timeout_at(until, self.settle_fork()).await.is_err() {
            self.give_up_fork(leave).await;
        }
        if !leave {
            self.let_it_be_taken().await;
        }
        if let Some(suspending) = self.suspending.take() {
            self.suspend_until(suspending, until, leave).await;
        } else if vms == AtStop::Suspend && self.running.is_some() {
            let ctx = self.ctx.clone();
            if let Ok(Ok(_turn)) = timeout_at(until, ctx.turns.suspends.acquire()).await {
                self.put_down(until).await;
            }
        }
        if leave && let Some(running) = self.running.take() {
            self.handle.live.send_replace(None);
            running.leave().await;
        }
        if let Some(running) = self.running.take() {
            self.handle.live.send_replace(None);
            let generation = running.generation;
            let in_order = running.power_off().await;
            let _ = self.feed(Input::VmEnded { generation, cause: Cause::HostStopped { in_order } }).await;
        }
        self.end().await;
    }

    async fn put_down(&mut self, until: Instant) {
        // Where it cannot be kept, a snapshot would be of a session that nobody knows to be suspended.
        if let Err(error) = self.obey(&Actor::Host, Input::HostStops).await {
            tracing::error!(slug = self.session().slug, %error, "it is powered off instead of suspended");
            return;
        }
        self.suspend();
        if let Some(suspending) = self.suspending.take() {
            self.suspend_until(suspending, until, false).await;
        }
    }

    /// What it comes to is kept, and not carried out any more. One that takes longer is left as it is where it may be: it ends with
    /// hostd, which leaves its VM alone, and the next hostd does it again, or finds it done.
    async fn suspend_until(&mut self, mut suspending: Suspending, until: Instant, leave: bool) {
        let result = match timeout_at(until, &mut suspending).await {
            Ok(result) => result,
            Err(_) if leave => {
                tracing::warn!(slug = self.handle.slug, "the suspend of a session is left to the next hostd");
                return;
            }
            Err(_) => {
                suspending.abort();
                suspending.await
            }
        };
        match result {
            Err(error) if error.is_cancelled() => self.cut_off().await,
            result => {
                if let Some((input, machine)) = self.suspended(result).await {
                    let _ = self.feed_with(input, machine).await;
                }
            }
        }
    }

    /// Of a fork that takes longer than hostd has time, nothing more happens: its VM is left where it may be, else it is ended.
    async fn give_up_fork(&mut self, leave: bool) {
        tracing::warn!(slug = self.handle.slug, leave, "a fork of a session was not done in time");
        self.forking = None;
        if !leave {
            self.cut_off().await;
        }
    }

    /// Ends what a task that was cut off has left of the session's VM.
    async fn cut_off(&mut self) {
        self.end_left().await;
        let (generation, cause) = (self.session().generation, Cause::HostStopped { in_order: false });
        let _ = self.feed(Input::VmEnded { generation, cause }).await;
    }

    /// What is on its way into the guest is reported; it would be typed a second time after the suspend.
    async fn let_it_be_taken(&mut self) {
        let until = Instant::now() + TAKEN;
        while self.session().typing || self.session().delivering {
            let Ok(Some(report)) = timeout_at(until, self.reports.recv()).await else { return };
            if self.reported(report).await.is_break() {
                return;
            }
        }
    }
}
