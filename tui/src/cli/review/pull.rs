//! The pull request that a command of `review` is about.

use pilothouse_proto::hostd::v1::{GetPullRequest, Pull};

use crate::cli::{
    failure::{Failure, Outcome},
    fleet::{Fleet, Host, On},
    format::plain,
    json, output,
};

/// Finds the pull request of this name, on the one host that has it.
pub(crate) async fn find<'a>(fleet: &'a Fleet, id: &str) -> Result<On<'a, Pull>, Failure> {
    let asked = async |host: &Host| host.ask(host.reviews().get_pull(GetPullRequest { id: id.to_owned() })).await;
    fleet.find(&format!("pull request `{}`", plain(id)), asked, name).await
}

/// The pull request's name as people write it: `REPOSITORY#NUMBER`.
pub(crate) fn name(pull: &Pull) -> String {
    format!("{}#{}", plain(&pull.repository), pull.number)
}

/// The commit that a command is about: the one that was asked for, else the head.
pub(super) fn head(asked: Option<String>, pull: &Pull) -> String {
    match asked {
        // In short is enough for people; the host wants all of it.
        Some(short) if short.len() >= 7 && pull.head.starts_with(&short.to_lowercase()) => pull.head.clone(),
        Some(other) => other,
        None => pull.head.clone(),
    }
}

/// Prints the pull request as JSON, or else this text.
pub(super) async fn print(on: &On<'_, Pull>, pull: &Pull, json: bool, text: &str) -> Outcome {
    if json {
        output::print_json(&json::WholePull::new(&on.host.name().await, pull))?;
    } else {
        output::print(&format!("{text}\n"))?;
    }
    Ok(0)
}
