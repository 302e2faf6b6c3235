//! The stories of sessions: kept in the transaction of the change that they tell of, and announced once that is committed.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hostd_core::{UnixMillis, story::Event};
use rusqlite::{Connection, Transaction, params};
use tokio::sync::broadcast;

use super::columns::json;

/// Most events that are kept of one session: the newest.
const KEPT: i64 = 5_000;
/// For how long the story of a session that is gone is kept.
const KEPT_MILLIS: UnixMillis = 90 * 24 * 60 * 60 * 1000;

/// Most announcements that wait for a follower; one that is further behind is told that it missed some.
const ANNOUNCED: usize = 256;

/// An event with its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Numbered {
    /// Number of the event, rising over all sessions of this host.
    pub id: i64,
    /// The event: what happened to which session, when, and by whom.
    pub event: Event,
}

/// Announces what the stories of sessions gain.
#[derive(Clone, Debug)]
pub(super) struct Stories {
    announced: broadcast::Sender<Arc<Numbered>>,
    /// What the transaction under way keeps.
    kept: Arc<Mutex<Vec<Numbered>>>,
}

impl Stories {
    pub(super) fn new() -> Self {
        Self { announced: broadcast::channel(ANNOUNCED).0, kept: Arc::default() }
    }

    /// What is announced from now on.
    pub(super) fn follow(&self) -> broadcast::Receiver<Arc<Numbered>> {
        self.announced.subscribe()
    }

    /// Keeps events in the transaction of the change that they tell of.
    pub(super) fn keep(&self, tx: &Transaction<'_>, events: &[Event]) -> rusqlite::Result<()> {
        let sql = "INSERT INTO events (session, at, actor, what, text) VALUES (?1, ?2, ?3, ?4, ?5)";
        let bound = "DELETE FROM events WHERE session = ?1 AND id <=
            (SELECT id FROM events WHERE session = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)";
        for event in events {
            let Event { session, at, actor, what, text } = event;
            let id = tx.prepare_cached(sql)?.insert(params![session, at, json(actor)?, what, text])?;
            tx.prepare_cached(bound)?.execute(params![session, KEPT])?;
            self.kept().push(Numbered { id, event: event.clone() });
        }
        Ok(())
    }

    /// The transaction is over: what it kept is announced, where it was committed.
    pub(super) fn over(&self, committed: bool) {
        for event in std::mem::take(&mut *self.kept()).into_iter().filter(|_| committed) {
            // Nobody may be listening.
            let _ = self.announced.send(Arc::new(event));
        }
    }

    fn kept(&self) -> MutexGuard<'_, Vec<Numbered>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Forgets the stories of sessions that have been gone for long.
pub(super) fn forget_old(connection: &Connection, now: UnixMillis) -> rusqlite::Result<usize> {
    let sql = "DELETE FROM events WHERE session IN (SELECT session FROM events GROUP BY session HAVING max(at) < ?1)
        AND session NOT IN (SELECT id FROM sessions)";
    connection.execute(sql, [now - KEPT_MILLIS])
}
