//! Who is connected: strangers, of whom there are few, until they have said the token.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use hostd_core::strangers::Strangers;
use tokio_util::sync::CancellationToken;

use super::Limits;

/// Lets connections in, and sends strangers away where there are too many.
#[derive(Clone, Debug)]
pub(super) struct Desk(Arc<Mutex<Waiting>>);

#[derive(Debug)]
struct Waiting {
    strangers: Strangers,
    /// Token by which each stranger is sent away.
    away: HashMap<u64, CancellationToken>,
}

/// A connection that was let in. Dropping it makes room.
#[derive(Debug)]
pub(super) struct Visit {
    desk: Desk,
    number: u64,
    away: CancellationToken,
}

impl Desk {
    pub(super) fn new(limits: Limits) -> Self {
        let strangers = Strangers::new(limits.strangers, limits.of_address);
        Self(Arc::new(Mutex::new(Waiting { strangers, away: HashMap::new() })))
    }

    /// Lets a stranger in; where there are too many, another is sent away.
    pub(super) fn admit(&self, address: IpAddr) -> Visit {
        let mut waiting = self.lock();
        let (number, gone) = waiting.strangers.admit(address);
        if let Some(gone) = gone.and_then(|number| waiting.away.remove(&number)) {
            gone.cancel();
        }
        let away = CancellationToken::new();
        waiting.away.insert(number, away.clone());
        drop(waiting);
        Visit { desk: self.clone(), number, away }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Visit {
    /// The connection has said the token: it is no stranger any more, and is not sent away from now on.
    pub(super) fn become_known(&self) {
        let mut waiting = self.desk.lock();
        waiting.strangers.leave(self.number);
        waiting.away.remove(&self.number);
    }

    /// Waits until the connection has to make room.
    pub(super) async fn sent_away(&self) {
        self.away.cancelled().await;
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.become_known();
    }
}
