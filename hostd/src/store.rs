//! SQLite: sessions and their stories, the outbox of effects, and the local forge's pull requests and checks.
//!
//! A session's state and the effects that its step asked for are committed in one transaction; an effect's row stays until it
//! has been carried out. All access is from one thread of its own: callers wait for its answer, never for a lock.

mod columns;
mod error;
mod events;
mod open;
mod pulls;
mod repositories;
mod reserve;
#[cfg(test)]
mod tests;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use hostd_core::{
    Effect, Session,
    recipe::{Cpu, Egress},
    story::{self, Event},
};
use rusqlite::{Connection, Transaction, TransactionBehavior, params};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use crate::ballast::Ballast;
pub use error::StoreError;
pub use events::Numbered;
pub use pulls::{PullRecord, Which};

/// Requests that may wait for the store's thread.
const QUEUE: usize = 256;

/// What the store keeps of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// State of the session, by the rules of the core.
    pub session: Session,
    /// What the session's VM is made from.
    pub machine: Machine,
}

/// What a session's VM is made from, fixed at dispatch, and how its last start went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// Immutable images below the VM's disk, bottom first.
    pub layers: Vec<PathBuf>,
    /// Destinations that the guest may reach.
    pub egress: Vec<Egress>,
    /// Names of repositories of the local forge that the guest may read beside its own.
    #[serde(default)]
    pub also_read: Vec<String>,
    /// User that the agent runs as; empty: root.
    #[serde(default)]
    pub user: String,
    /// Phases of the VM's last start, in order.
    #[serde(default)]
    pub phases: Vec<Phase>,
    /// File name of the layer that the VM writes to, in the session's folder.
    #[serde(default = "first_disk")]
    pub disk: String,
    /// Folder of the template that the session's first start clones; None: it boots.
    #[serde(default)]
    pub template: Option<PathBuf>,
    /// Folder of the template that the VM's memory is a view of in its present life; None: its memory is its own.
    #[serde(default)]
    pub view_of: Option<PathBuf>,
    /// The session's last snapshot; None: there is none.
    #[serde(default)]
    pub snapshot: Option<Snapshot>,
    /// Number of the last event of the guest's present boot that hostd has taken; 0: none.
    #[serde(default)]
    pub heard: u64,
    /// Seconds that the session may wait before it is suspended.
    #[serde(default)]
    pub suspend_after: Option<u64>,
    /// Branch of the repository that the build cloned; empty: not known, or there is no repository.
    #[serde(default)]
    pub branch: String,
    /// What the guest gets of the host's processor beside the usual.
    #[serde(default)]
    pub cpu: Cpu,
    /// What was found of the repository after the last boot from a disk that the session had worked on; empty: nobody has
    /// looked.
    #[serde(default)]
    pub repository: String,
}

/// A snapshot of a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Folder with the snapshot's memory and devices.
    pub folder: PathBuf,
    /// Bytes that memory and devices take on disk.
    pub bytes: u64,
    /// Offset of the terminal's output up to which hostd had taken it.
    pub terminal: u64,
    /// When the snapshot was made, in milliseconds since the Unix epoch.
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

/// A phase of a VM's start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Phase {
    /// Name of the phase, e.g. kernel.
    pub name: String,
    /// Duration of the phase, in microseconds.
    pub micros: u64,
}

/// An effect that is committed and not yet carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owed {
    /// Id of the effect's row, for [`Store::commit`].
    pub id: i64,
    /// The effect itself.
    pub effect: Effect,
}

/// A handle to the store; clones share its thread.
#[derive(Clone, Debug)]
pub struct Store {
    jobs: mpsc::Sender<Job>,
    ballast: Ballast,
    path: Arc<Path>,
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
        Ok((Self { jobs, ballast, path: path.into() }, records))
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
    pub async fn add(&self, record: &Record, effects: Vec<Effect>) -> Result<Vec<Owed>, StoreError> {
        let row = Row::of(record)?;
        let created = story::created(&record.session);
        self.transact_new(move |tx| {
            insert(tx, &row)?;
            events::keep(tx, &[created])?;
            owe(tx, &row.id, effects)
        })
        .await
    }

    /// Keeps a fork, its first effects, and the session that it was made from as it is now: both or neither.
    ///
    /// # Errors
    /// As [`Store::add`].
    pub async fn fork(&self, original: &Record, fork: &Record, effects: Vec<Effect>) -> Result<Vec<Owed>, StoreError> {
        let told = [story::forked(&original.session, &fork.session), story::created(&fork.session)];
        let (original, row) = (Row::of(original)?, Row::of(fork)?);
        self.transact_new(move |tx| {
            update(tx, &original)?;
            insert(tx, &row)?;
            events::keep(tx, &told)?;
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
        told: Vec<Event>,
    ) -> Result<Vec<Owed>, StoreError> {
        let row = Row::of(record)?;
        self.transact(move |tx| {
            update(tx, &row)?;
            events::keep(tx, &told)?;
            for id in settled {
                tx.execute("DELETE FROM outbox WHERE id = ?1", [id])?;
            }
            owe(tx, &row.id, effects)
        })
        .await
    }

    /// Like [`Store::commit`], but `effects` stand for all that were owed before: the first commit of a session after a start
    /// of hostd.
    ///
    /// # Errors
    /// As [`Store::commit`].
    pub async fn converge(
        &self,
        record: &Record,
        effects: Vec<Effect>,
        told: Vec<Event>,
    ) -> Result<Vec<Owed>, StoreError> {
        let row = Row::of(record)?;
        self.transact(move |tx| {
            update(tx, &row)?;
            events::keep(tx, &told)?;
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

    /// For what is already there, which may use the room that is kept aside.
    async fn transact<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.ask(move |connection| Ok(run(connection, work)?)).await
    }

    /// For what is new: [`StoreError::Full`] where the disk is full.
    async fn transact_new<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let ballast = self.ballast.clone();
        self.ask(move |connection| {
            if !ballast.has_room() {
                return Err(StoreError::Full);
            }
            Ok(run(connection, work)?)
        })
        .await
    }

    async fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        let ballast = self.ballast.clone();
        let job: Job = Box::new(move |connection| {
            ballast.make_room();
            let result = work(connection);
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
    tx.commit()?;
    fail::fail_point!("store::after-commit");
    Ok(value)
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
