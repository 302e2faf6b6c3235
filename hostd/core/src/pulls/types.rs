use serde::{Deserialize, Serialize};

use super::{MergeMethod, Rules};
use crate::{UnixMillis, text};

/// A pull request as the store keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PullRequest {
    /// Name in the forge.
    pub repository: String,
    /// From 1, in its repository.
    pub number: u64,
    /// One line; at most [`PullRequest::TITLE_MAX`] bytes.
    pub title: String,
    /// May be empty; at most [`PullRequest::BODY_MAX`] bytes.
    pub body: String,
    /// Whose work it is.
    pub author: Author,
    /// Below `refs/heads/`.
    pub head_branch: String,
    /// What it is to be merged into, below `refs/heads/`.
    pub base_branch: String,
    /// Where it stands.
    pub state: PullState,
    /// Oldest first; never empty, at most [`PullRequest::REVISIONS_MAX`]: the oldest make room.
    pub revisions: Vec<Revision>,
    /// Oldest first.
    pub reviews: Vec<Review>,
    /// Oldest first.
    pub threads: Vec<Thread>,
    /// When it was opened.
    pub created_at: UnixMillis,
    /// Of the last change; never falls.
    pub updated_at: UnixMillis,
}

/// What a pull request is opened with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewPull {
    /// See [`PullRequest::repository`].
    pub repository: String,
    /// See [`PullRequest::title`].
    pub title: String,
    /// See [`PullRequest::body`].
    pub body: String,
    /// See [`PullRequest::author`].
    pub author: Author,
    /// See [`PullRequest::head_branch`].
    pub head_branch: String,
    /// See [`PullRequest::base_branch`].
    pub base_branch: String,
}

/// The session whose work it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Author {
    /// Its id.
    pub session: String,
    /// Its slug; both outlive the session.
    pub slug: String,
}

/// Whoever does something to a pull request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Who {
    /// User name, or the session's slug.
    pub name: String,
    /// Id of the session; None: a person.
    pub session: Option<String>,
}

impl Who {
    /// The person of this user name.
    #[must_use]
    pub fn person(name: impl Into<String>) -> Self {
        Self { name: name.into(), session: None }
    }
}

/// Where a pull request stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "state")]
pub enum PullState {
    /// To be reviewed and merged.
    Open,
    /// The base branch is about to be moved; after a death of the host, it may have been.
    Merging(Merge),
    /// The base branch has it.
    Merged(Merge),
    /// Nothing comes of it, unless it is opened again.
    Closed(Closing),
}

/// How it was closed. A store that says no more of it knew one reason alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Closing {
    /// By whom, or by what.
    pub why: WhyClosed,
    /// When; 0: nobody knows.
    pub at: UnixMillis,
}

/// Why it is closed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WhyClosed {
    /// Its head branch was deleted.
    #[default]
    HeadGone,
    /// Its base branch was deleted.
    BaseGone,
    /// This person closed it.
    By(String),
}

impl std::fmt::Display for WhyClosed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::HeadGone => f.write_str("its head branch is gone"),
            Self::BaseGone => f.write_str("its base branch is gone"),
            Self::By(name) => write!(f, "by {name}"),
        }
    }
}

impl PullState {
    /// The word of the API and of `--json`.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Merging(_) => "merging",
            Self::Merged(_) => "merged",
            Self::Closed(_) => "closed",
        }
    }

    /// Whether more may come of it.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self, Self::Open | Self::Merging(_))
    }
}

/// How it is, or was, merged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Merge {
    /// Who asked for it.
    pub by: String,
    /// The head commit that is merged.
    pub head: String,
    /// What the base branch points to afterwards.
    pub commit: String,
    /// How.
    pub method: MergeMethod,
    /// When.
    pub at: UnixMillis,
}

/// What one push to the head branch made of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revision {
    /// From 1; never used twice.
    pub number: u32,
    /// The head commit.
    pub head: String,
    /// The push threw away commits of the revision before.
    pub forced: bool,
    /// When it was seen.
    pub at: UnixMillis,
}

/// What a reviewer makes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Neither yes nor no.
    Comment,
    /// Yes, to this head commit.
    Approve,
    /// No, until this reviewer says otherwise.
    RequestChanges,
}

impl Verdict {
    /// The word of the API and of `--json`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Comment => "comment",
            Self::Approve => "approve",
            Self::RequestChanges => "request-changes",
        }
    }
}

/// What a reviewer said at one time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Review {
    /// From 1, in its pull request.
    pub id: u64,
    /// Who said it.
    pub who: Who,
    /// What they make of it.
    pub verdict: Verdict,
    /// The head commit that they saw.
    pub head: String,
    /// Its revision.
    pub revision: u32,
    /// In general; may be empty where it has comments or a verdict.
    pub body: String,
    /// When.
    pub at: UnixMillis,
}

