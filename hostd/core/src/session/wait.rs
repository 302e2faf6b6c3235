//! What agents wait for (`session wait`), what the forge shows of their pull request, and what answers a wait.

use serde::{Deserialize, Serialize};

use super::{Delivered, Session, delivered::of_checks};
use crate::{
    UnixMillis,
    checks::CheckState,
    pulls::{Standing, Verdict},
    text,
};

/// Something that an agent may wait for by `session wait`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WaitFor {
    /// The checks of the pull request: ends when all required ones have passed, or the first has failed.
    Checks,
    /// A review of the pull request that the agent was not told of, or the pull request's end; or its checks' failure, if the
    /// agent was not told that of this head, or the checks were run again since.
    Review,
    /// A message of a person.
    Message,
}

impl WaitFor {
    /// The argument of `session wait` that stands for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Checks => "checks",
            Self::Review => "review",
            Self::Message => "message",
        }
    }

    /// Returns what this argument of `session wait` stands for; None: nothing.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        match word {
            "checks" => Some(Self::Checks),
            "review" => Some(Self::Review),
            "message" => Some(Self::Message),
            _ => None,
        }
    }
}

/// A `session wait` of the agent, which sleeps until it is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wait {
    /// Id of the wait, given by the guest, rising since its boot.
    pub id: u64,
    /// What the agent waits for.
    pub what: WaitFor,
    /// Number of the session's pull request that the wait is about; None: the newest one, open ones first.
    #[serde(default)]
    pub pull: Option<u64>,
    /// When the wait began.
    pub since: UnixMillis,
    /// When the wait is answered with [`Answer::TimedOut`] at the latest; None: never.
    pub until: Option<UnixMillis>,
}

/// State of a session's pull request, as last read from the forge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pull {
    /// Number of the pull request in its repository.
    pub number: u64,
    /// Whether the pull request is open, merged or closed.
    pub fate: Fate,
    /// Id of the head commit.
    pub head: String,
    /// Number of the head's checks that have passed.
    pub passed: u32,
    /// Number of the head's checks that count: the required ones, or all where none is required.
    pub total: u32,
    /// The first of those checks that failed.
    pub failed: Option<Failure>,
    /// What the reviews of the pull request come to.
    pub standing: Standing,
    /// When hostd saw the push of the head commit.
    pub since: UnixMillis,
}

impl Pull {
    /// Outcome of the head's checks once they are done: failed, none or passed; None: they are not done yet.
    #[must_use]
    pub fn outcome(&self) -> Option<&'static str> {
        match (&self.failed, self.total) {
            (Some(_), _) => Some(FAILED),
            (None, 0) => Some("none"),
            (None, total) if self.passed >= total => Some("passed"),
            (None, _) => None,
        }
    }
}

/// Whether a pull request is open, merged or closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fate {
    /// The pull request is open or being merged.
    Open,
    /// The base branch has the pull request's changes.
    Merged,
    /// The pull request was closed without a merge.
    Closed,
}

/// A check that failed, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Name of the check.
    pub name: String,
    /// When the check failed.
    pub at: UnixMillis,
}

/// An answer that is due to the agent's wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// Id of the wait.
    pub wait: u64,
    /// The answer to the wait.
    pub answer: Answer,
}

/// What the forge shows of a session's pull request: the one that its wait names, if it is the session's own, else the newest,
/// open ones first. Foreign: [`step`](super::step) bounds and cleans it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observation {
    /// Numbers of all of the session's pull requests, rising.
    pub own: Vec<u64>,
    /// State of the pull request.
    pub pull: Pull,
    /// The checks of the head commit that count.
    pub checks: Vec<CheckSeen>,
    /// Reviews by others than the session, oldest first.
    pub reviews: Vec<ReviewSeen>,
}

/// A check as an agent is told of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckSeen {
    /// Name of the check.
    pub name: String,
    /// State of the check.
    pub state: CheckState,
    /// What the check found, in a line; may be empty.
    pub summary: String,
    /// URL where people read more; may be empty.
    pub url: String,
    /// End of the check's output; empty where it passed.
    pub log: String,
    /// When this run of the check began; 0: it has not begun.
    #[serde(default)]
    pub started_at: UnixMillis,
}

