//! What is seen of a session's pull request: it is read at each hint of the forge's, and where the core asks for it.

use hostd_core::{
    Session,
    checks::{Check, CheckState, Outcome},
    pulls::{PullRequest, PullState},
    session::{CheckSeen, CommentSeen, Failure, Fate, Observation, Pull as Standing, ReviewSeen},
};
use tokio::time::sleep;

use crate::{
    ci,
    forge::{Forge, ForgeError, Pull, PullFilter, PullId},
    sessions::context::Context,
};

/// Of a failed check's log, for its agent: its end, in bytes.
const TAIL: usize = 8 << 10;

/// How the session's pull request is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reads {
    /// As the forge has read it last: it has just said that it may have changed.
    Known,
    /// Anew: nobody may have told the forge of a push.
    Again,
}

/// What is seen of the session's pull request now, however long that takes: of the one that its wait names, else of the newest
/// open one, else of the newest.
pub(super) async fn observe(ctx: &Context, session: Session, reads: Reads) -> Option<Box<Observation>> {
    loop {
        // Never closed.
        let turn = ctx.turns.readings.acquire().await.ok();
        let seen = look(ctx, &session, reads).await;
        drop(turn);
        match seen {
            Ok(seen) => return seen.map(Box::new),
            Err(error) => {
                tracing::warn!(slug = session.slug, %error, "its pull request cannot be read; trying again");
                sleep(ctx.timings.forge_pause).await;
            }
        }
    }
}

async fn look(ctx: &Context, session: &Session, reads: Reads) -> Result<Option<Observation>, ForgeError> {
    let forge = &ctx.forge;
    let filter = PullFilter { repository: session.repository.clone(), session: Some(session.id.clone()), all: true };
    let pulls = forge.pulls(filter).await?;
    let own = pulls.iter().map(|pull| pull.pull.number).collect();
    let named = session.wait.as_ref().and_then(|wait| wait.pull);
    let rank = |pull: &Pull| (Some(pull.pull.number) == named, pull.pull.state.is_open(), pull.pull.number);
    let Some(known) = pulls.into_iter().max_by_key(rank) else { return Ok(None) };
    let again = reads == Reads::Again && known.pull.state.is_open();
    let pull = if again { forge.pull(&PullId::of(&known.pull)).await? } else { known };
    let names = counted(&pull, ci::checks_of(&ctx.environments, &pull.pull.repository));
    let mut checks = Vec::new();
    for name in &names {
        let known = pull.checks.iter().find(|check| check.name == *name);
        checks.push(check(&**forge, &pull.pull.repository, name, known).await?);
    }
    let reviews = reviews(&pull.pull, &session.id);
    Ok(Some(Observation { own, pull: standing(&pull, &names), checks, reviews }))
}

/// Names of the checks that count: the required ones, or all where none is required. To these belong those that CI is going
/// to run (`ours`): a push is seen before CI has queued them, and there being none of them yet is no result.
fn counted(pull: &Pull, ours: Vec<String>) -> Vec<String> {
    if !pull.rules.required_checks.is_empty() {
        return pull.rules.required_checks.clone();
    }
    let mut names: Vec<String> = pull.checks.iter().map(|check| check.name.clone()).collect();
    if pull.pull.state.is_open() {
        names.extend(ours.into_iter().filter(|name| pull.checks.iter().all(|check| check.name != *name)));
    }
    names
}

async fn check(
    forge: &dyn Forge,
    repository: &str,
    name: &str,
    known: Option<&Check>,
) -> Result<CheckSeen, ForgeError> {
    let mut seen = CheckSeen {
        name: name.into(),
        state: CheckState::Queued,
        summary: String::new(),
        url: String::new(),
        log: String::new(),
        started_at: 0,
    };
    // What was superseded is queued again where its commit is a head again.
    if let Some(check) = known.filter(|check| !check.is_superseded()) {
        (seen.state, seen.summary, seen.url) = (check.state, check.summary.clone(), check.url.clone());
        seen.started_at = check.started_at;
        if check.state.is_bad() {
            let log = forge.log(repository, check).await?.unwrap_or_default();
            seen.log = String::from_utf8_lossy(&log[log.len().saturating_sub(TAIL)..]).into_owned();
        }
    }
    Ok(seen)
}

fn standing(pull: &Pull, names: &[String]) -> Standing {
    let passes = |name: &&String| pull.checks.iter().any(|c| c.name == **name && c.state == CheckState::Passed);
    let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    Standing {
        number: pull.pull.number,
        fate: match pull.pull.state {
            PullState::Open | PullState::Merging(_) => Fate::Open,
            PullState::Merged(_) => Fate::Merged,
            PullState::Closed(_) => Fate::Closed,
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

#[cfg(test)]
mod tests {
    use hostd_core::{
        ForgeId,
        checks::Check,
        pulls::{Author, NewPull, Rules},
    };

    use super::*;

    fn outcome(required: &[&str], reported: &[(&str, CheckState)], ours: &[&str]) -> Option<&'static str> {
        let author = Author { session: "01".into(), slug: "fix".into() };
        let (title, body, head_branch, base_branch) = ("Fix".into(), String::new(), "work".into(), "main".into());
        let forge = ForgeId::local();
        let new = NewPull { forge, repository: "widgets".into(), title, body, author, head_branch, base_branch };
        let check = |(name, state): &(&str, CheckState)| {
            let (summary, url) = (String::new(), String::new());
            Check { name: (*name).into(), state: *state, summary, url, log: None, started_at: 1, updated_at: 1 }
        };
        let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        let pull = Pull {
            pull: PullRequest::new(new, 1, "a".into(), 1),
            rules: Rules { required_checks: names(required), ..Rules::default() },
            checks: reported.iter().map(check).collect(),
        };
        standing(&pull, &counted(&pull, names(ours))).outcome()
    }

    #[test]
    fn what_ci_has_yet_to_queue_is_waited_for() {
        use CheckState::{Failed, Passed};
        assert_eq!(outcome(&[], &[], &[]), Some("none"));
        assert_eq!(outcome(&[], &[], &["unit"]), None);
        assert_eq!(outcome(&[], &[("style", Passed)], &["style", "unit"]), None);
        assert_eq!(outcome(&[], &[("style", Failed)], &["style", "unit"]), Some("failed"));
        assert_eq!(outcome(&[], &[("style", Passed), ("unit", Passed)], &["style", "unit"]), Some("passed"));
        assert_eq!(outcome(&["style"], &[("style", Passed)], &["style", "unit"]), Some("passed"));
    }
}
