//! What the agent has been told of its pull requests, so that nothing is told twice.

use serde::{Deserialize, Serialize};

use super::{Answer, Fate, Session};
use crate::UnixMillis;

/// Most pull requests for which it is kept what the agent was told; the last ones stay.
const KEPT: usize = 16;

/// What the agent was told of one pull request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivered {
    /// Number of the pull request.
    pub number: u64,
    /// Id of the last review that the agent was told of; 0: of none.
    #[serde(default)]
    pub review: u64,
    /// Head commit and outcome of the last checks that the agent was told of, separated by a space; empty: of none.
    #[serde(default)]
    pub checks: String,
    /// When the last run among those checks began.
    #[serde(default)]
    pub began: UnixMillis,
    /// Whether the agent was told that the pull request is merged or closed.
    #[serde(default)]
    pub over: bool,
}

impl Session {
    /// What the agent was told of the pull request with this number.
    pub(super) fn delivered_of(&self, number: u64) -> Delivered {
        let known = self.delivered.iter().find(|delivered| delivered.number == number).cloned();
        known.unwrap_or_else(|| Delivered { number, ..Delivered::default() })
    }

    /// Records that the agent has this answer, or will have it from its inbox.
    pub(super) fn remember(&mut self, answer: &Answer) {
        match answer {
            Answer::Checks { number, head, outcome, checks } => {
                let began = checks.iter().map(|check| check.started_at).max().unwrap_or_default();
                self.keep(Delivered { checks: of_checks(head, outcome), began, ..self.delivered_of(*number) });
            }
            Answer::Review { number, state, reviews, .. } => {
                let delivered = self.delivered_of(*number);
                let last = reviews.iter().map(|review| review.id).max().unwrap_or_default();
                let over = delivered.over || *state != Fate::Open;
                self.keep(Delivered { review: delivered.review.max(last), over, ..delivered });
            }
            Answer::Message { .. } | Answer::TimedOut | Answer::NoPullRequest | Answer::Refused { .. } => {}
        }
    }

    /// Moves the review of a record of before [`Session::delivered`] to the pull request last seen.
    pub(super) fn adopt_old_reviews(&mut self) {
        let review = std::mem::take(&mut self.reviews_told);
        if let Some(pull) = self.pull.as_ref().filter(|_| review > 0) {
            self.keep(Delivered { review, ..self.delivered_of(pull.number) });
        }
    }

    fn keep(&mut self, delivered: Delivered) {
        self.delivered.retain(|known| known.number != delivered.number);
        self.delivered.drain(..(self.delivered.len() + 1).saturating_sub(KEPT));
        self.delivered.push(delivered);
    }
}

/// Value of [`Delivered::checks`] for this head commit and outcome.
pub(super) fn of_checks(head: &str, outcome: &str) -> String {
    format!("{head} {outcome}")
}
