//! `review`: the queue of pull requests, and what reviewers do.

mod close;
mod list;
mod merge;
mod pull;
mod say;
mod show;

use super::{args::ReviewCommand, failure::Outcome, fleet::Fleet};
pub(crate) use pull::{find, name};

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
