use super::{
    Closing, Comment, Merge, Place, PullRequest, PullState, Resolved, Review, Revision, Thread, Verdict, Who, WhyClosed,
};
use crate::{UnixMillis, text};

/// Longest path and longest quoted line kept, in bytes.
const PATH_MAX: usize = 4096;
const QUOTE_MAX: usize = 512;

/// What a pull request is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PullInput {
    /// Its head branch points to this commit now.
    Pushed {
        /// The commit.
        head: String,
        /// The head before is no ancestor of it.
        forced: bool,
    },
    /// A branch of it is gone: the head's, or the base's.
    BranchGone {
        /// The base's.
        base: bool,
    },
    /// Somebody closes it.
    Close(Who),
    /// Somebody opens it again; its branches are there.
    Reopen(Who),
    /// Somebody reviewed it.
    Review(NewReview),
    /// Somebody settled a thread, or took that back.
    Resolve {
        /// Who did.
        who: Who,
        /// The thread's id.
        thread: u64,
        /// Whether it is settled.
        resolved: bool,
    },
    /// The base branch will be moved.
    Merge(Merge),
    /// The base branch was moved.
    Merged,
    /// The base branch was not moved after all.
    Abandoned,
}

/// A review to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewReview {
    /// Who gives it.
    pub who: Who,
    /// The head commit that they saw.
    pub head: String,
    /// They know that it may be an earlier revision's: what they say is of that one then, and not refused.
    pub older: bool,
    /// What they make of it.
    pub verdict: Verdict,
    /// In general.
    pub body: String,
    /// On lines, on files, and in threads.
    pub comments: Vec<NewComment>,
}

/// A comment to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NewComment {
    /// Begins a thread.
    At {
        /// Where.
        place: Place,
        /// The head commit of the revision whose place it is; empty: the review's.
        head: String,
        /// What.
        body: String,
    },
    /// Goes on with one.
    In {
        /// Its id.
        thread: u64,
        /// What.
        body: String,
    },
}

impl NewComment {
    fn body(&self) -> &str {
        match self {
            Self::At { body, .. } | Self::In { body, .. } => body,
        }
    }
}

/// Why something was not done to a pull request, in words for a person.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is over, or being merged.
    #[error("pull request #{number} is {state}{}", reopening(*number, state))]
    NotOpen {
        /// Its number.
        number: u64,
        /// Its state's word.
        state: &'static str,
    },
    /// What was seen is not what is there now.
    #[error(
        "the head has moved: you saw {seen}, but it is {head} since (revision {revision}); look at it again with \
         `pilothouse review show {number}`"
    )]
    HeadMoved {
        /// The pull request's number.
        number: u64,
        /// In short.
        seen: String,
        /// In short.
        head: String,
        /// Of the head.
        revision: u32,
    },
    /// The reviewer has judged a newer revision already.
    #[error("you have given a verdict on revision {given} already; one on revision {seen} would come too late")]
    Late {
        /// The newer one's number.
        given: u32,
        /// The number of the one that is judged.
        seen: u32,
    },
    /// Sessions may not.
    #[error("{what} is for people; a session may not")]
    NotAPerson {
        /// What it wanted.
        what: &'static str,
    },
    /// Nothing was said.
    #[error("a comment needs a text")]
    Empty,
    /// No such thread.
    #[error("pull request #{number} has no thread {thread}")]
    NoThread {
        /// The pull request's number.
        number: u64,
        /// Asked for.
        thread: u64,
    },
    /// Too much was said already.
    #[error("pull request #{number} has {} reviews or comments already, and takes no more", PullRequest::REVIEWS_MAX)]
    Full {
        /// The pull request's number.
        number: u64,
    },
    /// A reviewer wants changes.
    #[error("{by} requested changes on revision {revision}; {by} must approve before it can be merged")]
    ChangesRequested {
        /// Who.
        by: String,
        /// What they saw.
        revision: u32,
    },
    /// Too few approvals.
    #[error("it is not approved ({have} of {needed} approvals); do so with `pilothouse review approve`")]
    NotApproved {
        /// Of this head.
        have: usize,
        /// By the repository's rules.
        needed: usize,
    },
    /// Approvals are of earlier heads.
    #[error("{by} approved revision {approved}, but the head is revision {revision} now; it must be approved again")]
    ApprovalOutdated {
        /// Who.
        by: String,
        /// What they saw.
        approved: u32,
        /// Of the head.
        revision: u32,
    },
    /// A required check said no.
    #[error("the required check `{name}` {state}")]
    ChecksFailed {
        /// The first that did.
        name: String,
        /// How it ended.
        state: &'static str,
    },
    /// Required checks are not over.
    #[error("required checks of {head} are not done: {names}")]
    ChecksMissing {
        /// In short.
        head: String,
        /// Which.
        names: String,
    },
}

