//! Pull requests as the console knows them.

use std::sync::Arc;

use crate::{Millis, host_id::HostId, text};

/// Most revisions, checks, reviews and threads of one pull request that are kept.
const KEPT: usize = 100;
/// Longest text that is kept, in bytes.
const TEXT_MAX: usize = 4096;

/// Identity of a pull request of one of the hosts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PullKey {
    /// The pull request's host.
    pub host: HostId,
    /// Name of the pull request's repository.
    pub repository: Arc<str>,
    /// Number of the pull request in its repository.
    pub number: u64,
}

impl PullKey {
    /// Name of the pull request for its host: `REPOSITORY#NUMBER`.
    #[must_use]
    pub fn id(&self) -> String {
        format!("{}#{}", self.repository, self.number)
    }
}

/// A pull request that is open, or closed. Words of the API stay words: a newer host may know more of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)] // The fields are those of hostd.v1.Pull and documented there.
pub struct Pull {
    pub repository: String,
    pub number: u64,
    pub title: String,
    pub body: String,
    pub author: String,
    pub head_branch: String,
    pub base_branch: String,
    pub head: String,
    pub revision: u32,
    pub state: String,
    pub standing: String,
    pub outcome: String,
    pub outcome_text: String,
    pub blocked: String,
    pub closed_why: String,
    pub merge_method: String,
    pub created_at: Millis,
    pub updated_at: Millis,
    pub revisions: Vec<Revision>,
    pub checks: Vec<Check>,
    pub reviews: Vec<Review>,
    pub threads: Vec<Thread>,
}

/// A revision of a pull request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)] // As hostd.v1.Revision.
pub struct Revision {
    pub number: u32,
    pub head: String,
    pub forced: bool,
    pub at: Millis,
}

/// A check of a pull request's head.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)] // As hostd.v1.Check.
pub struct Check {
    pub name: String,
    pub state: String,
    pub required: bool,
    pub summary: String,
}

/// A review of a pull request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)] // As hostd.v1.Review.
pub struct Review {
    pub who: String,
    pub verdict: String,
    pub revision: u32,
    pub body: String,
}

/// A thread of a pull request; each comment with who said it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)] // As hostd.v1.ReviewThread.
pub struct Thread {
    pub id: u64,
    pub path: String,
    pub line: u32,
    pub quote: String,
    pub head: String,
    pub revision: u32,
    pub comments: Vec<(String, String)>,
    pub resolved_by: String,
}

impl Pull {
    /// Returns the pull request without anything that could hurt a terminal or a layout.
    #[must_use]
    pub fn cleaned(mut self) -> Self {
        for line in [
            &mut self.repository,
            &mut self.title,
            &mut self.author,
            &mut self.head_branch,
            &mut self.base_branch,
            &mut self.head,
            &mut self.state,
            &mut self.standing,
            &mut self.outcome,
            &mut self.outcome_text,
            &mut self.blocked,
            &mut self.closed_why,
            &mut self.merge_method,
        ] {
            *line = text::one_line(line, TEXT_MAX);
        }
        self.body = text::many_lines(&self.body, TEXT_MAX);
        newest(&mut self.revisions);
        newest(&mut self.checks);
        newest(&mut self.reviews);
        newest(&mut self.threads);
        for revision in &mut self.revisions {
            revision.head = text::one_line(&revision.head, 64);
        }
        for check in &mut self.checks {
            for line in [&mut check.name, &mut check.state, &mut check.summary] {
                *line = text::one_line(line, 512);
            }
        }
        for review in &mut self.reviews {
            review.who = text::one_line(&review.who, 256);
            review.verdict = text::one_line(&review.verdict, 64);
            review.body = text::many_lines(&review.body, TEXT_MAX);
        }
        for thread in &mut self.threads {
            thread.path = text::one_line(&thread.path, TEXT_MAX);
            thread.quote = text::many_lines(&thread.quote, 512).replace('\n', " ");
            thread.head = text::one_line(&thread.head, 64);
            thread.resolved_by = text::one_line(&thread.resolved_by, 256);
            newest(&mut thread.comments);
            for (who, body) in &mut thread.comments {
                (*who, *body) = (text::one_line(who, 256), text::many_lines(body, TEXT_MAX));
            }
        }
        self
    }

    /// Whether the pull request belongs into the queue.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(&*self.state, "open" | "merging")
    }

    /// Whether it is closed, so that it can be opened again.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.state == "closed"
    }

    /// Number of the revision with this head commit; None: it is not known.
    #[must_use]
    pub fn revision_of(&self, head: &str) -> Option<u32> {
        let found = self.revisions.iter().rev().find(|revision| revision.head == head);
        found.map(|revision| revision.number).or_else(|| (self.head == head).then_some(self.revision))
    }

    /// Number of threads that nobody has resolved.
    #[must_use]
    pub fn open_threads(&self) -> usize {
        self.threads.iter().filter(|thread| thread.resolved_by.is_empty()).count()
    }

    /// Name of the pull request for people.
    #[must_use]
    pub fn name(&self) -> String {
        format!("#{} {}", self.number, self.title)
    }

    /// Its place in the queue: what wants a verdict, what can be merged, what its author works on, what is closed.
    #[must_use]
    pub fn rank(&self) -> u8 {
        match &*self.standing {
            _ if self.is_closed() => 3,
            "approved" => 1,
            "changes-requested" => 2,
            _ => 0,
        }
    }
}

fn newest<T>(items: &mut Vec<T>) {
    items.drain(..items.len().saturating_sub(KEPT));
}
