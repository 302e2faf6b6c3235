//! `review`: the queue of pull requests, and what reviewers do.

mod close;
mod list;
mod merge;
mod say;
mod show;

use pilothouse_proto::hostd::v1::{GetPullRequest, Pull};

use super::{
    args::ReviewCommand,
    failure::{Failure, Outcome},
    fleet::{Fleet, Host, On},
    format::plain,
    json, output,
};

/// Runs one of the commands of `review`.
pub(crate) async fn run(fleet: &Fleet, command: ReviewCommand) -> Outcome {
    match command {
        ReviewCommand::Ls { repo, all, json } => list::run(fleet, repo, all, json).await,
        ReviewCommand::Show { id, json } => show::run(fleet, &id, json).await,
        ReviewCommand::Comment { said, file, line, thread } => say::comment(fleet, said, file, line, thread).await,
        ReviewCommand::Approve { said } => say::verdict(fleet, said, "approve").await,
        ReviewCommand::RequestChanges { said } => say::verdict(fleet, said, "request-changes").await,
        ReviewCommand::Close { which } => close::close(fleet, which).await,
        ReviewCommand::Reopen { which } => close::reopen(fleet, which).await,
        ReviewCommand::Resolve { id, thread, undo, json } => say::resolve(fleet, &id, thread, !undo, json).await,
        ReviewCommand::Merge { id, head, yes, json } => merge::run(fleet, &id, head, yes, json).await,
    }
}

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
fn head(asked: Option<String>, pull: &Pull) -> String {
    match asked {
        // In short is enough for people; the host wants all of it.
        Some(short) if short.len() >= 7 && pull.head.starts_with(&short.to_lowercase()) => pull.head.clone(),
        Some(other) => other,
        None => pull.head.clone(),
    }
}

async fn print(on: &On<'_, Pull>, pull: &Pull, json: bool, text: &str) -> Outcome {
    if json {
        output::print_json(&json::WholePull::new(&on.host.name().await, pull))?;
    } else {
        output::print(&format!("{text}\n"))?;
    }
    Ok(0)
}
