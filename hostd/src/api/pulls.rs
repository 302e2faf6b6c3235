//! Pull requests, checks and repositories, from what hostd knows to what is on the wire.

use hostd_core::{
    checks::Check,
    pulls::{DirectPush, MergeMethod, PullState, Rules, Who, may_merge},
    text,
    upstream::Upstream,
};
use pilothouse_proto::hostd::v1 as wire;
use tonic::{Code, Status};

use super::{
    Api,
    status::{forge as failed, invalid, status},
};
use crate::forge::{Pull, PullFilter, PullId, RepositoryInfo};

/// Most revisions, checks, reviews, threads and comments of a thread that watchers are told of one pull request.
const WATCHED: usize = 20;
/// Longest text that watchers are told, in bytes.
const WATCHED_TEXT: usize = 1024;
/// Longest URL of an upstream that is told, in bytes.
const UPSTREAM_MAX: usize = 2048;

/// Converts a pull request with everything in it.
pub(super) fn pull(whole: &Pull) -> wire::Pull {
    let p = &whole.pull;
    let required = |check: &Check| whole.rules.required_checks.contains(&check.name);
    wire::Pull {
        body: p.body.clone(),
        revisions: p.revisions.iter().map(revision).collect(),
        reviews: p.reviews.iter().map(review).collect(),
        threads: p.threads.iter().map(thread).collect(),
        checks: whole.checks.iter().map(|it| check(it, required(it))).collect(),
        required_checks: whole.rules.required_checks.clone(),
        ..pull_in_brief(whole)
    }
}

/// Converts a pull request without its description, revisions, reviews, threads and checks, for lists and changes.
pub(super) fn pull_in_brief(whole: &Pull) -> wire::Pull {
    let p = &whole.pull;
    let outcome = whole.outcome();
    let anybody = Who::person("anybody");
    let blocked = match p.state {
        PullState::Open => may_merge(p, &whole.rules, &whole.checks, &anybody, p.head()).err(),
        _ => None,
    };
    let merge = match &p.state {
        PullState::Merged(merge) => Some(merge),
        _ => None,
    };
    let closing = match &p.state {
        PullState::Closed(closing) => Some(closing),
        _ => None,
    };
    wire::Pull {
        repository: p.repository.clone(),
        number: p.number,
        title: p.title.clone(),
        session: p.author.session.clone(),
        author: p.author.slug.clone(),
        head_branch: p.head_branch.clone(),
        base_branch: p.base_branch.clone(),
        head: p.head().into(),
        revision: p.revision(),
        state: p.state.word().into(),
        standing: whole.standing().word().into(),
        outcome: outcome.word().into(),
        outcome_text: outcome.to_string(),
        blocked: blocked.map(|refusal| refusal.to_string()).unwrap_or_default(),
        merge_method: whole.rules.method.word().into(),
        created_at: p.created_at,
        updated_at: p.updated_at,
        merged_by: merge.map(|merge| merge.by.clone()).unwrap_or_default(),
        merge_commit: merge.map(|merge| merge.commit.clone()).unwrap_or_default(),
        merged_at: merge.map_or(0, |merge| merge.at),
        closed_why: closing.map(|closing| closing.why.to_string()).unwrap_or_default(),
        closed_at: closing.map_or(0, |closing| closing.at),
        ..wire::Pull::default()
    }
}

/// Converts a pull request for watchers: the newest parts of it, and the beginnings of its texts, since there may be many.
pub(super) fn pull_for_watch(whole: &Pull) -> wire::Pull {
    let mut pull = pull(whole);
    let cut = |body: &mut String| *body = text::clean(body, WATCHED_TEXT);
    cut(&mut pull.body);
    newest(&mut pull.revisions);
    most_telling(&mut pull.checks);
    newest(&mut pull.reviews);
    newest(&mut pull.threads);
    pull.reviews.iter_mut().for_each(|review| cut(&mut review.body));
    for thread in &mut pull.threads {
        newest(&mut thread.comments);
        thread.comments.iter_mut().for_each(|comment| cut(&mut comment.body));
    }
    pull
}

/// Keeps as many checks as watchers are told of: those that failed first, of these the required ones, then those that are not
/// over; by name otherwise.
fn most_telling(checks: &mut Vec<wire::Check>) {
    checks.sort_by_key(|check| {
        let state = match check.state.as_str() {
            "failed" | "errored" => 0,
            "passed" => 2,
            _ => 1,
        };
        (state, !check.required)
    });
    checks.truncate(WATCHED);
}

fn newest<T>(items: &mut Vec<T>) {
    items.drain(..items.len().saturating_sub(WATCHED));
}

fn revision(it: &hostd_core::pulls::Revision) -> wire::Revision {
    wire::Revision { number: it.number, head: it.head.clone(), forced: it.forced, at: it.at }
}

fn review(it: &hostd_core::pulls::Review) -> wire::Review {
    wire::Review {
        id: it.id,
        who: it.who.name.clone(),
        verdict: it.verdict.word().into(),
        head: it.head.clone(),
        revision: it.revision,
        body: it.body.clone(),
        at: it.at,
    }
}

