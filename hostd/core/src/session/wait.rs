//! What agents wait for (`session wait`), what the forge shows of their pull request, and what answers a wait.

use serde::{Deserialize, Serialize};

use super::{Session, Told, told::of_checks};
use crate::{
    UnixMillis,
    checks::CheckState,
    pulls::{Standing, Verdict},
    text,
};

/// What an agent may wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WaitFor {
    /// The checks of its pull request: all required ones have passed, or the first has failed.
    Checks,
    /// A review of its pull request that it was not told of, or the end of that; or that its checks have failed, if it was not
    /// told that of this head, or they were run again since.
    Review,
    /// A message of a person.
    Message,
}

impl WaitFor {
    /// What `session wait` calls it.
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

/// A command of the agent that sleeps until it is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wait {
    /// The guest's, rising since its boot.
    pub id: u64,
    /// For what.
    pub what: WaitFor,
    /// Of which of the session's pull requests, by number; None: of the newest, open ones first.
    #[serde(default)]
    pub pull: Option<u64>,
    /// Since when.
    pub since: UnixMillis,
    /// Until when at most; None: for ever.
    pub until: Option<UnixMillis>,
}

/// Where a session's pull request stands, as last read from the forge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pull {
    /// In its repository.
    pub number: u64,
    /// Whether it is over.
    pub fate: Fate,
    /// Its head commit.
    pub head: String,
    /// How many checks of the head have passed.
    pub passed: u32,
    /// Of how many that count: the required ones, or all where none is required.
    pub total: u32,
    /// The first of them that failed.
    pub failed: Option<Failure>,
    /// How its reviews stand.
    pub standing: Standing,
    /// Since when its head is what it is.
    pub since: UnixMillis,
}

impl Pull {
    /// What the checks of its head come to, once nothing more will come of them; None: not yet.
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

/// Whether a pull request is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fate {
    /// Not yet.
    Open,
    /// The base branch has it.
    Merged,
    /// Its branch is gone.
    Closed,
}

/// A check that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Its name.
    pub name: String,
    /// When.
    pub at: UnixMillis,
}

/// What the forge shows of a session's pull request: the one that its wait names, if that is its own, else the newest, open ones
/// first. Foreign: [`step`](super::step) bounds and cleans it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observation {
    /// Numbers of all the session's pull requests, rising.
    pub own: Vec<u64>,
    /// Where it stands.
    pub pull: Pull,
    /// The checks of its head that count.
    pub checks: Vec<CheckSeen>,
    /// Its reviews by others than the session, oldest first.
    pub reviews: Vec<ReviewSeen>,
}

/// A check, as an agent is told of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckSeen {
    /// Its name.
    pub name: String,
    /// Where it stands.
    pub state: CheckState,
    /// In a line.
    pub summary: String,
    /// Where to read more.
    pub url: String,
    /// The end of its output; empty where it passed.
    pub log: String,
    /// When this run of it began; 0: it has not.
    #[serde(default)]
    pub started_at: UnixMillis,
}

/// A review, as an agent is told of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReviewSeen {
    /// In its pull request, rising.
    pub id: u64,
    /// Who gave it.
    pub by: String,
    /// What they make of it.
    pub verdict: Verdict,
    /// In general.
    pub body: String,
    /// On lines and files.
    pub comments: Vec<CommentSeen>,
}

/// A comment, as an agent is told of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommentSeen {
    /// Of the file.
    pub path: String,
    /// From 1; None: the whole file.
    pub line: Option<u32>,
    /// The line that it is about.
    pub quote: String,
    /// What is said.
    pub body: String,
}

/// What a wait is answered with; its JSON is what `session wait` prints.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "answer")]
pub enum Answer {
    /// The checks are done.
    Checks {
        /// Of the pull request.
        number: u64,
        /// The commit that they are of.
        head: String,
        /// passed, failed, or none where there are no checks.
        outcome: String,
        /// All that count.
        checks: Vec<CheckSeen>,
    },
    /// There are reviews, or the pull request is over.
    Review {
        /// Of the pull request.
        number: u64,
        /// Its head commit.
        head: String,
        /// Whether it is over.
        state: Fate,
        /// Those that the agent was not told of.
        reviews: Vec<ReviewSeen>,
    },
    /// A person's message.
    Message {
        /// Which.
        text: String,
    },
    /// Nothing of the kind happened in time.
    TimedOut,
    /// There is no pull request that could have checks or reviews.
    NoPullRequest,
    /// The pull request that it names is not the session's.
    Refused {
        /// With what to do, for its agent.
        why: String,
    },
}