/// A line or a file that a thread is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// In the repository.
    pub path: String,
    /// From 1; None: the whole file.
    pub line: Option<u32>,
    /// The line as it was in the head commit; empty for a file.
    pub quote: String,
}

/// Comments on one place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Thread {
    /// From 1, in its pull request.
    pub id: u64,
    /// What it is about.
    pub place: Place,
    /// The head commit that it was begun on.
    pub head: String,
    /// Its revision.
    pub revision: u32,
    /// Oldest first; never empty.
    pub comments: Vec<Comment>,
    /// Somebody has settled it.
    #[serde(default)]
    pub resolved: Option<Resolved>,
}

/// That a thread is settled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolved {
    /// Who says so.
    pub who: Who,
    /// When.
    pub at: UnixMillis,
}

/// A comment in a thread.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Comment {
    /// The review that it came with.
    pub review: u64,
    /// Who said it.
    pub who: Who,
    /// What.
    pub body: String,
    /// When.
    pub at: UnixMillis,
}

/// How reviews stand, for the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// Nobody has given a verdict.
    Waiting,
    /// Enough have approved this head.
    Approved,
    /// Somebody wants changes to this head.
    ChangesRequested,
    /// Verdicts are of earlier heads: it wants to be seen again.
    Outdated,
}

impl Standing {
    /// The word of the API and of `--json`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Approved => "approved",
            Self::ChangesRequested => "changes-requested",
            Self::Outdated => "outdated",
        }
    }
}

impl PullRequest {
    /// Longest title, in bytes.
    pub const TITLE_MAX: usize = 256;
    /// Longest body of a pull request, of a review or of a comment, in bytes.
    pub const BODY_MAX: usize = 16 << 10;
    /// Most revisions kept.
    pub const REVISIONS_MAX: usize = 500;
    /// Most reviews, and most comments in threads.
    pub const REVIEWS_MAX: usize = 500;

    /// A new one. Its texts are cleaned and bounded; an empty title becomes the branch's name.
    #[must_use]
    pub fn new(new: NewPull, number: u64, head: String, now: UnixMillis) -> Self {
        let NewPull { repository, title, body, author, head_branch, base_branch } = new;
        let title = text::clean(&text::one_line(&title), Self::TITLE_MAX);
        Self {
            repository,
            number,
            title: if title.is_empty() { head_branch.clone() } else { title },
            body: text::clean(body.trim(), Self::BODY_MAX),
            author,
            head_branch,
            base_branch,
            state: PullState::Open,
            revisions: vec![Revision { number: 1, head, forced: false, at: now }],
            reviews: vec![],
            threads: vec![],
            created_at: now,
            updated_at: now,
        }
    }

    /// The newest revision's head commit; empty only of a pull request that was made otherwise than by [`Self::new`].
    #[must_use]
    pub fn head(&self) -> &str {
        self.revisions.last().map_or("", |revision| revision.head.as_str())
    }

    /// The newest revision's number.
    #[must_use]
    pub fn revision(&self) -> u32 {
        self.revisions.last().map_or(0, |revision| revision.number)
    }

    /// The number of the newest revision with this head commit; None: no revision that is kept has it.
    #[must_use]
    pub fn revision_of(&self, head: &str) -> Option<u32> {
        self.revisions.iter().rev().find(|revision| revision.head == head).map(|revision| revision.number)
    }

    /// The last verdict of each reviewer, in the order of their giving; comments are none.
    #[must_use]
    pub fn verdicts(&self) -> Vec<&Review> {
        let decides = |review: &&Review| review.verdict != Verdict::Comment;
        let mut last: Vec<&Review> = vec![];
        for review in self.reviews.iter().filter(decides) {
            last.retain(|earlier| earlier.who != review.who);
            last.push(review);
        }
        last
    }

    /// How its reviews stand by these rules.
    #[must_use]
    pub fn standing(&self, rules: &Rules) -> Standing {
        let verdicts = self.verdicts();
        let of_head =
            |verdict: Verdict| verdicts.iter().filter(|r| r.verdict == verdict && r.head == self.head()).count();
        let requested = verdicts.iter().any(|r| r.verdict == Verdict::RequestChanges);
        if of_head(Verdict::RequestChanges) > 0 {
            Standing::ChangesRequested
        } else if !requested && of_head(Verdict::Approve) >= rules.approvals.max(1) as usize {
            Standing::Approved
        } else if verdicts.iter().any(|r| r.head != self.head()) {
            Standing::Outdated
        } else {
            Standing::Waiting
        }
    }
}
