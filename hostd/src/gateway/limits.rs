//! Which sessions models' APIs answer nothing for now, as the answers that pass say it.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use hostd_core::{
    reports::{Report, State},
    usage::Limit,
};
use tokio::sync::watch;

use crate::clock::now;

/// The last refusal of each session, by its id, until the same API answers the session.
#[derive(Debug, Default)]
pub struct Limits(Mutex<HashMap<String, watch::Sender<Option<Report>>>>);

impl Limits {
    /// Begins to watch a session of which this was known.
    pub fn open(&self, session: &str, known: Option<Report>) -> watch::Receiver<Option<Report>> {
        let known = known.filter(|report| report.state == State::Limited);
        let (sender, receiver) = watch::channel(known);
        self.lock().insert(session.into(), sender);
        receiver
    }

    /// Forgets what was refused to a session: it is of no account any more.
    pub fn forget_refusal(&self, session: &str) {
        self.change(session, |known| known.take().is_some());
    }

    /// Ends the watch of a session that is gone.
    pub(super) fn close(&self, session: &str) {
        self.lock().remove(session);
    }

    /// The API of this host has refused the session a request.
    pub fn refused(&self, session: &str, host: &str, limit: &Limit) {
        let report = Report::of_limit(limit, host, now());
        tracing::debug!(session, host, until = limit.until, "{}", limit.refusal.words());
        self.change(session, |known| {
            *known = Some(report);
            true
        });
    }

    /// The API of this host has answered the session.
    pub fn answered(&self, session: &str, host: &str) {
        let name = Report::of_limit(&Limit::OVER_BUDGET, host, 0).app;
        self.change(session, |known| known.take_if(|report| report.app == name).is_some());
    }

    fn change(&self, session: &str, change: impl FnOnce(&mut Option<Report>) -> bool) {
        if let Some(sender) = self.lock().get(session) {
            sender.send_if_modified(change);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, watch::Sender<Option<Report>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
