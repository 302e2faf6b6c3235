use serde::{Deserialize, Serialize};

use super::{MergeMethod, Rules};
use crate::{ForgeId, UnixMillis, text};

/// A pull request as the store keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PullRequest {
    /// Forge that the pull request is on.
    #[serde(default)]
    pub forge: ForgeId,
    /// Name of the repository in the forge.
    pub repository: String,
    /// Number of the pull request in its repository, from 1.
    pub number: u64,
    /// One line of at most [`PullRequest::TITLE_MAX`] bytes; the head branch's name where no title was given.
    pub title: String,
    /// Description; may be empty, at most [`PullRequest::BODY_MAX`] bytes.
    pub body: String,
    /// The session that opened the pull request.
    pub author: Author,
    /// Name of the head branch below `refs/heads/`.
    pub head_branch: String,
    /// Name of the branch below `refs/heads/` that the pull request is to be merged into.
    pub base_branch: String,
    /// State of the pull request: open, merging, merged or closed.
    pub state: PullState,
    /// User name of the person who opened the closed pull request again last; None: nobody did.
    #[serde(default)]
    pub reopened_by: Option<String>,
    /// Revisions of the head branch, oldest first; never empty, at most [`PullRequest::REVISIONS_MAX`]: the oldest make room.
    pub revisions: Vec<Revision>,
    /// Reviews, oldest first; at most [`PullRequest::REVIEWS_MAX`].
    pub reviews: Vec<Review>,
    /// Threads of comments, oldest first.
    pub threads: Vec<Thread>,
    /// When the pull request was opened.
    pub created_at: UnixMillis,
    /// When the pull request last changed; never falls.
    pub updated_at: UnixMillis,
}

/// The values that a pull request is opened with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewPull {
    /// See [`PullRequest::forge`].
    pub forge: ForgeId,
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

/// The session that opened a pull request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Author {
    /// Id of the session; outlives the session.
    pub session: String,
    /// Slug of the session; outlives the session.
    pub slug: String,
}

/// A person or a session that does something to a pull request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Who {
    /// User name of the person, or slug of the session.
    pub name: String,
    /// Id of the session; None: a person.
    pub session: Option<String>,
}

impl Who {
    /// The person with this user name.
    #[must_use]
    pub fn person(name: impl Into<String>) -> Self {
        Self { name: name.into(), session: None }
    }
}

/// State of a pull request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "state")]
pub enum PullState {
    /// The pull request is to be reviewed and merged.
    Open,
    /// The base branch is about to be moved; where hostd died meanwhile, it may have been moved already.
    Merging(Merge),
    /// The base branch was moved by this merge.
    Merged(Merge),
    /// The pull request was closed without a merge; it can be opened again.
    Closed(Closing),
}

/// Why and when a pull request was closed. Records of before this was kept are read as [`WhyClosed::HeadGone`] at 0.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Closing {
    /// Why the pull request was closed.
    pub why: WhyClosed,
    /// When the pull request was closed; 0: not known.
    pub at: UnixMillis,
}

/// Why a pull request was closed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WhyClosed {
    /// The head branch was deleted.
    #[default]
    HeadGone,
    /// The base branch was deleted.
    BaseGone,
    /// The person with this user name closed the pull request.
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

    /// Whether the pull request is open or being merged, and so neither merged nor closed.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self, Self::Open | Self::Merging(_))
    }
}

/// A merge of a pull request, under way or done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Merge {
    /// User name of whoever asked for the merge.
    pub by: String,
    /// Id of the head commit that is merged.
    pub head: String,
    /// Id of the commit that the base branch points to after the merge.
    pub commit: String,
    /// Method of the merge.
    pub method: MergeMethod,
    /// When the merge was begun.
    pub at: UnixMillis,
}

/// What one push to the head branch made of a pull request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revision {
    /// Number of the revision in its pull request, from 1; never used twice.
    pub number: u32,
    /// Id of the head commit.
    pub head: String,
    /// Whether the push threw away commits of the previous revision.
    pub forced: bool,
    /// When hostd saw the push.
    pub at: UnixMillis,
}

/// A reviewer's verdict on a head commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The reviewer comments, and neither approves nor requests changes.
    Comment,
    /// The reviewer approves this head commit.
    Approve,
    /// The reviewer requests changes; no merge until this reviewer approves.
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

