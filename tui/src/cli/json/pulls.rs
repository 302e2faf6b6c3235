//! Pull requests, checks and repositories.

use pilothouse_proto::hostd::v1 as api;
use serde::Serialize;

use super::some;
use crate::cli::format::time;

/// A pull request in a list: an element of `review ls`.
#[derive(Debug, Serialize)]
pub(crate) struct Pull<'a> {
    id: String,
    host: &'a str,
    repository: &'a str,
    number: u64,
    title: &'a str,
    author: &'a str,
    session: &'a str,
    head_branch: &'a str,
    base_branch: &'a str,
    head: &'a str,
    revision: u32,
    state: &'a str,
    review: &'a str,
    checks_state: &'a str,
    checks_text: &'a str,
    blocked: Option<&'a str>,
    merge_method: &'a str,
    merged_by: Option<&'a str>,
    merge_commit: Option<&'a str>,
    merged_at: Option<String>,
    /// Why the pull request is closed; null: it is not.
    closed_why: Option<&'a str>,
    closed_at: Option<String>,
    created_at: String,
    updated_at: String,
}

/// A whole pull request: what `review show`, `approve` and the like print.
#[derive(Debug, Serialize)]
pub(crate) struct WholePull<'a> {
    #[serde(flatten)]
    pull: Pull<'a>,
    body: &'a str,
    revisions: Vec<Revision<'a>>,
    required_checks: &'a [String],
    checks: Vec<Check<'a>>,
    reviews: Vec<Review<'a>>,
    threads: Vec<Thread<'a>>,
}

#[derive(Debug, Serialize)]
struct Revision<'a> {
    number: u32,
    head: &'a str,
    forced: bool,
    at: String,
}

#[derive(Debug, Serialize)]
struct Review<'a> {
    id: u64,
    who: &'a str,
    verdict: &'a str,
    head: &'a str,
    revision: u32,
    body: &'a str,
    at: String,
}

#[derive(Debug, Serialize)]
struct Thread<'a> {
    id: u64,
    path: &'a str,
    line: Option<u32>,
    quote: &'a str,
    head: &'a str,
    revision: u32,
    resolved_by: Option<&'a str>,
    comments: Vec<Comment<'a>>,
}

#[derive(Debug, Serialize)]
struct Comment<'a> {
    who: &'a str,
    body: &'a str,
    review: u64,
    at: String,
}

/// A check: an element of `checks ls`.
#[derive(Debug, Serialize)]
pub(crate) struct Check<'a> {
    name: &'a str,
    state: &'a str,
    required: bool,
    summary: &'a str,
    url: Option<&'a str>,
    has_log: bool,
    started_at: String,
    updated_at: String,
}

/// A repository: an element of `repo ls`, and what `repo show`, `add` and `set` print.
#[derive(Debug, Serialize)]
pub(crate) struct Repository<'a> {
    name: &'a str,
    host: &'a str,
    default_branch: Option<&'a str>,
    head: Option<&'a str>,
    url: &'a str,
    path: &'a str,
    open_pulls: u32,
    upstream: Option<&'a str>,
    /// Seconds between two fetches; null: only when somebody asks.
    fetch_every: Option<u64>,
    fetched_at: Option<String>,
    fetch_error: Option<&'a str>,
    rules: Rules<'a>,
}

#[derive(Debug, Serialize)]
struct Rules<'a> {
    required_checks: &'a [String],
    approvals: u32,
    merge_method: &'a str,
    keep_branches: bool,
    direct_push: &'a str,
}

/// A branch that was not as its upstream has it: an element of `repo fetch`.
#[derive(Debug, Serialize)]
pub(crate) struct FetchedBranch<'a> {
    branch: &'a str,
    stood: &'a str,
    ahead: u64,
    behind: u64,
    upstream: &'a str,
}

/// A branch that an upstream has now: an element of `repo push`.
#[derive(Debug, Serialize)]
pub(crate) struct PushedBranch<'a> {
    branch: &'a str,
    commit: &'a str,
}

impl<'a> FetchedBranch<'a> {
    /// The shape of a fetched branch.
    pub(crate) fn new(it: &'a api::FetchedBranch) -> Self {
        let (ahead, behind) = (it.ahead, it.behind);
        Self { branch: &it.branch, stood: &it.stood, ahead, behind, upstream: &it.upstream }
    }
}

impl<'a> PushedBranch<'a> {
    /// The shape of a pushed branch.
    pub(crate) fn new(it: &'a api::PushedBranch) -> Self {
        Self { branch: &it.branch, commit: &it.commit }
    }
}

