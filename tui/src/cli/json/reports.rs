use pilothouse_proto::hostd::v1 as api;
use serde::Serialize;

use super::{some, time};

/// What was reported of what an agent is doing.
#[derive(Debug, Serialize)]
pub(crate) struct Report<'a> {
    source: &'a str,
    at: Option<String>,
    state: &'a str,
    kind: Option<&'a str>,
    title: Option<&'a str>,
    text: Option<&'a str>,
    progress: Option<u32>,
    app: Option<&'a str>,
    id: Option<&'a str>,
    until: Option<String>,
}

impl<'a> Report<'a> {
    pub(crate) fn new(report: &'a api::Report) -> Self {
        let known = |at: i64| (at > 0).then(|| time(at));
        Self {
            source: &report.source,
            at: known(report.at),
            state: &report.state,
            kind: some(&report.kind),
            title: some(&report.title),
            text: some(&report.text),
            progress: report.progress,
            app: some(&report.app),
            id: some(&report.id),
            until: known(report.until),
        }
    }
}

/// A permission that an agent's program needs.
#[derive(Debug, Serialize)]
pub(crate) struct Permission<'a> {
    /// What `answer --permission` names.
    id: &'a str,
    text: &'a str,
    /// Names of the keys that allow it, and of those that deny it; empty: it is answered on the agent's terminal alone.
    allow: &'a [String],
    deny: &'a [String],
}

impl<'a> Permission<'a> {
    pub(crate) fn new(asked: &'a api::Permission) -> Self {
        Self { id: &asked.id, text: &asked.text, allow: &asked.allow, deny: &asked.deny }
    }
}

/// Why a session stands as it does: what `explain` prints.
#[derive(Debug, Serialize)]
pub(crate) struct Explanation<'a> {
    id: &'a str,
    slug: &'a str,
    activity: &'a str,
    attention: &'a str,
    reason: &'a str,
    /// Source of what decides; null where nobody has said anything.
    decides: Option<&'a str>,
    because: &'a str,
    said: Vec<Report<'a>>,
    /// Why hooks that its profile has count as left out by its program; null: they do not.
    missing_hooks: Option<&'a str>,
    records: Vec<Report<'a>>,
}

impl<'a> Explanation<'a> {
    pub(crate) fn new(session: &'a api::Session, explained: &'a api::ExplainResponse) -> Self {
        Self {
            id: &session.id,
            slug: &session.slug,
            activity: &session.activity,
            attention: &session.attention,
            reason: &session.reason,
            decides: some(&explained.decides),
            because: &explained.because,
            said: explained.said.iter().map(Report::new).collect(),
            missing_hooks: some(&session.missing_hooks),
            records: session.records.iter().map(Report::new).collect(),
        }
    }
}
