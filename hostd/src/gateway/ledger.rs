//! What sessions have spent on models, and what they may spend: where a request to a model waits for its turn, or is refused.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use hostd_core::usage::{Account, Admission};
use tokio::sync::Notify;

/// Accounts of sessions, by their ids. Amounts are millionths of a US dollar.
#[derive(Debug, Default)]
pub struct Ledger {
    accounts: Mutex<HashMap<String, Account>>,
    /// Told whenever a request that waits may have its turn.
    changed: Notify,
}

/// The budget of a session, which is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UsedUp(pub u64);

impl Ledger {
    /// Opens the account of a session that has spent this.
    pub fn open(&self, session: &str, budget: Option<u64>, spent: u64) {
        self.accounts().insert(session.into(), Account { budget, spent, ..Account::default() });
    }

    /// Sets what a session may spend; None: any amount.
    pub fn set_budget(&self, session: &str, budget: Option<u64>) {
        if let Some(account) = self.accounts().get_mut(session) {
            account.budget = budget;
        }
        self.changed.notify_waiters();
    }

    /// Counts the cost of an answer that a session had.
    pub fn charge(&self, session: &str, micros: u64) {
        if let Some(account) = self.accounts().get_mut(session) {
            account.charge(micros);
        }
        self.changed.notify_waiters();
    }

    /// Closes the account of a session that is gone.
    pub fn close(&self, session: &str) {
        self.accounts().remove(session);
        self.changed.notify_waiters();
    }

    /// Whether this is a session, as builds and checks are not.
    pub(super) fn knows(&self, session: &str) -> bool {
        self.accounts().contains_key(session)
    }

    /// Whether what this session spends is bounded.
    pub(super) fn has_budget(&self, session: &str) -> bool {
        self.accounts().get(session).is_some_and(|account| account.budget.is_some())
    }

    /// Waits until the session may make one more request to a model. None: it has no account, as builds and checks have none.
    ///
    /// # Errors
    /// [`UsedUp`] where it may make none.
    pub(super) async fn begin(self: &Arc<Self>, session: &str) -> Result<Option<UnderWay>, UsedUp> {
        loop {
            // From here on no change is missed.
            let changed = self.changed.notified();
            {
                let mut accounts = self.accounts();
                let Some(account) = accounts.get_mut(session) else { return Ok(None) };
                match account.admission() {
                    Admission::Now => {
                        account.under_way += 1;
                        return Ok(Some(UnderWay { ledger: self.clone(), session: session.into() }));
                    }
                    Admission::Never => return Err(UsedUp(account.budget.unwrap_or_default())),
                    Admission::Later => {}
                }
            }
            changed.await;
        }
    }

    fn accounts(&self) -> MutexGuard<'_, HashMap<String, Account>> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request to a model that is under way; dropping it ends that.
#[derive(Debug)]
pub struct UnderWay {
    ledger: Arc<Ledger>,
    session: String,
}

impl UnderWay {
    /// What the request has reserved, which counts where its answer does not say what it cost. 0: the session has no budget.
    #[must_use]
    pub fn reserve(&self) -> u64 {
        self.ledger.accounts().get(&self.session).map_or(0, Account::reserve)
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if let Some(account) = self.ledger.accounts().get_mut(&self.session) {
            account.under_way = account.under_way.saturating_sub(1);
        }
        self.ledger.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    const WITHIN: Duration = Duration::from_secs(30);

    #[tokio::test]
    async fn a_request_waits_for_its_turn_and_is_refused_when_the_budget_is_used_up() {
        let ledger = Arc::new(Ledger::default());
        assert!(ledger.begin("nobody").await.unwrap().is_none());
        ledger.open("a", Some(160), 0);
        let mut all = vec![];
        for _ in 0..16 {
            all.push(ledger.begin("a").await.unwrap().unwrap());
        }
        let later = tokio::spawn({
            let ledger = ledger.clone();
            async move { ledger.begin("a").await.map(|one| one.is_some()) }
        });
        tokio::task::yield_now().await;
        assert!(!later.is_finished(), "sixteen reserve all of it");
        all.pop();
        assert_eq!(timeout(WITHIN, later).await.unwrap().unwrap(), Ok(true));
        all.push(ledger.begin("a").await.unwrap().unwrap());
        let later = [0, 1].map(|_| {
            let ledger = ledger.clone();
            tokio::spawn(async move { ledger.begin("a").await.map(|one| one.is_some()) })
        });
        tokio::task::yield_now().await;
        ledger.charge("a", 160);
        for later in later {
            assert_eq!(timeout(WITHIN, later).await.unwrap().unwrap(), Err(UsedUp(160)), "all that waited are refused");
        }
        assert_eq!(ledger.begin("a").await.map(|_| ()), Err(UsedUp(160)));
        all.clear();
        ledger.set_budget("a", Some(200));
        assert_eq!(ledger.begin("a").await.unwrap().unwrap().reserve(), 160, "the dearest answer");
        ledger.close("a");
        assert!(ledger.begin("a").await.unwrap().is_none());
    }
}
