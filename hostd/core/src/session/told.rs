//! What the agent has been told of its pull requests, so that nothing is told twice.

use serde::{Deserialize, Serialize};

use super::{Answer, Fate, Session};
use crate::UnixMillis;

/// Most pull requests for which it is kept what the agent was told; the last ones stay.
const KEPT: usize = 16;

/// What the agent was told of one pull request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
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
    pub(super) fn told_of(&self, number: u64) -> Told {
        let known = self.told.iter().find(|told| told.number == number).cloned();
        known.unwrap_or_else(|| Told { number, ..Told::default() })
    }

    /// Records that the agent has this answer, or will have it from its inbox.
    pub(super) fn remember(&mut self, answer: &Answer) {
        match answer {
            Answer::Checks { number, head, outcome, checks } => {
                let began = checks.iter().map(|check| check.started_at).max().unwrap_or_default();
                self.keep(Told { checks: of_checks(head, outcome), began, ..self.told_of(*number) });
            }
            Answer::Review { number, state, reviews, .. } => {
                let told = self.told_of(*number);
                let last = reviews.iter().map(|review| review.id).max().unwrap_or_default();
                let over = told.over || *state != Fate::Open;
                self.keep(Told { review: told.review.max(last), over, ..told });
            }
            Answer::Message { .. } | Answer::TimedOut | Answer::NoPullRequest | Answer::Refused { .. } => {}
        }
    }

    /// Moves the review of a record of before [`Session::told`] to the pull request last seen.
    pub(super) fn told_before(&mut self) {
        let review = std::mem::take(&mut self.reviews_told);
        if let Some(pull) = self.pull.as_ref().filter(|_| review > 0) {
            self.keep(Told { review, ..self.told_of(pull.number) });
        }
    }

    fn keep(&mut self, told: Told) {
        self.told.retain(|known| known.number != told.number);
        self.told.drain(..(self.told.len() + 1).saturating_sub(KEPT));
        self.told.push(told);
    }
}

/// Value of [`Told::checks`] for this head commit and outcome.
pub(super) fn of_checks(head: &str, outcome: &str) -> String {
    format!("{head} {outcome}")
}
