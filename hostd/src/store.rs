//! SQLite: sessions, the outbox of effects, and the local forge's pull requests and checks.
//!
//! A session's state and the effects that its step asked for are committed in one transaction; an effect's row stays until it
//! has been carried out. All access is from one thread of its own: callers wait for its answer, never for a lock.

mod error;
mod open;
mod pulls;
mod repositories;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use hostd_core::{
    Effect, Session,
    recipe::{Cpu, Egress},
};
use rusqlite::{Connection, Transaction, TransactionBehavior, params};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use crate::ballast::Ballast;
pub use error::StoreError;
pub use pulls::{PullRecord, Which};

/// Requests that may wait for the thread.
const QUEUE: usize = 256;

/// What is kept of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its state, by the rules of the core.
    pub session: Session,
    /// What its VM is made from.
    pub machine: Machine,
}

/// What a session's VM is made from, fixed at dispatch, and how its last start went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// Immutable images below its disk, bottom first.
    pub layers: Vec<PathBuf>,
    /// Destinations that it may reach.
    pub egress: Vec<Egress>,
    /// Names of repositories of the local forge that it may read beside its own.
    #[serde(default)]
    pub also_read: Vec<String>,
    /// Who its agent runs as; empty: root.
    #[serde(default)]
    pub user: String,
    /// The parts of its last start, in order.
    #[serde(default)]
    pub phases: Vec<Phase>,
    /// Name of the layer that it writes to, in its folder.
    #[serde(default = "first_disk")]
    pub disk: String,
    /// Folder of the template that its first start clones; None: it boots.
    #[serde(default)]
    pub template: Option<PathBuf>,
    /// The template that its memory is a view of in its present life; None: its memory is its own.
    #[serde(default)]
    pub view_of: Option<PathBuf>,
    /// Its last snapshot, where it has one.
    #[serde(default)]
    pub snapshot: Option<Snapshot>,
    /// The last event of the guest's present boot that was taken.
    #[serde(default)]
    pub heard: u64,
    /// Seconds that it may wait before it is suspended.
    #[serde(default)]
    pub suspend_after: Option<u64>,
    /// The repository's branch that its clone was made of; empty: not known, or no repository.
    #[serde(default)]
    pub branch: String,
    /// What its guest gets of the host's processor beside the usual.
    #[serde(default)]
    pub cpu: Cpu,
    /// What was found of its repository after its last boot from a disk that it had worked on; empty: nobody has looked.
    #[serde(default)]
    pub repository: String,
}

/// A snapshot of a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Where its memory and devices are.
    pub folder: PathBuf,
    /// Their size on disk.
    pub bytes: u64,
    /// Offset of the terminal's output that had been taken.
    pub terminal: u64,
    /// When it was made, Unix milliseconds.
    pub at: i64,
}

impl Default for Machine {
    fn default() -> Self {
        Self {
            layers: vec![],
            egress: vec![],
            also_read: vec![],
            user: String::new(),
            phases: vec![],
            disk: first_disk(),
            template: None,
            view_of: None,
            snapshot: None,
            heard: 0,
            suspend_after: None,
            branch: String::new(),
            cpu: Cpu::default(),
            repository: String::new(),
        }
    }
}

fn first_disk() -> String {
    "disk.qcow2".into()
}

/// A part of a start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Phase {
    /// E.g. kernel.
    pub name: String,
    /// How long it took.
    pub micros: u64,
}

/// An effect that is committed and not yet carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owed {
    /// For [`Store::commit`].
    pub id: i64,
    /// What is to be done.
    pub effect: Effect,
}

/// A handle to the store; clones share its thread.
#[derive(Clone, Debug)]
pub struct Store {
    jobs: mpsc::Sender<Job>,
    ballast: Ballast,
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
        Ok((Self { jobs, ballast }, records))
    }

    /// The room that is kept aside for it.
    #[must_use]
    pub fn ballast(&self) -> &Ballast {
        &self.ballast
    }

    /// Keeps a new session and its first effects.
    ///
    /// # Errors
    /// [`StoreError::SlugTaken`], or [`StoreError::Write`]; nothing is kept then.
    pub async fn add(&self, record: &Record, effects: Vec<Effect>) -> Result<Vec<Owed>, StoreError> {
        let row = Row::of(record)?;
        self.transact(move |tx| {
            insert(tx, &row)?;
            owe(tx, &row.id, effects)
        })
        .await
    }

    /// Keeps a fork, its first effects, and the session that it was made from as it is now: both or neither.
    ///
    /// # Errors
    /// As [`Store::add`].
    pub async fn fork(&self, original: &Record, fork: &Record, effects: Vec<Effect>) -> Result<Vec<Owed>, StoreError> {
        let (original, row) = (Row::of(original)?, Row::of(fork)?);
        self.transact(move |tx| {
            update(tx, &original)?;
            insert(tx, &row)?;
            owe(tx, &row.id, effects)
        })
        .await
    }

    /// Keeps a session as it is now, together with what is to be done; `settled` has been done.
    ///
    /// # Errors
    /// [`StoreError::Write`]; the session is kept as it was then.
    pub async fn commit(
        &self,
        record: &Record,
        effects: Vec<Effect>,
        settled: Vec<i64>,
    ) -> Result<Vec<Owed>, StoreError> {
        let row = Row::of(record)?;
        self.transact(move |tx| {
            update(tx, &row)?;
            for id in settled {
                tx.execute("DELETE FROM outbox WHERE id = ?1", [id])?;
            }
            owe(tx, &row.id, effects)
        })
        .await
    }

    /// Like [`Store::commit`], but these effects stand for all that were owed before: the first commit of a session after
    /// a start of hostd.
    ///
    /// # Errors
    /// As [`Store::commit`].
    pub async fn converge(&self, record: &Record, effects: Vec<Effect>) -> Result<Vec<Owed>, StoreError> {
        let row = Row::of(record)?;
        self.transact(move |tx| {
            update(tx, &row)?;
            tx.execute("DELETE FROM outbox WHERE session = ?1", [&row.id])?;
            owe(tx, &row.id, effects)
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

    async fn transact<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        let ballast = self.ballast.clone();
        let job: Job = Box::new(move |connection| {
            ballast.make_room();
            fail::fail_point!("store::before-commit");
            let result = run(connection, work);
            fail::fail_point!("store::after-commit");
            // Nobody waits where the caller was dropped; the commit stands.
            let _ = answer.send(result);
        });
        self.jobs.send(job).await.map_err(|_| StoreError::Closed)?;
        answered.await.map_err(|_| StoreError::Closed)?.map_err(StoreError::from)
    }
}

fn run<T>(
    connection: &mut Connection,
    work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    // One that begins by reading could not wait for another writer once it writes: it would have to be begun again.
    let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let value = work(&tx)?;
    tx.commit()?;
    Ok(value)
}

/// A record as its columns.
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

fn owe(tx: &Transaction<'_>, session: &str, effects: Vec<Effect>) -> rusqlite::Result<Vec<Owed>> {
    let mut insert = tx.prepare_cached("INSERT INTO outbox (session, effect) VALUES (?1, ?2)")?;
    let mut owed = Vec::with_capacity(effects.len());
    for effect in effects {
        let json =
            serde_json::to_string(&effect).map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
        owed.push(Owed { id: insert.insert(params![session, json])?, effect });
    }
    Ok(owed)
}
