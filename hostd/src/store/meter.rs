use std::time::Instant;

use prometheus_client::metrics::histogram::Histogram;

use super::{Store, StoreError};
use crate::meter::{Counts, counts, of_disks};

/// What the store counts.
#[derive(Clone, Debug)]
pub(crate) struct Meter {
    /// How long transactions take in the store's thread, in seconds; those that failed are among them.
    pub(crate) transactions: Histogram,
    /// Requests that failed, by kind.
    pub(crate) failures: Counts,
}

impl Default for Meter {
    fn default() -> Self {
        Self { transactions: of_disks(), failures: counts("kind", &["full", "write"]) }
    }
}

impl Meter {
    /// Runs a transaction, and notes how long it takes.
    pub(super) fn timed<T>(&self, transaction: impl FnOnce() -> T) -> T {
        let began = Instant::now();
        let answer = transaction();
        self.transactions.observe(began.elapsed().as_secs_f64());
        answer
    }

    /// Notes how a request ended. What the store refuses for what is in it is no failure.
    pub(super) fn answered(&self, error: Option<&StoreError>) {
        let kind = match error {
            Some(StoreError::Full) => "full",
            Some(StoreError::Write(_)) => "write",
            _ => return,
        };
        self.failures.get_or_create(&[("kind", kind)]).inc();
    }
}

/// How many pull requests there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pulls {
    pub(crate) open: u64,
    /// Merged and closed ones.
    pub(crate) ended: u64,
}

impl Store {
    /// What the store has counted.
    pub(crate) fn meter(&self) -> &Meter {
        &self.meter
    }

    /// Number of requests that wait for the store's thread.
    pub(crate) fn waiting(&self) -> usize {
        self.jobs.max_capacity().saturating_sub(self.jobs.capacity())
    }

    /// Counts the pull requests of the built-in forge.
    pub(crate) async fn count_pulls(&self) -> Result<Pulls, StoreError> {
        let count = "SELECT count(*) FILTER (WHERE open = 1), count(*) FILTER (WHERE open = 0) FROM pulls";
        self.ask(move |connection| {
            let (open, ended): (u32, u32) = connection.query_row(count, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
            Ok(Pulls { open: open.into(), ended: ended.into() })
        })
        .await
    }
}
