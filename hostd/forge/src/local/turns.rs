//! Who does something that must not be done twice at a time.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Keys that are being worked on. Clones share them.
#[derive(Clone, Debug)]
pub(super) struct Turns<K>(Arc<Mutex<BTreeSet<K>>>);

/// A key that is being worked on, until this is dropped.
#[derive(Debug)]
pub(super) struct Turn<K: Ord> {
    turns: Turns<K>,
    key: K,
}

impl<K> Default for Turns<K> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<K: Ord> Turns<K> {
    /// Takes the turn for a key; None: somebody works on it already.
    pub(super) fn take(&self, key: &K) -> Option<Turn<K>>
    where
        K: Clone,
    {
        let first = self.lock().insert(key.clone());
        first.then(|| Turn { turns: Self(self.0.clone()), key: key.clone() })
    }

    /// Whether somebody works on this key.
    pub(super) fn is_taken(&self, key: &K) -> bool {
        self.lock().contains(key)
    }

    /// Whether somebody works on any key for which `of` says yes.
    pub(super) fn any(&self, of: impl Fn(&K) -> bool) -> bool {
        self.lock().iter().any(of)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<K>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Ord> Drop for Turn<K> {
    fn drop(&mut self) {
        self.turns.lock().remove(&self.key);
    }
}
