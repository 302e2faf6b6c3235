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

/// What is known of each session, by its id: the last refusal, that it is set aside, or, once an API has answered to the end, nothing.
#[derive(Debug, Default)]
pub struct Limits(Mutex<HashMap<String, watch::Sender<Option<Report>>>>);

impl Limits {
    /// Begins to watch a session of which this was known.
    pub fn open(&self, session: &str, known: Option<Report>) -> watch::Receiver<Option<Report>> {
        let (sender, receiver) = watch::channel(known);
        self.lock().insert(session.into(), sender);
        receiver
    }

    /// Sets aside what was refused to a session: an API has begun to answer it, or it has another agent.
    pub fn set_aside(&self, session: &str) {
        self.change(session, |known| {
            let refusal = known.as_mut().filter(|report| report.state == State::Limited);
            refusal
                .map(|report| *report = Report { app: report.app.clone(), ..Report::new(State::Working, now()) })
                .is_some()
        });
    }

    /// Forgets that the session's budget was used up: it is so no longer.
    pub fn forget_over_budget(&self, session: &str) {
        self.change(session, |known| known.take_if(|report| report.is_over_budget()).is_some());
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

    /// An API has answered the session, to the end: what was refused before, by whichever, did not stop its agent.
    pub fn answered(&self, session: &str) {
        self.change(session, |known| known.take().is_some());
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
