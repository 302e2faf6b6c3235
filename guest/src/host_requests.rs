//! Requests of the agent to the host, through the tunnel. A question outlives the connection: it is asked again, with the same
//! id, for as long as somebody waits for its answer.

use std::{error::Error as _, time::Duration};

use pilothouse_proto::guest::v1::{AskRequest, AskResponse, OpenPull, ask_request, ask_response::Answer};
use tokio::time::sleep;
use tonic::{Code, Status};

use crate::{
    session_protocol::{Request, Response, refused},
    tunnel::Gateway,
};

/// Time for which the tunnel is waited for at a time; then it is waited for again.
const TUNNEL_WITHIN: Duration = Duration::from_secs(3600);
/// Pause before a question is asked again.
const PAUSE: Duration = Duration::from_millis(200);

/// Asks the host until there is an answer.
pub(crate) async fn ask(gateway: &Gateway, request: Request) -> Response {
    let question = match request {
        Request::OpenPull { title, body, branch, base } => {
            ask_request::Request::OpenPull(OpenPull { title, body, branch, base })
        }
        Request::Status { .. } | Request::Wait { .. } | Request::Hook(_) => {
            return refused("that is no question".into());
        }
    };
    let id = match id() {
        Ok(id) => id,
        Err(error) => return refused(format!("no random numbers: {error}")),
    };
    let request = AskRequest { id, request: Some(question) };
    loop {
        let Some(mut client) = gateway.client(TUNNEL_WITHIN).await else { continue };
        match client.ask(request.clone()).await {
            Ok(answer) => return response(answer.into_inner()),
            Err(status) if is_lost(&status) => sleep(PAUSE).await,
            Err(status) => return refused(status.message().to_owned()),
        }
    }
}

fn response(answer: AskResponse) -> Response {
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
