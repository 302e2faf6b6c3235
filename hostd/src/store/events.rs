//! The stories of sessions, as the store answers about them.

use std::{ops::Range, sync::Arc};

use hostd_core::story::Event;
use rusqlite::{Row, params};
use tokio::sync::broadcast;

use super::{Store, columns::value, error::StoreError, stories::Numbered};

/// Every number that an event can have.
pub const ALL: Range<i64> = 0..i64::MAX;

impl Store {
    /// Events as they are kept, of all sessions, from now on.
    #[must_use]
    pub fn stories(&self) -> broadcast::Receiver<Arc<Numbered>> {
        self.stories.follow()
    }

    /// Keeps an event that no change of a record goes with.
    ///
    /// # Errors
    /// [`StoreError::Write`].
    pub async fn add_event(&self, event: Event) -> Result<(), StoreError> {
        let stories = self.stories.clone();
        self.transact(move |tx| stories.keep(tx, &[event])).await
    }

    /// Events of a session with these numbers, oldest first: at most `limit`, the newest of them.
    ///
    /// # Errors
    /// [`StoreError::Write`] for a row that is not understood.
    pub async fn events(&self, session: &str, numbers: Range<i64>, limit: u32) -> Result<Vec<Numbered>, StoreError> {
        let session = session.to_owned();
        self.ask(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT id, session, at, actor, what, text FROM events WHERE session = ?1 AND id >= ?2 AND id < ?3
                 ORDER BY id DESC LIMIT ?4",
            )?;
            let found = statement.query_map(params![session, numbers.start, numbers.end, limit], numbered)?;
            let mut found: Vec<_> = found.collect::<rusqlite::Result<_>>()?;
            found.reverse();
            Ok(found)
        })
        .await
    }
}

fn numbered(row: &Row<'_>) -> rusqlite::Result<Numbered> {
    let event =
        Event { session: row.get(1)?, at: row.get(2)?, actor: value(row, 3)?, what: row.get(4)?, text: row.get(5)? };
    Ok(Numbered { id: row.get(0)?, event })
}
