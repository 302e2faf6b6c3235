use super::{
    Closing, Comment, Merge, Place, PullRequest, PullState, Resolved, Review, Revision, Thread, Verdict, Who, WhyClosed,
};
use crate::{UnixMillis, text};

/// Longest path of a comment's file that is kept, in bytes; [`QUOTE_MAX`] is the longest quoted line, in bytes.
const PATH_MAX: usize = 4096;
const QUOTE_MAX: usize = 512;

/// An input of a pull request's machine, see [`step`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PullInput {
    /// The head branch points to another commit now.
    Pushed {
        /// The new head commit's id.
        head: String,
        /// Whether the push threw commits away: the previous head is no ancestor of the new one.
        forced: bool,
    },
    /// The head branch or the base branch was deleted.
    BranchGone {
        /// Whether the base branch was deleted; false: the head branch.
        base: bool,
    },
    /// Somebody closes the pull request.
    Close(Who),
    /// Somebody opens the pull request again; its head and base branches exist.
    Reopen(Who),
    /// Somebody reviewed the pull request.
    Review(NewReview),
    /// Somebody marked a thread as resolved, or as open again.
    Resolve {
        /// Who changed the thread.
        who: Who,
        /// Id of the thread in the pull request.
        thread: u64,
        /// Whether the thread is resolved from now on.
        resolved: bool,
    },
    /// The base branch will be moved by this merge.
    Merge(Merge),
    /// The base branch was moved by the merge under way.
    Merged,
    /// The merge under way came to nothing: the base branch was not moved.
    Abandoned,
}

/// A review that a person or a session gives, before it is checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewReview {
    /// Who gives the review.
    pub who: Who,
    /// Id of the head commit that the reviewer saw.
    pub head: String,
    /// Whether the reviewer knows that `head` may be an earlier revision's: the review is then recorded of that revision
    /// instead of being refused.
    pub older: bool,
    /// The reviewer's verdict.
    pub verdict: Verdict,
    /// Text about the pull request as a whole; may be empty beside comments or an approval.
    pub body: String,
    /// Comments on lines and files, and replies in threads.
    pub comments: Vec<NewComment>,
}

/// A comment of a review that is being given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NewComment {
    /// The comment begins a thread at a line or a file.
    At {
        /// Line or file that the new thread is about.
        place: Place,
        /// Head commit of the revision whose line or file it is; empty: the review's `head`.
        head: String,
        /// Text of the comment; empty ones are refused.
        body: String,
    },
    /// The comment is a reply in a thread that exists.
    In {
        /// Id of the thread.
        thread: u64,
        /// Text of the comment; empty ones are refused.
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
    /// The pull request is not open: it is closed, merged or being merged.
    #[error("pull request #{number} is {state}{}", reopening(*number, state))]
    NotOpen {
        /// The pull request's number.
        number: u64,
        /// The word of the pull request's state, see [`PullState::word`].
        state: &'static str,
    },
    /// The reviewer or merger saw a commit that is not the head any more.
    #[error(
        "the head has moved: you saw {seen}, but it is {head} since (revision {revision}); look at it again with \
         `pilothouse review show {number}`"
    )]
    HeadMoved {
        /// The pull request's number.
        number: u64,
        /// The commit that was seen, its id cut to ten digits.
        seen: String,
        /// The head commit now, its id cut to ten digits.
        head: String,
        /// Number of the newest revision.
        revision: u32,
    },
    /// The reviewer has given a verdict on a newer revision already.
    #[error("you have given a verdict on revision {given} already; one on revision {seen} would come too late")]
    Late {
        /// Number of the newest revision that the reviewer has given a verdict on.
        given: u32,
        /// Number of the revision that this review is of.
        seen: u32,
    },
    /// A session asked for what only people may do.
    #[error("{what} is for people; a session may not")]
    NotAPerson {
        /// What the session asked for, as the subject of a sentence.
        what: &'static str,
    },
    /// The review or one of its comments has no text.
    #[error("a comment needs a text")]
    Empty,
    /// The pull request has no thread with this id.
    #[error("pull request #{number} has no thread {thread}")]
    NoThread {
        /// The pull request's number.
        number: u64,
        /// The id that was asked for.
        thread: u64,
    },
    /// The pull request has [`PullRequest::REVIEWS_MAX`] reviews, or would have more comments than that.
    #[error("pull request #{number} has {} reviews or comments already, and takes no more", PullRequest::REVIEWS_MAX)]
    Full {
        /// The pull request's number.
        number: u64,
    },
    /// A reviewer's last verdict requests changes.
    #[error("{by} requested changes on revision {revision}; {by} must approve before it can be merged")]
    ChangesRequested {
        /// Name of the reviewer.
        by: String,
        /// Number of the revision that the reviewer saw.
        revision: u32,
    },
    /// The head commit has fewer approvals than the repository's rules ask for, and no earlier head has one.
    #[error("it is not approved ({have} of {needed} approvals); do so with `pilothouse review approve`")]
    NotApproved {
        /// Number of approvals of the head commit.
        have: usize,
        /// Number of approvals that the repository's rules ask for.
        needed: usize,
    },
    /// The head commit has too few approvals, and there is one of an earlier head.
    #[error("{by} approved revision {approved}, but the head is revision {revision} now; it must be approved again")]
    ApprovalOutdated {
        /// Name of the reviewer who approved the earlier head.
        by: String,
        /// Number of the revision that was approved.
        approved: u32,
        /// Number of the newest revision.
        revision: u32,
    },
    /// A required check of the head commit failed, errored or was cancelled.
    #[error("the required check `{name}` {state}")]
    ChecksFailed {
        /// Name of the check that ended badly first.
        name: String,
        /// The word of the check's state.
        state: &'static str,
    },
    /// Some required checks of the head commit have not ended, or were not reported.
    #[error("required checks of {head} are not done: {names}")]
    ChecksMissing {
        /// The head commit, its id cut to ten digits.
        head: String,
        /// Names of those checks, separated by commas.
        names: String,
    },
}

impl Refusal {
    pub(super) fn moved(pull: &PullRequest, seen: &str) -> Self {
        let (seen, head) = (short(seen), short(pull.head()));
        Self::HeadMoved { number: pull.number, seen, head, revision: pull.revision() }
    }
}

/// The first ten digits of a commit's id, for sentences.
pub(super) fn short(commit: &str) -> String {
    commit.chars().take(10).collect()
}

/// Returns the pull request after `input`. A repeated input changes nothing, nor does one that comes too late for the pull
/// request's state.
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
        PullInput::Reopen(who) => reopen(&mut next, who)?,
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

/// Closes an open pull request; a closed one stays as it is.
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

/// Opens a closed pull request; an open one stays as it is.
fn reopen(pull: &mut PullRequest, who: Who) -> Result<(), Refusal> {
    if who.session.is_some() {
        return Err(Refusal::NotAPerson { what: "opening again" });
    }
    match pull.state {
        PullState::Closed(_) => {
            pull.state = PullState::Open;
            pull.reopened_by = Some(who.name);
        }
        PullState::Open | PullState::Merging(_) => {}
        PullState::Merged(_) => return Err(Refusal::NotOpen { number: pull.number, state: pull.state.word() }),
    }
    Ok(())
}

/// The end of the sentence that says how a closed pull request is opened again; empty in other states.
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

/// Adds a comment to the review with the number `review`, which is of the head commit `seen`.
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
