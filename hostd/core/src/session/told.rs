//! What the agent has been told of its pull requests, so that nothing is told twice.

use serde::{Deserialize, Serialize};

use super::{Answer, Fate, Session};
use crate::UnixMillis;

/// Pull requests of which that is kept: the last.
const KEPT: usize = 16;

/// What the agent was told of one pull request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// Its number.
    pub number: u64,
    /// The last review; they are numbered from 1 in every pull request.
    #[serde(default)]
    pub review: u64,
    /// Head and outcome of the last checks; empty: none.
    #[serde(default)]
    pub checks: String,
    /// When the last run of those began.
    #[serde(default)]
    pub began: UnixMillis,
    /// That it is merged or closed.
    #[serde(default)]
    pub over: bool,
}

impl Session {
    /// What the agent was told of this pull request.
    pub(super) fn told_of(&self, number: u64) -> Told {
        let known = self.told.iter().find(|told| told.number == number).cloned();
        known.unwrap_or_else(|| Told { number, ..Told::default() })
    }

    /// The agent has this, or will.
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

    /// A record of before this was kept for each pull request has one number: that of the one last seen.
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

/// Names what the checks of a commit came to.
pub(super) fn of_checks(head: &str, outcome: &str) -> String {
    format!("{head} {outcome}")
}
