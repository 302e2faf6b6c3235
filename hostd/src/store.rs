//! SQLite: sessions and their stories, the outbox of effects, and the local forge's pull requests and checks.
//!
//! A session's state and the effects that its step asked for are committed in one transaction; an effect's row stays until it
//! has been carried out. All access is from one thread of its own: callers wait for its answer, never for a lock.

mod checks;
mod columns;
mod error;
mod events;
mod forge;
mod meter;
mod open;
mod pulls;
mod record;
mod repositories;
mod reserve;
mod stories;
#[cfg(test)]
mod tests;
mod usage;

use std::{path::Path, sync::Arc};

use hostd_core::{
    Effect,
    story::{self, Event},
};
use rusqlite::{Connection, Transaction, TransactionBehavior, params, types::Type};
use tokio::sync::{mpsc, oneshot};

use crate::ballast::Ballast;
pub use error::StoreError;
pub use events::ALL as ALL_EVENTS;
pub(crate) use meter::{Meter, Pulls};
pub use record::{Agent, Checkpoint, Machine, OutboxEntry, Phase, Record, Snapshot};
pub use stories::Numbered;
use stories::Stories;
pub use usage::{Account, Answer, By};

/// Most requests that may wait for the store's thread.
const QUEUE: usize = 256;

/// A handle to the store; clones share its thread.
#[derive(Clone, Debug)]
pub struct Store {
    jobs: mpsc::Sender<Job>,
    ballast: Ballast,
    path: Arc<Path>,
    stories: Stories,
    meter: Meter,
    /// Number of jobs that were asked for.
    #[cfg(test)]
    pub(crate) asked: Arc<std::sync::atomic::AtomicUsize>,
}

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

impl Store {
    /// Opens the database, makes or migrates it where needed, and reads all sessions, oldest first. Blocks.
    ///
    /// # Errors
    /// [`StoreError`] for a file that is damaged, of another program or of a newer hostd; it is left as it is.
    pub fn open(path: &Path) -> Result<(Self, Vec<Record>), StoreError> {
        let ballast = Ballast::of(path.parent().unwrap_or(path));
        ballast.make_room_to_start();
        let mut connection = open::open(path)?;
        let records = open::load(&mut connection, path)?;
        let (jobs, mut queue) = mpsc::channel::<Job>(QUEUE);
        std::thread::Builder::new()
            .name("store".into())
            .spawn(move || {
                while let Some(job) = queue.blocking_recv() {
                    job(&mut connection);
                }
            })
            .map_err(|error| StoreError::Thread(error.to_string()))?;
        let store = Self {
            jobs,
            ballast,
            path: path.into(),
            stories: Stories::new(),
            meter: Meter::default(),
            #[cfg(test)]
            asked: Arc::default(),
        };
        Ok((store, records))
    }

    /// Room on the disk that is kept aside for the store.
    #[must_use]
    pub fn ballast(&self) -> &Ballast {
        &self.ballast
    }

    /// Takes room inside the database, where the disk has some: what happens to sessions is kept in it when the disk is full.
    ///
    /// # Errors
    /// [`StoreError::Full`], or [`StoreError::Write`].
    pub async fn reserve(&self) -> Result<(), StoreError> {
        if !self.ballast.is_roomy() {
            return Ok(());
        }
        let path = self.path.clone();
        self.ask(move |connection| Ok(reserve::take(connection, &path)?)).await
    }

    /// Keeps a new session and its first effects.
    ///
    /// # Errors
    /// [`StoreError::SlugTaken`], or [`StoreError::Write`]; nothing is kept then.
    pub async fn add(&self, record: &Record, effects: Vec<Effect>) -> Result<Vec<OutboxEntry>, StoreError> {
        let row = Row::of(record)?;
        let (created, stories) = (story::created(&record.session), self.stories.clone());
        self.transact_new(move |tx| {
            insert(tx, &row)?;
            stories.keep(tx, &[created])?;
            owe(tx, &row.id, effects)
        })
        .await
    }

    /// Keeps a fork, its first effects, and the session that it was made from as it is now: both or neither.
    ///
    /// # Errors
    /// As [`Store::add`].
    pub async fn fork(
        &self,
        original: &Record,
        fork: &Record,
        effects: Vec<Effect>,
    ) -> Result<Vec<OutboxEntry>, StoreError> {
        let mut events = vec![story::forked(&original.session, &fork.session), story::created(&fork.session)];
        events.extend(story::inherited(&fork.session));
        let (original, row, stories) = (Row::of(original)?, Row::of(fork)?, self.stories.clone());
        self.transact_new(move |tx| {
            update(tx, &original)?;
            insert(tx, &row)?;
            stories.keep(tx, &events)?;
            owe(tx, &row.id, effects)
        })
        .await
    }

    /// Keeps a session as it is now, together with effects to be carried out and the events that its story gains; effects with
    /// the ids `settled` have been carried out.
    ///
    /// # Errors
    /// [`StoreError::Write`]; the session is kept as it was then.
    pub async fn commit(
        &self,
        record: &Record,
        effects: Vec<Effect>,
        settled: Vec<i64>,
        events: Vec<Event>,
    ) -> Result<Vec<OutboxEntry>, StoreError> {
        let (row, stories) = (Row::of(record)?, self.stories.clone());
        self.transact(move |tx| {
            update(tx, &row)?;
            stories.keep(tx, &events)?;
            for id in settled {
                tx.execute("DELETE FROM outbox WHERE id = ?1", [id])?;
            }
            owe(tx, &row.id, effects)
        })
        .await
    }