/// A review as an agent is told of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReviewSeen {
    /// Number of the review in its pull request, rising.
    pub id: u64,
    /// Name of the reviewer.
    pub by: String,
    /// The reviewer's verdict.
    pub verdict: Verdict,
    /// Text about the pull request as a whole; may be empty.
    pub body: String,
    /// Comments on lines and files, in the order in which they were given.
    pub comments: Vec<CommentSeen>,
}

/// A comment as an agent is told of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommentSeen {
    /// Path of the file in the repository.
    pub path: String,
    /// Number of the line in the file, from 1; None: the whole file.
    pub line: Option<u32>,
    /// Text of the line that the comment is about; empty for a file.
    pub quote: String,
    /// Text of the comment.
    pub body: String,
}

/// Answer to a wait; its JSON is what `session wait` prints.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "answer")]
pub enum Answer {
    /// The checks of the pull request's head are done.
    Checks {
        /// Number of the pull request.
        number: u64,
        /// Id of the head commit that was checked.
        head: String,
        /// Outcome of the checks: passed, failed, or none where there are no checks.
        outcome: String,
        /// The checks that count.
        checks: Vec<CheckSeen>,
    },
    /// There are reviews of the pull request, or it is merged or closed.
    Review {
        /// Number of the pull request.
        number: u64,
        /// Id of the head commit.
        head: String,
        /// Whether the pull request is open, merged or closed.
        state: Fate,
        /// Reviews that the agent was not told of before.
        reviews: Vec<ReviewSeen>,
    },
    /// A person sent a message.
    Message {
        /// Text of the message.
        text: String,
    },
    /// The wait has lasted as long as it may, and nothing has answered it.
    TimedOut,
    /// The session has no pull request that could have checks or reviews.
    NoPullRequest,
    /// The wait names a pull request that is not the session's.
    Refused {
        /// Reason for the agent, with what to do.
        why: String,
    },
}

/// Outcome of checks of which one failed.
const FAILED: &str = "failed";
/// Most checks whose logs are typed into a terminal, most lines of each log, and most characters of a line.
const WORDS_LOGS: (usize, usize, usize) = (3, 20, 240);
/// What is typed at the end of words that were too long.
const CUT: &str = "\n[cut: there is more]";
/// Most of the session's pull requests that a refusal names; the newest ones are named.
const NAMED: usize = 8;

impl Observation {
    /// Answer to this wait by what is seen; None: nothing answers it yet. `told`: what the agent was told of the observed pull
    /// request.
    pub(super) fn answers_to(&self, wait: &Wait, delivered: &Delivered) -> Option<Answer> {
        match wait.pull {
            Some(number) if !self.own.contains(&number) => Some(Answer::not_own(number, &self.own)),
            // Of before the wait.
            Some(number) if number != self.pull.number => None,
            _ => self.answers(wait.what, delivered),
        }
    }

    /// Answer to a wait for `what`, by what is seen and by what the agent was `told`; None: nothing answers it yet.
    pub(super) fn answers(&self, what: WaitFor, delivered: &Delivered) -> Option<Answer> {
        let Pull { number, fate, head, .. } = &self.pull;
        match what {
            WaitFor::Checks => Some(Answer::Checks {
                number: *number,
                head: head.clone(),
                outcome: self.pull.outcome()?.into(),
                checks: self.checks.clone(),
            }),
            WaitFor::Review => {
                let reviews: Vec<_> =
                    self.reviews.iter().filter(|review| review.id > delivered.review).cloned().collect();
                if reviews.is_empty() && *fate == Fate::Open {
                    return self.bad_news(delivered);
                }
                Some(Answer::Review { number: *number, head: head.clone(), state: *fate, reviews })
            }
            WaitFor::Message => None,
        }
    }

    /// The failed checks, for a wait for a review: nobody reviews what its checks do not let through. None where the agent was
    /// told.
    pub(super) fn bad_news(&self, delivered: &Delivered) -> Option<Answer> {
        let failed = self.pull.outcome() == Some(FAILED);
        if failed && !self.checks_delivered(delivered) { self.answers(WaitFor::Checks, delivered) } else { None }
    }

