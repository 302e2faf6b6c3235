//! The connections of one guest to the world, and who spoke last on each.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use hostd_core::streams::{Spoke, is_under_way};
use tokio::time::Instant;

/// Record of a guest's connections. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Streams(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    next: u64,
    open: HashMap<u64, (Spoke, Instant)>,
}

impl Streams {
    /// Records a connection that begins.
    pub(super) fn begin(&self) -> Arc<Stream> {
        let mut state = self.lock();
        let id = state.next;
        state.next += 1;
        state.open.insert(id, (Spoke::Program, Instant::now()));
        Arc::new(Stream { all: self.clone(), id })
    }

    /// Whether an answer is under way on any of them.
    pub(super) fn are_under_way(&self) -> bool {
        self.lock().open.values().any(|(last, at)| is_under_way(*last, at.elapsed()))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One connection, until it is dropped.
#[derive(Debug)]
pub(super) struct Stream {
    all: Streams,
    id: u64,
}

impl Stream {
    /// Records that somebody spoke.
    pub(super) fn spoke(&self, who: Spoke) {
        self.all.lock().open.insert(self.id, (who, Instant::now()));
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.all.lock().open.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_under_way_until_it_is_still_or_over() {
        let streams = Streams::default();
        assert!(!streams.are_under_way());
        let (one, other) = (streams.begin(), streams.begin());
        other.spoke(Spoke::World);
        tokio::time::advance(Duration::from_secs(60)).await;
        assert!(streams.are_under_way(), "one is not answered yet");
        one.spoke(Spoke::World);
        tokio::time::advance(Duration::from_secs(60)).await;
        assert!(!streams.are_under_way(), "both are kept for later");
        one.spoke(Spoke::Program);
        assert!(streams.are_under_way());
        drop(one);
        assert!(!streams.are_under_way());
    }
}