    /// Like [`Store::commit`], but `effects` stand for all that were owed before: the first commit of a session after a start
    /// of hostd. Where its VM runs on, `goes_on`, keys that are still to be pressed there are owed as before, and returned first.
    ///
    /// # Errors
    /// As [`Store::commit`].
    pub async fn converge(
        &self,
        record: &Record,
        effects: Vec<Effect>,
        events: Vec<Event>,
        goes_on: bool,
    ) -> Result<Vec<OutboxEntry>, StoreError> {
        let (row, stories) = (Row::of(record)?, self.stories.clone());
        self.transact(move |tx| {
            update(tx, &row)?;
            stories.keep(tx, &events)?;
            let not_kept = "session = ?1 AND NOT (?2 AND json_extract(effect, '$.effect') = 'press')";
            tx.execute(&format!("DELETE FROM outbox WHERE {not_kept}"), params![row.id, goes_on])?;
            let mut entries = owed(tx, &row.id)?;
            entries.extend(owe(tx, &row.id, effects)?);
            Ok(entries)
        })
        .await
    }

    /// Forgets a session and all that was owed to it. A repeat is harmless.
    ///
    /// # Errors
    /// [`StoreError::Write`].
    pub async fn remove(&self, session: &str) -> Result<(), StoreError> {
        let id = session.to_owned();
        self.transact(move |tx| tx.execute("DELETE FROM sessions WHERE id = ?1", [id])).await.map(drop)
    }

    /// For what is already there, which may use the room that is kept aside.
    async fn transact<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let meter = self.meter.clone();
        self.ask(move |connection| Ok(meter.timed(|| run(connection, work))?)).await
    }

    /// For what is new: [`StoreError::Full`] where the disk is full.
    async fn transact_new<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (ballast, meter) = (self.ballast.clone(), self.meter.clone());
        self.ask(move |connection| {
            if !ballast.has_room() {
                return Err(StoreError::Full);
            }
            Ok(meter.timed(|| run(connection, work))?)
        })
        .await
    }

    async fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        #[cfg(test)]
        self.asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let (answer, answered) = oneshot::channel();
        let (ballast, stories, meter) = (self.ballast.clone(), self.stories.clone(), self.meter.clone());
        let job: Job = Box::new(move |connection| {
            ballast.make_room();
            let worked = work(connection);
            stories.over(worked.is_ok());
            let result = match worked {
                // Of some errors SQLite says no more than that it could not write.
                Err(StoreError::Write(_)) if !ballast.has_room() => Err(StoreError::Full),
                result => result,
            };
            meter.answered(result.as_ref().err());
            // Nobody waits where the caller was dropped; the commit stands.
            let _ = answer.send(result);
        });
        self.jobs.send(job).await.map_err(|_| StoreError::Closed)?;
        answered.await.map_err(|_| StoreError::Closed)?
    }
}

fn run<T>(
    connection: &mut Connection,
    work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    // One that begins by reading could not wait for another writer once it writes: it would have to be begun again.
    fail::fail_point!("store::before-commit");
    let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let value = work(&tx)?;
    fail::fail_point!("store::fails", |code| Err(failure(code)));
    tx.commit()?;
    fail::fail_point!("store::after-commit");
    Ok(value)
}

/// The error of SQLite with this extended code.
#[cfg(feature = "failpoints")]
fn failure(code: Option<String>) -> rusqlite::Error {
    let code = code.and_then(|code| code.parse().ok()).unwrap_or(rusqlite::ffi::SQLITE_IOERR);
    rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), Some("disk I/O error".into()))
}

/// Columns of a record.
struct Row {
    id: String,
    slug: String,
    state: String,
    machine: String,
}

impl Row {
    fn of(record: &Record) -> Result<Self, StoreError> {
        let json = |error: serde_json::Error| StoreError::Write(error.to_string());
        Ok(Self {
            id: record.session.id.clone(),
            slug: record.session.slug.clone(),
            state: serde_json::to_string(&record.session).map_err(json)?,
            machine: serde_json::to_string(&record.machine).map_err(json)?,
        })
    }
}

fn insert(tx: &Transaction<'_>, row: &Row) -> rusqlite::Result<()> {
    let sql = "INSERT INTO sessions (id, slug, state, machine) VALUES (?1, ?2, ?3, ?4)";
    tx.execute(sql, params![row.id, row.slug, row.state, row.machine]).map(drop)
}

fn update(tx: &Transaction<'_>, row: &Row) -> rusqlite::Result<()> {
    let sql = "UPDATE sessions SET state = ?2, machine = ?3 WHERE id = ?1";
    match tx.execute(sql, params![row.id, row.state, row.machine])? {
        1 => Ok(()),
        // Its row is gone: whoever removed it has the last word.
        _ => Err(rusqlite::Error::QueryReturnedNoRows),
    }
}

fn owed(tx: &Transaction<'_>, session: &str) -> rusqlite::Result<Vec<OutboxEntry>> {
    let mut statement = tx.prepare_cached("SELECT id, effect FROM outbox WHERE session = ?1 ORDER BY id")?;
    let entries = statement.query_map([session], |row| {
        let effect = serde_json::from_str(&row.get::<_, String>(1)?);
        let effect =
            effect.map_err(|error| rusqlite::Error::FromSqlConversionFailure(1, Type::Text, Box::new(error)))?;
        Ok(OutboxEntry { id: row.get(0)?, effect })
    })?;
    entries.collect()
}

fn owe(tx: &Transaction<'_>, session: &str, effects: Vec<Effect>) -> rusqlite::Result<Vec<OutboxEntry>> {
    let mut insert = tx.prepare_cached("INSERT INTO outbox (session, effect) VALUES (?1, ?2)")?;
    let mut entries = Vec::with_capacity(effects.len());
    for effect in effects {
        let json =
            serde_json::to_string(&effect).map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
        entries.push(OutboxEntry { id: insert.insert(params![session, json])?, effect });
    }
    Ok(entries)
}
