//! What the agent asks of the host, through the tunnel. A question outlives the connection: it is asked again, with the same
//! id, for as long as somebody waits for its answer.

use std::{error::Error as _, time::Duration};

use pilothouse_proto::guest::v1::{AskRequest, AskResponse, OpenPull, ask_request, ask_response::Answer};
use tokio::time::sleep;
use tonic::{Code, Status};

use crate::{
    statuses::{Request, Response, refused},
    tunnel::Gateway,
};

/// Longest title of a pull request, in bytes; [`BODY_MAX`] is that of its description.
const TITLE_MAX: usize = 256;
const BODY_MAX: usize = 16 << 10;
/// Longest name of a branch, in bytes.
const BRANCH_MAX: usize = 256;
/// Time for which the tunnel is waited for at a time; then it is waited for again.
const TUNNEL_WITHIN: Duration = Duration::from_secs(3600);
/// Pause before a question is asked again.
const PAUSE: Duration = Duration::from_millis(200);

/// Whether a pull request's words are within their bounds.
pub(crate) fn check(title: &str, body: &str, branches: [&str; 2]) -> Result<(), String> {
    if title.trim().is_empty() {
        Err("the title is empty".into())
    } else if title.len() > TITLE_MAX || body.len() > BODY_MAX {
        Err(format!("the title has at most {TITLE_MAX} bytes, and the body {BODY_MAX}"))
    } else if branches.iter().any(|branch| branch.len() > BRANCH_MAX) {
        Err(format!("a branch's name has at most {BRANCH_MAX} bytes"))
    } else {
        Ok(())
    }
}

/// Asks the host until there is an answer.
pub(crate) async fn ask(gateway: &Gateway, request: Request) -> Response {
    let question = match request {
        Request::OpenPull { title, body, branch, base } => {
            ask_request::Request::OpenPull(OpenPull { title, body, branch, base })
        }
        Request::Status { .. } | Request::Wait { .. } => return refused("that is no question".into()),
    };
    let id = match id() {
        Ok(id) => id,
        Err(error) => return refused(format!("no random numbers: {error}")),
    };
    let request = AskRequest { id, request: Some(question) };
    loop {
        let Some(mut client) = gateway.client(TUNNEL_WITHIN).await else { continue };
        match client.ask(request.clone()).await {
            Ok(answer) => return told(answer.into_inner()),
            Err(status) if is_lost(&status) => sleep(PAUSE).await,
            Err(status) => return refused(status.message().to_owned()),
        }
    }
}

fn told(answer: AskResponse) -> Response {
    let answer = match answer.answer {
        Some(Answer::PullOpened(pull)) => serde_json::json!({
            "repository": pull.repository,
            "number": pull.number,
            "branch": pull.branch,
            "base": pull.base,
            "revision": pull.revision,
        }),
        None => return refused("the host answered something that this guest does not know".into()),
    };
    Response { error: None, answer: Some(answer) }
}

/// Whether the question was lost on its way, or hostd ends: the next connection may bring the answer.
fn is_lost(status: &Status) -> bool {
    // What came over the wire has no source.
    status.source().is_some() || matches!(status.code(), Code::Unavailable | Code::Cancelled)
}

/// A new id for a question.
fn id() -> std::io::Result<String> {
    std::fs::read_to_string("/proc/sys/kernel/random/uuid").map(|id| id.trim().to_owned())
}
