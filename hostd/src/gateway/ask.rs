//! What agents ask of the host: `session pr open`. All of a question is foreign, but whose it is: that is the link's.

use hostd_core::{
    pulls::{Author, NewPull},
    text,
};
use pilothouse_proto::guest::v1::{AskRequest, AskResponse, OpenPull, PullOpened, ask_request, ask_response::Answer};
use tonic::Status;

use super::{Caller, Gateway};
use crate::forge::{Forge, ForgeError};

/// Most branches that a refusal names.
const NAMED: usize = 8;

impl Gateway {
    /// Answers a question. The same question again gets the same answer.
    ///
    /// # Errors
    /// A refusal in words for the agent. `Unavailable` where it is to be asked again.
    pub async fn ask(&self, caller: &Caller, request: AskRequest) -> Result<AskResponse, Status> {
        let answer = match request.request {
            Some(ask_request::Request::OpenPull(open)) => Answer::PullOpened(self.open_pull(caller, open).await?),
            None => return Err(Status::unimplemented("this host does not know what is asked; update hostd")),
        };
        Ok(AskResponse { answer: Some(answer) })
    }

    async fn open_pull(&self, caller: &Caller, open: OpenPull) -> Result<PullOpened, Status> {
        let denied = |why: &str| Status::permission_denied(format!("{} {why}", caller.slug));
        let repository =
            caller.repository.clone().ok_or_else(|| denied("has no repository; its environment names none"))?;
        let prefix =
            caller.branch_prefix.as_deref().ok_or_else(|| denied("may not push, and so has no pull requests"))?;
        let forge = self.forge.as_deref().ok_or_else(|| Status::unavailable("this host has no forge"))?;
        let OpenPull { title, body, branch, base } = open;
        let head_branch = match branch.as_str() {
            "" => only(forge, &repository, prefix).await?,
            whole if whole.starts_with(prefix) => branch,
            part => format!("{prefix}{part}"),
        };
        let author = Author { session: caller.session_id.clone(), slug: caller.slug.clone() };
        let new =
            NewPull { forge: forge.id().clone(), repository, title, body, author, head_branch, base_branch: base };
        let pull = forge.open(new).await.map_err(|error| refused(&error))?.pull;
        tracing::info!(caller = caller.slug, number = pull.number, "a pull request is open");
        Ok(PullOpened {
            revision: pull.revision(),
            repository: pull.repository,
            number: pull.number,
            branch: pull.head_branch,
            base: pull.base_branch,
        })
    }
}

/// The only branch of the session; an error where it has none or several.
async fn only(forge: &dyn Forge, repository: &str, prefix: &str) -> Result<String, Status> {
    let mut branches = forge.branches(repository, prefix).await.map_err(|error| refused(&error))?;
    match branches.len() {
        0 => {
            let help = format!("git push origin HEAD:refs/heads/{prefix}work");
            Err(Status::failed_precondition(format!("nothing was pushed to {prefix}*; push first: {help}")))
        }
        1 => Ok(branches.remove(0)),
        _ => {
            branches.truncate(NAMED);
            let names = branches.join(", ");
            Err(Status::failed_precondition(format!("several branches were pushed: {names}; say which with --branch")))
        }
    }
}

fn refused(error: &ForgeError) -> Status {
    let text = text::clean(&error.to_string(), 2048);
    match error {
        ForgeError::Storage(_) | ForgeError::Unavailable(_) => Status::unavailable(text),
        _ => Status::failed_precondition(text),
    }
}