/// A review: one verdict of a reviewer with the text and comments given at the same time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Review {
    /// Number of the review in its pull request, from 1.
    pub id: u64,
    /// Who gave the review.
    pub who: Who,
    /// The reviewer's verdict.
    pub verdict: Verdict,
    /// Id of the head commit that the reviewer saw.
    pub head: String,
    /// Number of the revision with that head commit.
    pub revision: u32,
    /// Text about the pull request as a whole; may be empty where the review has comments or approves.
    pub body: String,
    /// When the review was given.
    pub at: UnixMillis,
}

/// A line or a file that a thread is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Path of the file in the repository.
    pub path: String,
    /// Number of the line in the file, from 1; None: the whole file.
    pub line: Option<u32>,
    /// Text of the line as it was in the head commit; empty for a file.
    pub quote: String,
}

/// A thread: comments on one line or file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Thread {
    /// Number of the thread in its pull request, from 1.
    pub id: u64,
    /// Line or file that the thread is about.
    pub place: Place,
    /// Id of the head commit that the thread was begun on.
    pub head: String,
    /// Number of the revision with that head commit.
    pub revision: u32,
    /// Comments of the thread, oldest first; never empty.
    pub comments: Vec<Comment>,
    /// Who resolved the thread, and when; None: the thread is open.
    #[serde(default)]
    pub resolved: Option<Resolved>,
}

/// Who marked a thread as resolved, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolved {
    /// Who resolved the thread.
    pub who: Who,
    /// When the thread was resolved.
    pub at: UnixMillis,
}

/// A comment in a thread.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Comment {
    /// Number of the review that the comment was given with.
    pub review: u64,
    /// Who wrote the comment.
    pub who: Who,
    /// Text of the comment; at most [`PullRequest::BODY_MAX`] bytes.
    pub body: String,
    /// When the comment was written.
    pub at: UnixMillis,
}

/// What the reviews of a pull request come to, as the queue shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// The head commit has too few approvals, and no verdict is of an earlier head.
    Waiting,
    /// Enough reviewers have approved the head commit, and nobody requests changes.
    Approved,
    /// A reviewer requests changes to the head commit.
    ChangesRequested,
    /// Some verdicts are of earlier heads, and the head commit is not approved: it is to be reviewed again.
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
    /// Longest title of a pull request, in bytes.
    pub const TITLE_MAX: usize = 256;
    /// Longest body of a pull request, of a review or of a comment, in bytes.
    pub const BODY_MAX: usize = 16 << 10;
    /// Most revisions of a pull request that are kept.
    pub const REVISIONS_MAX: usize = 500;
    /// Most reviews of a pull request, and most comments in all of its threads together.
    pub const REVIEWS_MAX: usize = 500;

    /// Creates an open pull request with its first revision. Its texts are cleaned and bounded; an empty title becomes the
    /// branch's name.
    #[must_use]
    pub fn new(new: NewPull, number: u64, head: String, now: UnixMillis) -> Self {
        let NewPull { forge, repository, title, body, author, head_branch, base_branch } = new;
        let title = text::clean(&text::one_line(&title), Self::TITLE_MAX);
        Self {
            forge,
            repository,
            number,
            title: if title.is_empty() { head_branch.clone() } else { title },
            body: text::clean(body.trim(), Self::BODY_MAX),
            author,
            head_branch,
            base_branch,
            state: PullState::Open,
            reopened_by: None,
            revisions: vec![Revision { number: 1, head, forced: false, at: now }],
            reviews: vec![],
            threads: vec![],
            created_at: now,
            updated_at: now,
        }
    }

    /// Id of the newest revision's head commit; empty only of a pull request that was made otherwise than by [`Self::new`].
    #[must_use]
    pub fn head(&self) -> &str {
        self.revisions.last().map_or("", |revision| revision.head.as_str())
    }

    /// Number of the newest revision.
    #[must_use]
    pub fn revision(&self) -> u32 {
        self.revisions.last().map_or(0, |revision| revision.number)
    }

    /// The number of the newest revision with this head commit; None: no revision that is kept has it.
    #[must_use]
    pub fn revision_of(&self, head: &str) -> Option<u32> {
        self.revisions.iter().rev().find(|revision| revision.head == head).map(|revision| revision.number)
    }

    /// The last verdict of each reviewer, in the order in which they were given; a review that only comments is no verdict.
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

    /// What the reviews of the pull request come to under these rules.
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