    /// Whether the agent was told the checks' outcome. A check that was run again and failed again is news; one that began
    /// before the agent was told, and failed after the first, is not.
    pub(super) fn checks_delivered(&self, delivered: &Delivered) -> bool {
        let known = self.pull.outcome().is_some_and(|outcome| delivered.checks == of_checks(&self.pull.head, outcome));
        known && !self.checks.iter().any(|check| check.state.is_bad() && check.started_at > delivered.began)
    }
}

impl Answer {
    /// The refusal of a wait for a pull request whose number is not among the session's `own`.
    pub(super) fn not_own(number: u64, own: &[u64]) -> Self {
        let names: Vec<_> = own.iter().rev().take(NAMED).map(|number| format!("#{number}")).collect();
        let why = match &names[..] {
            [] => format!(
                "this session has no pull request #{number}, nor any other; open one with `session pr open --title TEXT`"
            ),
            names => format!(
                "#{number} is no pull request of this session; wait for one of {}, or without --pr for the newest",
                names.join(", ")
            ),
        };
        Self::Refused { why }
    }

    /// The answer in words, of several lines and at most [`Session::MESSAGE`] bytes, for an agent that reads its terminal alone.
    #[must_use]
    pub fn in_words(&self) -> String {
        let words = text::clean(&self.words(), usize::MAX);
        if words.len() <= Session::MESSAGE {
            return words;
        }
        text::clean(&words, Session::MESSAGE - CUT.len()) + CUT
    }

    fn words(&self) -> String {
        match self {
            Self::Checks { number, outcome, checks, .. } if outcome == FAILED => {
                let bad: Vec<_> = checks.iter().filter(|check| check.state.is_bad()).collect();
                let names: Vec<_> =
                    bad.iter().map(|check| format!("`{}` {}", check.name, check.state.word())).collect();
                let mut words = format!("The checks of pull request #{number}: {}.", names.join(", "));
                for check in bad.iter().take(WORDS_LOGS.0) {
                    words += &check.in_words();
                }
                words + "\n\nFix this and push to the same branch; its checks then run again."
            }
            Self::Checks { number, .. } => format!("The checks of pull request #{number} have passed."),
            Self::Review { number, state, reviews, .. } => {
                // What may be cut comes last.
                let words = match state {
                    Fate::Open => format!("Review of pull request #{number}:"),
                    Fate::Merged => format!("Pull request #{number} is merged."),
                    Fate::Closed => format!("Pull request #{number} is closed."),
                };
                reviews.iter().fold(words, |words, review| words + "\n\n" + &review.in_words())
            }
            Self::Message { text } => text.clone(),
            Self::TimedOut => "Nothing happened in time.".into(),
            Self::NoPullRequest => "There is no pull request.".into(),
            Self::Refused { why } => why.clone(),
        }
    }
}

impl CheckSeen {
    /// What the check found, and the end of its log, for an agent that reads its terminal alone.
    fn in_words(&self) -> String {
        let (_, lines, width) = WORDS_LOGS;
        let mut words = match text::one_line(&self.summary) {
            summary if summary.is_empty() => String::new(),
            summary => format!("\n\n`{}` says: {summary}", self.name),
        };
        let log = self.log.trim_end();
        if log.is_empty() {
            return if self.url.is_empty() {
                words
            } else {
                words + &format!("\n\nMore of `{}`: {}", self.name, self.url)
            };
        }
        words += &format!("\n\nThe end of the log of `{}`:", self.name);
        let skipped = log.lines().count().saturating_sub(lines);
        for line in log.lines().skip(skipped) {
            words.push('\n');
            words.extend(line.trim_end().chars().take(width));
        }
        words
    }
}

impl ReviewSeen {
    /// Whether the review says anything beside its verdict.
    pub(super) fn has_words(&self) -> bool {
        !self.body.trim().is_empty() || !self.comments.is_empty()
    }

    fn in_words(&self) -> String {
        let mut words = format!("{} says {}", self.by, self.verdict.word());
        if !self.body.is_empty() {
            words += &format!(": {}", self.body.trim());
        }
        for comment in &self.comments {
            let line = comment.line.map_or_else(String::new, |line| format!(":{line}"));
            let quote = match text::one_line(&comment.quote) {
                quote if quote.is_empty() => quote,
                quote => format!(" (on `{quote}`)"),
            };
            words += &format!("\n{}{line}: {}{quote}", comment.path, comment.body.trim());
        }
        words
    }
}
