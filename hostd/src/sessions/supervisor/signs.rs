//! What the terminal shows of an agent that says nothing of itself.

use std::{future::pending, ops::ControlFlow, time::Duration};

use hostd_core::{Activity, Input, Lifecycle, UnixMillis};

use super::Supervisor;
use crate::clock::now;

impl Supervisor {
    /// Tells the core what is seen now, where it is something else than what it knows and counts.
    pub(super) async fn look_at_signs(&mut self) -> ControlFlow<()> {
        let (sign, next) = self.handle.terminal.sign(now());
        self.signs_due = next;
        let (generation, input) = {
            let record = self.handle.record.borrow();
            let session = &record.session;
            let counts = session.lifecycle == Lifecycle::Running && session.activity == Activity::Working;
            (session.generation, sign.filter(|sign| counts && *sign != session.sign))
        };
        match input {
            Some(sign) => self.report(Input::Seen { generation, sign }).await,
            None => ControlFlow::Continue(()),
        }
    }
}

/// Until it is time to look again.
pub(super) async fn due(at: Option<UnixMillis>) {
    let Some(at) = at else { return pending().await };
    tokio::time::sleep(Duration::from_millis(u64::try_from(at.saturating_sub(now())).unwrap_or(0))).await;
}
