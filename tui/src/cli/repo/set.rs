//! `repo set`: what a repository asks, and where it is fetched from.

use pilothouse_proto::hostd::v1::{Rules, SetRulesRequest, SetUpstreamRequest};

use super::{
    repository::{find, show},
    source::source_of,
};
use crate::cli::{args::Change, failure::Outcome, fleet::Fleet};

pub(super) async fn run(fleet: &Fleet, name: &str, change: Change, json: bool) -> Outcome {
    let found = find(fleet, name).await?;
    let (name, before) = (found.it.name.clone(), found.it.rules.clone().unwrap_or_default());
    let mut repository = found.it.clone();
    let Change { require, require_none, approvals, merge, keep_branches, direct_push, upstream, fetch_every } = change;
    if upstream.is_some() || fetch_every.is_some() {
        let url = match upstream.as_deref() {
            Some("none") => Some(String::new()),
            Some(source) => Some(source_of(source.to_owned())?),
            None => None,
        };
        let fetch_every = fetch_every.map(|every| every.as_secs());
        let request = SetUpstreamRequest { name: name.clone(), url, fetch_every };
        repository = found.host.ask(found.host.repositories().set_upstream(request)).await?;
    }
    let asked = require_none || !require.is_empty() || approvals.is_some() || merge.is_some();
    let asked = asked || keep_branches.is_some() || direct_push.is_some();
    let rules = Rules {
        required_checks: if require_none || !require.is_empty() { require } else { before.required_checks },
        approvals: approvals.unwrap_or(before.approvals),
        merge_method: merge.unwrap_or(before.merge_method),
        keep_branches: keep_branches.map_or(before.keep_branches, |word| word == "yes"),
        direct_push: direct_push.unwrap_or(before.direct_push),
    };
    // What comes from environments stays theirs while nobody speaks of it.
    if asked {
        let request = SetRulesRequest { name, rules: Some(rules) };
        repository = found.host.ask(found.host.repositories().set_rules(request)).await?;
    }
    show(found.host, &repository, json).await
}
