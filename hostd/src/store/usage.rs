//! What models' answers took.

use hostd_core::usage::{Spending, Tokens};
use rusqlite::{Row, params};

use super::{Store, error::StoreError};

/// Most accounts that are listed.
const ROWS: u32 = 10_000;
/// What an account adds up, in the order of [`account`].
const SUMS: &str =
    "sum(answers), sum(input), sum(cache_read), sum(cache_write), sum(output), sum(micros), sum(unpriced)";

/// By what an account adds up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// The session that asked, or the build or the run of a check.
    Session,
    /// The environment of whoever asked.
    Environment,
    /// The person who dispatched the session that asked.
    Person,
    /// The day on which the answer ended, in UTC.
    Day,
    /// The model that answered, as it calls itself.
    Model,
}

impl By {
    fn column(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::Environment => "environment",
            Self::Person => "person",
            Self::Day => "day",
            Self::Model => "model",
        }
    }
}

/// What one answer took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Id of the session, of the build, or of the run of a check.
    pub session: String,
    /// Name of the environment.
    pub environment: String,
    /// User name of whoever dispatched the session; may be empty.
    pub person: String,
    /// Day in UTC, e.g. 2026-11-30.
    pub day: String,
    /// Name of the model; may be empty.
    pub model: String,
    /// What it took.
    pub took: Spending,
}

/// What one session, environment, person, day or model took.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Id or name of whatever it is an account of.
    pub key: String,
    /// What answers took for it.
    pub spending: Spending,
}

impl Store {
    /// Adds what an answer took.
    ///
    /// # Errors
    /// [`StoreError::Write`].
    pub async fn add_usage(&self, answer: Answer) -> Result<(), StoreError> {
        self.transact(move |tx| {
            let sql = "INSERT INTO usage VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
                ON CONFLICT (session, day, model) DO UPDATE SET answers = answers + excluded.answers, input = input + excluded.input,
                cache_read = cache_read + excluded.cache_read, cache_write = cache_write + excluded.cache_write,
                output = output + excluded.output, micros = micros + excluded.micros,
                unpriced = unpriced + excluded.unpriced";
            // A server says what it likes: no sum of such numbers may leave SQLite's integers.
            let bounded = |number: u64| i64::try_from(number).unwrap_or(i64::MAX).min(1 << 40);
            let Answer { session, environment, person, day, model, took } = answer;
            let Spending { answers, tokens, micros, unpriced } = took;
            tx.prepare_cached(sql)?.execute(params![
                session,
                day,
                model,
                environment,
                person,
                bounded(answers),
                bounded(tokens.input),
                bounded(tokens.cache_read),
                bounded(tokens.cache_write),
                bounded(tokens.output),
                bounded(micros),
                bounded(unpriced)
            ])?;
            Ok(())
        })
        .await
    }

    /// What the answers of this session took altogether.
    ///
    /// # Errors
    /// [`StoreError::Write`] for rows that are not understood.
    pub async fn spending(&self, session: &str) -> Result<Spending, StoreError> {
        let session = session.to_owned();
        self.transact(move |tx| {
            let sql = format!("SELECT session, {SUMS} FROM usage WHERE session = ?1 GROUP BY session");
            let mut statement = tx.prepare_cached(&sql)?;
            let found = statement.query_map([session], account)?.next().transpose()?;
            Ok(found.map(|account| account.spending).unwrap_or_default())
        })
        .await
    }

    /// What was taken, the most costly first; of days the newest.
    ///
    /// # Errors
    /// [`StoreError::Write`] for a row that is not understood.
    pub async fn usage(&self, by: By) -> Result<Vec<Account>, StoreError> {
        self.transact(move |tx| {
            let column = by.column();
            let order = if by == By::Day { "1 DESC" } else { "7 DESC, 6 DESC, 1" };
            let sql = format!("SELECT {column}, {SUMS} FROM usage GROUP BY {column} ORDER BY {order} LIMIT {ROWS}");
            let mut statement = tx.prepare_cached(&sql)?;
            statement.query_map([], account)?.collect()
        })
        .await
    }
}

fn account(row: &Row<'_>) -> rusqlite::Result<Account> {
    let number = |at: usize| row.get::<_, i64>(at).map(|number| u64::try_from(number).unwrap_or(0));
    let tokens = Tokens { input: number(2)?, cache_read: number(3)?, cache_write: number(4)?, output: number(5)? };
    let spending = Spending { answers: number(1)?, tokens, micros: number(6)?, unpriced: number(7)? };
    Ok(Account { key: row.get(0)?, spending })
}
