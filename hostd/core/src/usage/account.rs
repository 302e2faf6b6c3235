//! What a session has spent on models, and what it may spend.

use serde::{Deserialize, Serialize};

use super::Tokens;

/// Most requests of a session with a budget that are under way at a time: each reserves at least such a part of it.
const AT_A_TIME: u64 = 16;

/// What answers of models took altogether.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spending {
    /// Number of answers.
    pub answers: u64,
    /// Tokens of all of them.
    pub tokens: Tokens,
    /// Cost in millionths of a US dollar, of what has a price; and what counts against a budget in place of what has none.
    pub micros: u64,
    /// Tokens of models that no table of prices knows.
    pub unpriced: u64,
}

impl Spending {
    /// Sum of this and more.
    #[must_use]
    pub fn plus(&self, more: &Self) -> Self {
        Self {
            answers: self.answers.saturating_add(more.answers),
            tokens: self.tokens.plus(&more.tokens),
            micros: self.micros.saturating_add(more.micros),
            unpriced: self.unpriced.saturating_add(more.unpriced),
        }
    }
}

/// Whether a request to a model may be sent on now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// The request may be sent on.
    Now,
    /// The request waits until one that is under way is over, or the budget is raised.
    Later,
    /// The budget is used up.
    Never,
}

/// The account of one session. Amounts are millionths of a US dollar.
///
/// A request reserves, for as long as it is under way, what the dearest answer of the session has cost, and a sixteenth of the budget
/// at least. So what is spent in the end is more than the budget by less than what one request reserves, and by what answers cost more
/// than that, however many requests are made at a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Amount that may be spent; None: any.
    pub budget: Option<u64>,
    /// Amount that was spent.
    pub spent: u64,
    /// Cost of the dearest answer.
    pub dearest: u64,
    /// Number of requests that are under way.
    pub under_way: u64,
}

impl Account {
    /// Whether one more request may be sent on.
    #[must_use]
    pub fn admission(&self) -> Admission {
        let Some(budget) = self.budget else { return Admission::Now };
        let reserved = self.under_way.saturating_mul(self.reserve());
        match budget {
            _ if self.spent >= budget => Admission::Never,
            _ if self.spent.saturating_add(reserved) < budget => Admission::Now,
            _ => Admission::Later,
        }
    }

    /// Amount that a request reserves, and that counts where its answer does not say what it took, or no table knows the price of
    /// its model. Without a budget: 0.
    #[must_use]
    pub fn reserve(&self) -> u64 {
        self.budget.map_or(0, |budget| (budget / AT_A_TIME).max(self.dearest).max(1))
    }

    /// Counts the cost of an answer.
    pub fn charge(&mut self, micros: u64) {
        self.spent = self.spent.saturating_add(micros);
        self.dearest = self.dearest.max(micros);
    }
}