impl Refusal {
    pub(super) fn moved(pull: &PullRequest, seen: &str) -> Self {
        let (seen, head) = (short(seen), short(pull.head()));
        Self::HeadMoved { number: pull.number, seen, head, revision: pull.revision() }
    }
}

/// A commit's id, short enough for a sentence.
pub(super) fn short(commit: &str) -> String {
    commit.chars().take(10).collect()
}

/// The pull request after `input`. A repeat changes nothing; so does what comes too late for it.
///
/// # Errors
/// [`Refusal`] for a person's input that is not allowed.
pub fn step(pull: &PullRequest, input: PullInput, now: UnixMillis) -> Result<PullRequest, Refusal> {
    let mut next = pull.clone();
    match input {
        PullInput::Pushed { head, forced } => pushed(&mut next, head, forced, now),
        PullInput::BranchGone { base } if next.state == PullState::Open => {
            let why = if base { WhyClosed::BaseGone } else { WhyClosed::HeadGone };
            next.state = PullState::Closed(Closing { why, at: now });
        }
        PullInput::Close(who) => close(&mut next, who, now)?,
        PullInput::Reopen(who) => reopen(&mut next, &who)?,
        PullInput::Review(review) => reviewed(&mut next, review, now)?,
        PullInput::Resolve { who, thread, resolved } => resolve(&mut next, who, thread, resolved, now)?,
        PullInput::Merge(merge) => match &next.state {
            PullState::Open if merge.head == next.head() => next.state = PullState::Merging(merge),
            PullState::Open => return Err(Refusal::moved(&next, &merge.head)),
            state => return Err(Refusal::NotOpen { number: next.number, state: state.word() }),
        },
        PullInput::Merged => {
            if let PullState::Merging(merge) = &next.state {
                next.state = PullState::Merged(merge.clone());
            }
        }
        PullInput::Abandoned => {
            if matches!(next.state, PullState::Merging(_)) {
                next.state = PullState::Open;
            }
        }
        PullInput::BranchGone { .. } => {}
    }
    if next != *pull {
        next.updated_at = now.max(pull.updated_at);
    }
    Ok(next)
}

/// Closing what is closed changes nothing.
fn close(pull: &mut PullRequest, who: Who, now: UnixMillis) -> Result<(), Refusal> {
    if who.session.is_some() {
        return Err(Refusal::NotAPerson { what: "closing" });
    }
    match pull.state {
        PullState::Open => pull.state = PullState::Closed(Closing { why: WhyClosed::By(who.name), at: now }),
        PullState::Closed(_) => {}
        _ => return Err(Refusal::NotOpen { number: pull.number, state: pull.state.word() }),
    }
    Ok(())
}

/// Opening what is open changes nothing.
fn reopen(pull: &mut PullRequest, who: &Who) -> Result<(), Refusal> {
    if who.session.is_some() {
        return Err(Refusal::NotAPerson { what: "opening again" });
    }
    match pull.state {
        PullState::Closed(_) => pull.state = PullState::Open,
        PullState::Open | PullState::Merging(_) => {}
        PullState::Merged(_) => return Err(Refusal::NotOpen { number: pull.number, state: pull.state.word() }),
    }
    Ok(())
}

/// What to do where it is closed.
fn reopening(number: u64, state: &str) -> String {
    if state == "closed" { format!("; `pilothouse review reopen {number}` opens it again") } else { String::new() }
}

