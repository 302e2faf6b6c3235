//! What is foreign in an observation, made safe and kept within bounds: an answer is stored, sent and printed whole.

use super::{Delivered, Observation, ReviewSeen, wait::CheckSeen};
use crate::{checks::NAME_MAX, text};

/// Longest text of a status or a notice that is kept, in bytes.
pub(super) const TEXT_MAX: usize = 4096;
/// Most checks, and most reviews, in an answer.
const LIST_MAX: usize = 64;
/// Most comments of a review in an answer.
const COMMENTS_MAX: usize = 200;
/// Longest text of an answer, in bytes.
const ANSWER_MAX: usize = 16 << 10;
/// Most bytes of all texts of an answer's checks together, and of its reviews together; what comes after is left out.
const ALL_MAX: usize = 128 << 10;

/// Bytes that the texts to come may still take.
struct Budget(usize);

impl Budget {
    fn clean(&mut self, text: &mut String) {
        *text = text::clean(text, ANSWER_MAX.min(self.0));
        self.0 -= text.len();
    }
}

impl Observation {
    /// Returns the observation within its bounds, with nothing in it that could trouble a terminal, and without the reviews
    /// that the agent was told of.
    pub(super) fn cleaned(mut self, delivered: &Delivered) -> Self {
        self.pull.head = text::clean(&self.pull.head, NAME_MAX);
        if let Some(failed) = &mut self.pull.failed {
            failed.name = text::one_line(&text::clean(&failed.name, NAME_MAX));
        }
        clean_checks(&mut self.checks);
        self.reviews.retain(|review| review.id > delivered.review);
        clean_reviews(&mut self.reviews);
        self
    }
}

/// Cleans checks, their logs last: no check loses its name for the log of another.
fn clean_checks(checks: &mut Vec<CheckSeen>) {
    let mut budget = Budget(ALL_MAX);
    checks.truncate(LIST_MAX);
    for check in checks.iter_mut() {
        [&mut check.name, &mut check.summary].into_iter().for_each(|text| budget.clean(text));
    }
    for check in checks.iter_mut() {
        [&mut check.url, &mut check.log].into_iter().for_each(|text| budget.clean(text));
    }
}

/// Cleans reviews; the newest are kept, and each keeps its reviewer's name.
fn clean_reviews(reviews: &mut Vec<ReviewSeen>) {
    let mut budget = Budget(ALL_MAX);
    reviews.drain(..reviews.len().saturating_sub(LIST_MAX));
    reviews.iter_mut().for_each(|review| review.by = text::clean(&review.by, NAME_MAX));
    for review in reviews.iter_mut().rev() {
        review.comments.truncate(COMMENTS_MAX);
        budget.clean(&mut review.body);
        for comment in &mut review.comments {
            let texts = [&mut comment.path, &mut comment.quote, &mut comment.body];
            texts.into_iter().for_each(|text| budget.clean(text));
        }
    }
}
