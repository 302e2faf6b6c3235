//! The stories of sessions.

use hostd_core::{UnixMillis, story::Event};
use rusqlite::{Connection, Row, Transaction, params};

use super::{
    Store, StoreError,
    columns::{json, value},
};

/// Most events that are kept of one session: the newest.
const KEPT: i64 = 5_000;
/// For how long the story of a session that is gone is kept.
const KEPT_MILLIS: UnixMillis = 90 * 24 * 60 * 60 * 1000;

/// An event with its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Numbered {
    /// Number of the event, rising over all sessions of this host.
    pub id: i64,
    /// What happened.
    pub event: Event,
}

impl Store {
    /// Keeps an event that no change of a record goes with.
    ///
    /// # Errors
    /// [`StoreError::Write`].
    pub async fn tell(&self, event: Event) -> Result<(), StoreError> {
        self.transact(move |tx| keep(tx, &[event])).await
    }

    /// Events of a session with a number above `after`, oldest first: at most `limit`, the newest of them.
    ///
    /// # Errors
    /// [`StoreError::Write`] for a row that is not understood.
    pub async fn events(&self, session: &str, after: i64, limit: u32) -> Result<Vec<Numbered>, StoreError> {
        let session = session.to_owned();
        self.transact(move |tx| {
            let mut statement = tx.prepare_cached(
                "SELECT id, session, at, actor, what, text FROM events WHERE session = ?1 AND id > ?2
                 ORDER BY id DESC LIMIT ?3",
            )?;
            let mut found: Vec<_> =
                statement.query_map(params![session, after, limit], numbered)?.collect::<rusqlite::Result<_>>()?;
            found.reverse();
            Ok(found)
        })
        .await
    }
}

/// Keeps events in the transaction of the change that they tell of.
pub(super) fn keep(tx: &Transaction<'_>, events: &[Event]) -> rusqlite::Result<()> {
    let sql = "INSERT INTO events (session, at, actor, what, text) VALUES (?1, ?2, ?3, ?4, ?5)";
    let bound = "DELETE FROM events WHERE session = ?1 AND id <=
        (SELECT id FROM events WHERE session = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)";
    for Event { session, at, actor, what, text } in events {
        tx.prepare_cached(sql)?.execute(params![session, at, json(actor)?, what, text])?;
        tx.prepare_cached(bound)?.execute(params![session, KEPT])?;
    }
    Ok(())
}

/// Forgets the stories of sessions that have been gone for long.
pub(super) fn forget_old(connection: &Connection, now: UnixMillis) -> rusqlite::Result<usize> {
    let sql = "DELETE FROM events WHERE session IN (SELECT session FROM events GROUP BY session HAVING max(at) < ?1)
        AND session NOT IN (SELECT id FROM sessions)";
    connection.execute(sql, [now - KEPT_MILLIS])
}

fn numbered(row: &Row<'_>) -> rusqlite::Result<Numbered> {
    let event =
        Event { session: row.get(1)?, at: row.get(2)?, actor: value(row, 3)?, what: row.get(4)?, text: row.get(5)? };
    Ok(Numbered { id: row.get(0)?, event })
}
