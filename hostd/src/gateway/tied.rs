//! Tasks that end with what they were started for.

use std::{
    future::Future,
    sync::{Arc, Mutex, PoisonError},
};

use hyper::rt::Executor;
use tokio::task::JoinSet;

/// Runs futures as tasks, all of which are aborted when the last clone is dropped.
#[derive(Clone, Debug, Default)]
pub(super) struct Tied(Arc<Mutex<JoinSet<()>>>);

impl<F> Executor<F> for Tied
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, future: F) {
        let mut tasks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(async move {
            future.await;
        });
    }
}

impl Tied {
    /// Ends all of them. A task may hold a clone of what runs it, which then is never dropped.
    pub(super) fn end(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).abort_all();
    }
}

/// Ends the tasks when this is dropped.
pub(super) struct EndOnDrop(pub(super) Tied);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.0.end();
    }
}