fn thread(it: &hostd_core::pulls::Thread) -> wire::ReviewThread {
    let comment = |it: &hostd_core::pulls::Comment| wire::ReviewComment {
        who: it.who.name.clone(),
        body: it.body.clone(),
        at: it.at,
        review: it.review,
    };
    wire::ReviewThread {
        id: it.id,
        path: it.place.path.clone(),
        line: it.place.line.unwrap_or(0),
        quote: it.place.quote.clone(),
        head: it.head.clone(),
        revision: it.revision,
        comments: it.comments.iter().map(comment).collect(),
        resolved_by: it.resolved.as_ref().map(|resolved| resolved.who.name.clone()).unwrap_or_default(),
        resolved_at: it.resolved.as_ref().map_or(0, |resolved| resolved.at),
    }
}

pub(super) fn check(it: &Check, required: bool) -> wire::Check {
    wire::Check {
        name: it.name.clone(),
        state: it.state.word().into(),
        summary: it.summary.clone(),
        url: it.url.clone(),
        has_log: it.log.is_some(),
        required,
        started_at: it.started_at,
        updated_at: it.updated_at,
    }
}

pub(super) fn repository(info: &RepositoryInfo, rules: &Rules, open: usize, from: &Upstream) -> wire::Repository {
    wire::Repository {
        name: info.name.clone(),
        default_branch: info.default_branch.clone(),
        head: info.head.clone(),
        url: info.url.clone(),
        path: info.path.as_ref().map(|path| path.to_string_lossy().into_owned()).unwrap_or_default(),
        rules: Some(wire::Rules {
            required_checks: rules.required_checks.clone(),
            approvals: rules.approvals,
            merge_method: rules.method.word().into(),
            keep_branches: rules.keep_branches,
            direct_push: rules.direct_push.word().into(),
        }),
        open_pulls: super::convert::count(open),
        upstream: text::clean(&from.shown(), UPSTREAM_MAX),
        fetch_every: from.fetch_every,
        fetched_at: from.fetched_at,
        fetch_error: from.error.clone(),
    }
}

// tonic's type of errors.
#[allow(clippy::result_large_err)]
pub(super) fn rules(wire: Option<wire::Rules>) -> Result<Rules, Status> {
    let wire::Rules { mut required_checks, approvals, merge_method, keep_branches, direct_push } =
        wire.unwrap_or_default();
    let method = MergeMethod::from_word(&merge_method).ok_or_else(|| {
        let words = MergeMethod::ALL.map(MergeMethod::word).join(", ");
        invalid(format!("{merge_method:?} is no way to merge; say one of {words}"))
    })?;
    // Clients of before know nothing of it.
    let push = if direct_push.is_empty() { Some(DirectPush::default()) } else { DirectPush::from_word(&direct_push) };
    let direct_push = push.ok_or_else(|| {
        let words = DirectPush::ALL.map(DirectPush::word).join(", ");
        invalid(format!("{direct_push:?} says nothing of pushes to the default branch; say one of {words}"))
    })?;
    let mut seen = std::collections::HashSet::new();
    required_checks.retain(|name| seen.insert(name.clone()));
    Ok(Rules { required_checks, approvals, method, keep_branches, direct_push })
}

impl Api {
    /// The pull request that `asked` names: `REPOSITORY#NUMBER`, or a number that one repository alone has; an open one goes
    /// before those that are over.
    pub(super) async fn pull_id(&self, asked: &str) -> Result<PullId, Status> {
        let (repository, number) = asked.split_once('#').unwrap_or(("", asked));
        let number: u64 = number.parse().map_err(|_| {
            invalid(format!("{asked:?} names no pull request; say NUMBER, or REPOSITORY#NUMBER as `review ls` does"))
        })?;
        if !repository.is_empty() {
            return Ok(PullId::new(self.forge.id().clone(), repository, number));
        }
        let all = self.forge.pulls(PullFilter { all: true, ..PullFilter::default() }).await.map_err(failed)?;
        let mut found: Vec<_> = all.into_iter().map(|whole| whole.pull).filter(|pull| pull.number == number).collect();
        if found.iter().any(|pull| pull.state.is_open()) {
            found.retain(|pull| pull.state.is_open());
        }
        match &found[..] {
            [] => Err(status(
                Code::NotFound,
                "PULL_NOT_FOUND",
                format!("there is no pull request #{number}; `pilothouse review ls --all` lists them"),
            )),
            [pull] => Ok(PullId::of(pull)),
            several => {
                let names = several.iter().take(8).map(|pull| PullId::of(pull).to_string()).collect::<Vec<_>>();
                let text = format!("#{number} could be any of {}; say which", names.join(", "));
                Err(status(Code::InvalidArgument, "ID_AMBIGUOUS", text))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn watchers_are_told_of_what_failed_however_many_checks_there_are() {
        let check = |n: usize, state: &str, required| wire::Check {
            name: format!("{n:02}"),
            state: state.into(),
            required,
            ..wire::Check::default()
        };
        let mut checks: Vec<_> = (0..50).map(|n| check(n, "passed", n == 40)).collect();
        (checks[3], checks[4], checks[5]) =
            (check(3, "running", false), check(4, "failed", false), check(5, "errored", true));
        most_telling(&mut checks);
        let names: Vec<_> = checks.iter().map(|check| check.name.as_str()).collect();
        assert_eq!((names.len(), &names[..6]), (WATCHED, &["05", "04", "03", "40", "00", "01"][..]));
    }
}