/// An outcome.
const FAILED: &str = "failed";
/// Lines of a log that are typed.
const WORDS_LINES: usize = 12;
/// Pull requests that a refusal names: the newest.
const NAMED: usize = 8;

impl Observation {
    /// What answers this wait now; None: nothing yet. `told` is what the agent knows of the pull request that is seen.
    pub(super) fn answers_to(&self, wait: &Wait, told: &Told) -> Option<Answer> {
        match wait.pull {
            Some(number) if !self.own.contains(&number) => Some(Answer::not_own(number, &self.own)),
            // Of before the wait.
            Some(number) if number != self.pull.number => None,
            _ => self.answers(wait.what, told),
        }
    }

    /// What there is to be said of it to whoever waits for this.
    pub(super) fn answers(&self, what: WaitFor, told: &Told) -> Option<Answer> {
        let Pull { number, fate, head, .. } = &self.pull;
        match what {
            WaitFor::Checks => Some(Answer::Checks {
                number: *number,
                head: head.clone(),
                outcome: self.pull.outcome()?.into(),
                checks: self.checks.clone(),
            }),
            WaitFor::Review => {
                let reviews: Vec<_> = self.reviews.iter().filter(|review| review.id > told.review).cloned().collect();
                if reviews.is_empty() && *fate == Fate::Open {
                    return self.bad_news(told);
                }
                Some(Answer::Review { number: *number, head: head.clone(), state: *fate, reviews })
            }
            WaitFor::Message => None,
        }
    }

    /// Nobody reviews what its checks do not let through: who waits for that is told, once.
    fn bad_news(&self, told: &Told) -> Option<Answer> {
        let failed = self.pull.outcome() == Some(FAILED);
        if failed && !self.checks_told(told) { self.answers(WaitFor::Checks, told) } else { None }
    }

    /// Whether the agent knows what its checks came to. One that was run again and failed again is news; one that began before
    /// it was told, and failed after the first, is not.
    pub(super) fn checks_told(&self, told: &Told) -> bool {
        let known = self.pull.outcome().is_some_and(|outcome| told.checks == of_checks(&self.pull.head, outcome));
        known && !self.checks.iter().any(|check| check.state.is_bad() && check.started_at > told.began)
    }
}

impl Answer {
    /// This number is none of the session's `own`.
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

    /// The same for an agent that reads its terminal alone; one line of at most [`Session::MESSAGE`] bytes.
    #[must_use]
    pub fn in_words(&self) -> String {
        text::clean(&self.words(), Session::MESSAGE)
    }

    fn words(&self) -> String {
        match self {
            Self::Checks { number, outcome, checks, .. } if outcome == FAILED => {
                let bad: Vec<_> = checks.iter().filter(|check| check.state.is_bad()).collect();
                let names: Vec<_> =
                    bad.iter().map(|check| format!("`{}` {}", check.name, check.state.word())).collect();
                let log = bad.first().map_or("", |check| check.log.as_str());
                let mut tail: Vec<&str> = log.lines().rev().take(WORDS_LINES).collect();
                tail.reverse();
                let (names, tail) = (names.join(", "), tail.join(" | "));
                text::one_line(&format!("The checks of pull request #{number}: {names}. The end of the log: {tail}"))
            }
            Self::Checks { number, .. } => format!("The checks of pull request #{number} have passed."),
            Self::Review { number, state, reviews, .. } => {
                // What may be cut comes last.
                let mut words = vec![match state {
                    Fate::Open => format!("Review of pull request #{number}:"),
                    Fate::Merged => format!("Pull request #{number} is merged."),
                    Fate::Closed => format!("Pull request #{number} is closed."),
                }];
                words.extend(reviews.iter().map(ReviewSeen::in_words));
                text::one_line(&words.join(" "))
            }
            Self::Message { text } => text.clone(),
            Self::TimedOut => "Nothing happened in time.".into(),
            Self::NoPullRequest => "There is no pull request.".into(),
            Self::Refused { why } => why.clone(),
        }
    }
}

impl ReviewSeen {
    fn in_words(&self) -> String {
        let mut words = format!("{} says {}", self.by, self.verdict.word());
        if !self.body.is_empty() {
            words += &format!(": {}", self.body);
        }
        for comment in &self.comments {
            let line = comment.line.map_or_else(String::new, |line| format!(":{line}"));
            let quote = match comment.quote.trim() {
                "" => String::new(),
                quote => format!(" `{quote}`"),
            };
            words += &format!(" | {}{line}{quote}: {}", comment.path, comment.body);
        }
        words + "."
    }
}