fn pushed(pull: &mut PullRequest, head: String, forced: bool, now: UnixMillis) {
    // What is pushed while it is being merged is a revision if the merge comes to nothing, and is read again then.
    if pull.state != PullState::Open || head == pull.head() {
        return;
    }
    let number = pull.revision() + 1;
    pull.revisions.push(Revision { number, head, forced, at: now });
    if pull.revisions.len() > PullRequest::REVISIONS_MAX {
        pull.revisions.remove(0);
    }
}

fn reviewed(pull: &mut PullRequest, review: NewReview, now: UnixMillis) -> Result<(), Refusal> {
    let NewReview { who, head, older, verdict, body, comments } = review;
    let number = pull.number;
    if verdict != Verdict::Comment {
        if pull.state != PullState::Open {
            return Err(Refusal::NotOpen { number, state: pull.state.word() });
        }
        if who.session.is_some() {
            return Err(Refusal::NotAPerson { what: "a verdict" });
        }
    }
    let seen = pull.revision_of(&head).filter(|seen| older || *seen == pull.revision());
    let revision = seen.ok_or_else(|| Refusal::moved(pull, &head))?;
    let given = pull.verdicts().iter().filter(|earlier| earlier.who == who).map(|earlier| earlier.revision).max();
    if let Some(given) = given.filter(|given| verdict != Verdict::Comment && *given > revision) {
        return Err(Refusal::Late { given, seen: revision });
    }
    let body = text::clean(body.trim(), PullRequest::BODY_MAX);
    let says_nothing = body.is_empty() && comments.is_empty() && verdict != Verdict::Approve;
    if says_nothing || comments.iter().any(|comment| comment.body().trim().is_empty()) {
        return Err(Refusal::Empty);
    }
    let said: usize = pull.threads.iter().map(|thread| thread.comments.len()).sum();
    if pull.reviews.len() >= PullRequest::REVIEWS_MAX || said + comments.len() > PullRequest::REVIEWS_MAX {
        return Err(Refusal::Full { number });
    }
    let id = pull.reviews.last().map_or(1, |last| last.id + 1);
    for comment in comments {
        say(pull, (id, &head), &who, comment, now)?;
    }
    pull.reviews.push(Review { id, who, verdict, head, revision, body, at: now });
    Ok(())
}

fn resolve(pull: &mut PullRequest, who: Who, id: u64, resolved: bool, now: UnixMillis) -> Result<(), Refusal> {
    let number = pull.number;
    let thread = pull.threads.iter_mut().find(|thread| thread.id == id);
    let thread = thread.ok_or(Refusal::NoThread { number, thread: id })?;
    if thread.resolved.is_some() != resolved {
        thread.resolved = resolved.then_some(Resolved { who, at: now });
    }
    Ok(())
}

/// Adds a comment to a review: its number, and the head commit that it is of.
fn say(
    pull: &mut PullRequest,
    (review, seen): (u64, &str),
    who: &Who,
    new: NewComment,
    now: UnixMillis,
) -> Result<(), Refusal> {
    let body = text::clean(new.body().trim(), PullRequest::BODY_MAX);
    let comment = Comment { review, who: who.clone(), body, at: now };
    match new {
        NewComment::At { place, head, .. } => {
            let head = if head.is_empty() { seen.to_owned() } else { head };
            let revision = pull.revision_of(&head).ok_or_else(|| Refusal::moved(pull, &head))?;
            let id = pull.threads.last().map_or(1, |last| last.id + 1);
            let quote = text::clean(&place.quote, QUOTE_MAX);
            let place = Place { path: text::clean(&place.path, PATH_MAX), line: place.line, quote };
            pull.threads.push(Thread { id, place, head, revision, comments: vec![comment], resolved: None });
        }
        NewComment::In { thread: id, .. } => {
            let number = pull.number;
            let thread = pull.threads.iter_mut().find(|thread| thread.id == id);
            thread.ok_or(Refusal::NoThread { number, thread: id })?.comments.push(comment);
        }
    }
    Ok(())
}