impl<'a> Pull<'a> {
    /// The shape of a pull request on the host of this name.
    pub(crate) fn new(host: &'a str, pull: &'a api::Pull) -> Self {
        Self {
            id: format!("{}#{}", pull.repository, pull.number),
            host,
            repository: &pull.repository,
            number: pull.number,
            title: &pull.title,
            author: &pull.author,
            session: &pull.session,
            head_branch: &pull.head_branch,
            base_branch: &pull.base_branch,
            head: &pull.head,
            revision: pull.revision,
            state: &pull.state,
            review: &pull.standing,
            checks_state: &pull.outcome,
            checks_text: &pull.outcome_text,
            blocked: some(&pull.blocked),
            merge_method: &pull.merge_method,
            merged_by: some(&pull.merged_by),
            merge_commit: some(&pull.merge_commit),
            merged_at: Some(pull.merged_at).filter(|at| *at != 0).map(time),
            closed_why: some(&pull.closed_why),
            closed_at: Some(pull.closed_at).filter(|at| *at != 0).map(time),
            created_at: time(pull.created_at),
            updated_at: time(pull.updated_at),
        }
    }
}

impl<'a> WholePull<'a> {
    /// The shape of a whole pull request on the host of this name.
    pub(crate) fn new(host: &'a str, pull: &'a api::Pull) -> Self {
        let revision =
            |it: &'a api::Revision| Revision { number: it.number, head: &it.head, forced: it.forced, at: time(it.at) };
        Self {
            pull: Pull::new(host, pull),
            body: &pull.body,
            revisions: pull.revisions.iter().map(revision).collect(),
            required_checks: &pull.required_checks,
            checks: pull.checks.iter().map(Check::new).collect(),
            reviews: pull.reviews.iter().map(Review::new).collect(),
            threads: pull.threads.iter().map(Thread::new).collect(),
        }
    }
}

impl<'a> Review<'a> {
    fn new(it: &'a api::Review) -> Self {
        Self {
            id: it.id,
            who: &it.who,
            verdict: &it.verdict,
            head: &it.head,
            revision: it.revision,
            body: &it.body,
            at: time(it.at),
        }
    }
}

impl<'a> Thread<'a> {
    fn new(it: &'a api::ReviewThread) -> Self {
        let comment =
            |it: &'a api::ReviewComment| Comment { who: &it.who, body: &it.body, review: it.review, at: time(it.at) };
        Self {
            id: it.id,
            path: &it.path,
            line: Some(it.line).filter(|line| *line > 0),
            quote: &it.quote,
            head: &it.head,
            revision: it.revision,
            resolved_by: some(&it.resolved_by),
            comments: it.comments.iter().map(comment).collect(),
        }
    }
}

impl<'a> Check<'a> {
    /// The shape of a check.
    pub(crate) fn new(it: &'a api::Check) -> Self {
        Self {
            name: &it.name,
            state: &it.state,
            required: it.required,
            summary: &it.summary,
            url: some(&it.url),
            has_log: it.has_log,
            started_at: time(it.started_at),
            updated_at: time(it.updated_at),
        }
    }
}

impl<'a> Repository<'a> {
    /// The shape of a repository on the host of this name.
    pub(crate) fn new(host: &'a str, it: &'a api::Repository) -> Self {
        let rules = it.rules.as_ref();
        Self {
            name: &it.name,
            host,
            default_branch: some(&it.default_branch),
            head: some(&it.head),
            url: &it.url,
            path: &it.path,
            open_pulls: it.open_pulls,
            upstream: some(&it.upstream),
            fetch_every: Some(it.fetch_every).filter(|every| *every > 0),
            fetched_at: Some(it.fetched_at).filter(|at| *at != 0).map(time),
            fetch_error: some(&it.fetch_error),
            rules: Rules {
                required_checks: rules.map_or(&[], |rules| &rules.required_checks),
                approvals: rules.map_or(0, |rules| rules.approvals),
                merge_method: rules.map_or("", |rules| &rules.merge_method),
                keep_branches: rules.is_some_and(|rules| rules.keep_branches),
                direct_push: rules.map_or("", |rules| &rules.direct_push),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(value: &impl Serialize) -> String {
        let value = serde_json::to_value(value).unwrap();
        let mut keys: Vec<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
        keys.sort_unstable();
        keys.join(" ")
    }

    #[test]
    fn fields_are_pinned() {
        let pull = api::Pull { repository: "widgets".into(), number: 7, ..Default::default() };
        let brief = "author base_branch blocked checks_state checks_text closed_at closed_why created_at head head_branch host id \
            merge_commit merge_method merged_at merged_by number repository review revision session state title \
            updated_at";
        assert_eq!(keys(&Pull::new("near", &pull)), brief);
        assert_eq!(serde_json::to_value(Pull::new("near", &pull)).unwrap()["id"], "widgets#7");
        let mut whole: Vec<&str> = brief.split(' ').filter(|key| !key.is_empty()).collect();
        whole.extend(["body", "checks", "required_checks", "reviews", "revisions", "threads"]);
        whole.sort_unstable();
        assert_eq!(keys(&WholePull::new("near", &pull)), whole.join(" "));
        let check = api::Check::default();
        assert_eq!(keys(&Check::new(&check)), "has_log name required started_at state summary updated_at url");
        let thread = api::ReviewThread::default();
        assert_eq!(keys(&Thread::new(&thread)), "comments head id line path quote resolved_by revision");
        let repository = api::Repository::default();
        let of_repository =
            "default_branch fetch_error fetch_every fetched_at head host name open_pulls path rules upstream url";
        assert_eq!(keys(&Repository::new("near", &repository)), of_repository);
    }
}
