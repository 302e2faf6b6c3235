use pilothouse_proto::hostd::v1::{ClosePullRequest, ReopenPullRequest};

use super::pull::{find, name, print};
use crate::cli::{args::OnePull, failure::Outcome, fleet::Fleet};

pub(super) async fn close(fleet: &Fleet, which: OnePull) -> Outcome {
    let found = find(fleet, &which.id).await?;
    let id = name(&found.it);
    let pull = found.host.ask(found.host.reviews().close_pull(ClosePullRequest { id: id.clone() })).await?;
    print(&found, &pull, which.json, &format!("closed {id}; `pilothouse review reopen {id}` opens it again")).await
}

pub(super) async fn reopen(fleet: &Fleet, which: OnePull) -> Outcome {
    let found = find(fleet, &which.id).await?;
    let id = name(&found.it);
    let pull = found.host.ask(found.host.reviews().reopen_pull(ReopenPullRequest { id: id.clone() })).await?;
    print(&found, &pull, which.json, &format!("opened {id} again at revision {}", pull.revision)).await
}
