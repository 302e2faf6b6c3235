//! Where a session's waits meet the forge: its pull request is read again at each hint, and answers are handed over.

use std::{sync::Arc, time::Duration};

use hostd_core::{
    Session,
    checks::{Check, CheckState, Outcome},
    pulls::{PullRequest, PullState},
    session::{Answer, CheckSeen, CommentSeen, Failure, Fate, Observation, Pull as Standing, ReviewSeen},
};
use pilothouse_proto::guest::v1::AnswerRequest;
use tokio::{
    sync::{Semaphore, broadcast::error::RecvError},
    time::sleep,
};

use super::{fleet::Host, running::up};
use crate::{
    forge::{Forge as _, ForgeError, Local, Pull, PullId, Which},
    guest::Link,
};

/// News gather for so long before they are read: a review's comments come together.
const GATHER: Duration = Duration::from_millis(50);
/// Before a forge that could not be read is read again.
const AGAIN: Duration = Duration::from_secs(2);
/// Before an answer that did not reach the guest is sent again.
const PAUSE: Duration = Duration::from_millis(200);
/// Of a failed check's log, for its agent: its end, in bytes.
const TAIL: usize = 8 << 10;

/// Readings under way at a time on a host: each runs git.
pub(super) const READINGS: usize = 4;

/// What is seen of the session's pull request now, however long that takes. The newest open one, else the newest.
pub(super) async fn observe(forge: Local, readings: &Semaphore, session: Session) -> Option<Box<Observation>> {
    sleep(GATHER).await;
    loop {
        // Never closed.
        let turn = readings.acquire().await.ok();
        let seen = look(&forge, &session).await;
        drop(turn);
        match seen {
            Ok(seen) => return seen.map(Box::new),
            Err(error) => {
                tracing::warn!(slug = session.slug, %error, "its pull request cannot be read; trying again");
                sleep(AGAIN).await;
            }
        }
    }
}

async fn look(forge: &Local, session: &Session) -> Result<Option<Observation>, ForgeError> {
    let which = Which { repository: session.repository.clone(), session: Some(session.id.clone()), all: true };
    let pulls = forge.pulls(which).await?;
    let newest = pulls.into_iter().max_by_key(|pull| (pull.pull.state.is_open(), pull.pull.number));
    let Some(known) = newest else { return Ok(None) };
    let pull = if known.pull.state.is_open() { forge.pull(&PullId::of(&known.pull)).await? } else { known };
    let mut checks = Vec::new();
    for name in counted(&pull) {
        checks.push(check(forge, name, pull.checks.iter().find(|check| check.name == *name)).await?);
    }
    let reviews = reviews(&pull.pull, &session.id);
    Ok(Some(Observation { pull: standing(&pull), checks, reviews }))
}

/// Names of the checks that count: the required ones, or all where none is required.
fn counted(pull: &Pull) -> Vec<&String> {
    match pull.rules.required_checks.as_slice() {
        [] => pull.checks.iter().map(|check| &check.name).collect(),
        required => required.iter().collect(),
    }
}

async fn check(forge: &Local, name: &str, known: Option<&Check>) -> Result<CheckSeen, ForgeError> {
    let mut seen = CheckSeen {
        name: name.into(),
        state: CheckState::Queued,
        summary: String::new(),
        url: String::new(),
        log: String::new(),
    };
    // What was superseded is queued again where its commit is a head again.
    if let Some(check) = known.filter(|check| !check.is_superseded()) {
        (seen.state, seen.summary, seen.url) = (check.state, check.summary.clone(), check.url.clone());
        if check.state.is_bad() {
            let log = forge.log(check).await?.unwrap_or_default();
            seen.log = String::from_utf8_lossy(&log[log.len().saturating_sub(TAIL)..]).into_owned();
        }
    }
    Ok(seen)
}

fn standing(pull: &Pull) -> Standing {
    let names = counted(pull);
    let passes = |name: &&&String| pull.checks.iter().any(|c| c.name == ***name && c.state == CheckState::Passed);
    let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    Standing {
        number: pull.pull.number,
        fate: match pull.pull.state {
            PullState::Open | PullState::Merging(_) => Fate::Open,
            PullState::Merged(_) => Fate::Merged,
            PullState::Closed => Fate::Closed,
        },
        head: pull.pull.head().into(),
        passed: number(names.iter().filter(passes).count()),
        total: number(names.len()),
        failed: match pull.outcome() {
            Outcome::Failed { name, at, .. } => Some(Failure { name, at }),
            _ => None,
        },
        standing: pull.standing(),
        since: pull.pull.revisions.last().map_or(pull.pull.created_at, |revision| revision.at),
    }
}

/// What others than the session said.
fn reviews(pull: &PullRequest, session: &str) -> Vec<ReviewSeen> {
    let others = pull.reviews.iter().filter(|review| review.who.session.as_deref() != Some(session));
    let seen = others.map(|review| ReviewSeen {
        id: review.id,
        by: review.who.name.clone(),
        verdict: review.verdict,
        body: review.body.clone(),
        comments: comments(pull, review.id),
    });
    seen.collect()
}

fn comments(pull: &PullRequest, review: u64) -> Vec<CommentSeen> {
    let of_thread = |thread: &hostd_core::pulls::Thread| {
        let place = thread.place.clone();
        let of_review = thread.comments.iter().filter(|comment| comment.review == review).map(|c| c.body.clone());
        let seen = of_review.map(|body| CommentSeen {
            path: place.path.clone(),
            line: place.line,
            quote: place.quote.clone(),
            body,
        });
        seen.collect::<Vec<_>>()
    };
    pull.threads.iter().flat_map(of_thread).collect()
}

/// Hands an answer over. False: nobody waits for it there; None: the VM is gone.
pub(super) async fn tell(link: Arc<Link>, wait: u64, answer: Answer) -> Option<bool> {
    let json = serde_json::to_string(&answer).unwrap_or_default();
    let request = AnswerRequest { wait, json };
    while let Some(mut client) = up(&link).await {
        match client.answer(request.clone()).await {
            Ok(response) => return Some(response.into_inner().known),
            Err(error) => {
                tracing::debug!(%error, "an answer did not reach the guest");
                sleep(PAUSE).await;
            }
        }
    }
    None
}

/// Passes the forge's hints on to the sessions that they may concern, for ever.
pub(super) async fn pass_on(host: Arc<Host>) {
    let mut hints = host.parts.forge.hints();
    loop {
        let hint = match hints.recv().await {
            Ok(hint) => Some(hint),
            Err(RecvError::Lagged(_)) => None,
            Err(RecvError::Closed) => return,
        };
        let concerned = match &hint {
            Some(hint) => host.parts.forge.concerned(hint).await,
            None => None,
        };
        for handle in host.handles().values() {
            let of = handle.record.borrow().session.repository.clone();
            let there = of.is_some() && hint.as_ref().is_none_or(|hint| of.as_ref() == Some(&hint.repository));
            if there && concerned.as_ref().is_none_or(|ids| ids.contains(&handle.id)) {
                handle.forge_news.send_replace(());
            }
        }
    }
}
