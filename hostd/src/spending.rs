//! What models' answers took, priced and kept.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use hostd_core::{
    UnixMillis,
    usage::{Prices, Spending},
};
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::{
    gateway::{Spent, UnderWay},
    sessions::Fleet,
    store::{Answer, Store},
};

/// Name of a table of prices in the data folder that goes before the shipped one.
const FILE: &str = "prices.toml";
/// Longest table, in bytes.
const BYTES: u64 = 1 << 20;

/// The prices in force.
#[derive(Debug)]
pub struct PriceTable {
    own: PathBuf,
    read: Mutex<Read>,
}

/// What was read last: a table, and when its file was changed; None: there was no file.
#[derive(Debug)]
struct Read {
    changed: Option<SystemTime>,
    prices: Arc<Prices>,
}

impl PriceTable {
    /// The shipped table, and before it the one in this data folder, where there is one.
    #[must_use]
    pub fn of(data: &Path) -> Arc<Self> {
        let read = Mutex::new(Read { changed: None, prices: Arc::new(Prices::shipped()) });
        Arc::new(Self { own: data.join(FILE), read })
    }

    /// The prices in force. Reads the host's own file where that has changed; a bad one is said in the log, and left out.
    pub async fn current(self: &Arc<Self>) -> Arc<Prices> {
        let this = self.clone();
        tokio::task::spawn_blocking(move || this.look()).await.unwrap_or_default()
    }

    fn look(&self) -> Arc<Prices> {
        let changed = fs::metadata(&self.own).and_then(|file| file.modified()).ok();
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if read.changed != changed {
            *read = Read { changed, prices: Arc::new(with_own(&self.own)) };
        }
        read.prices.clone()
    }
}

fn with_own(path: &Path) -> Prices {
    let shipped = Prices::shipped();
    let text = match fs::metadata(path) {
        Ok(file) if file.len() <= BYTES => fs::read_to_string(path).map_err(|error| error.to_string()),
        Ok(_) => Err(format!("it is longer than {BYTES} bytes")),
        Err(_) => return shipped,
    };
    match text.and_then(|text| Prices::parse(FILE, &text).map_err(|error| error.to_string())) {
        Ok(mut own) => {
            own.models.extend(shipped.models);
            own
        }
        Err(error) => {
            tracing::error!(path = %path.display(), "the shipped prices are in force alone: {error}");
            shipped
        }
    }
}

/// Keeps what answers took, one after the other.
pub(crate) struct Keeper {
    task: JoinHandle<()>,
    closing: CancellationToken,
}

impl Keeper {
    /// Keeps what is told in this store, and has the sessions know.
    pub(crate) fn start(
        spent: mpsc::Receiver<Spent>,
        store: Store,
        prices: Arc<PriceTable>,
        fleet: Arc<Fleet>,
    ) -> Self {
        let closing = CancellationToken::new();
        let task = tokio::spawn(keep(spent, store, prices, fleet, closing.clone()));
        Self { task, closing }
    }

    /// Ends it once what was told is kept.
    pub(crate) async fn close(self) {
        self.closing.cancel();
        // It may have panicked, which is told elsewhere.
        let _ = self.task.await;
    }
}

async fn keep(
    mut spent: mpsc::Receiver<Spent>,
    store: Store,
    prices: Arc<PriceTable>,
    fleet: Arc<Fleet>,
    closing: CancellationToken,
) {
    loop {
        let next = tokio::select! {
            biased;
            next = spent.recv() => next,
            () = closing.cancelled() => None,
        };
        let Some(next) = next else { return };
        let (answer, under_way) = priced(next, &*prices.current().await);
        let (session, took) = (answer.session.clone(), answer.took);
        if let Err(error) = store.add_usage(answer).await {
            tracing::warn!(%error, "what an answer took is not kept");
        }
        fleet.answered(&session, &took);
        // Only now that it is counted.
        drop(under_way);
    }
}

fn priced(spent: Spent, prices: &Prices) -> (Answer, Option<UnderWay>) {
    let Spent { session, environment, person, model, tokens, at, under_way } = spent;
    let priced = tokens.and_then(|tokens| prices.micros(&model, &tokens));
    let tokens = tokens.unwrap_or_default();
    let unpriced = if priced.is_none() { tokens.all() } else { 0 };
    let reserve = || under_way.as_ref().map_or(0, UnderWay::reserve);
    let took = Spending { answers: 1, tokens, micros: priced.unwrap_or_else(reserve), unpriced };
    (Answer { session, environment, person, day: day(at), model, took }, under_way)
}

fn day(at: UnixMillis) -> String {
    let at = jiff::Timestamp::from_millisecond(at).unwrap_or_default();
    at.strftime("%Y-%m-%d").to_string()
}

#[cfg(test)]
mod tests {
    use hostd_core::usage::Tokens;

    use super::*;

    #[tokio::test]
    async fn own_prices_go_before_those_that_are_shipped() {
        let folder = tempfile::tempdir().unwrap();
        let table = PriceTable::of(folder.path());
        let tokens = Tokens { input: 1_000_000, ..Tokens::default() };
        let of = async |model: &str| table.current().await.micros(model, &tokens);
        let shipped = of("claude-opus-4-20250514").await.unwrap();
        let write = |text: &str, age: u64| {
            let path = folder.path().join(FILE);
            fs::write(&path, text).unwrap();
            let changed = SystemTime::now() - std::time::Duration::from_secs(age);
            fs::File::options().write(true).open(path).unwrap().set_modified(changed).unwrap();
        };
        write("date = '2026-12-01'\nmodel = [{ name = 'claude-opus-*', input = 1.0, output = 1.0 }]", 10);
        assert_eq!((of("claude-opus-4-20250514").await, of("nobody's").await), (Some(1_000_000), None));
        assert!(of("claude-sonnet-4-20250514").await.is_some(), "the shipped ones are there too");
        assert_eq!(table.current().await.date, "2026-12-01");
        write("date = 3", 5);
        assert_eq!(of("claude-opus-4-20250514").await, Some(shipped));
        assert_eq!(day(1_796_000_000_000), "2026-11-30");
    }
}
