use futures::{StreamExt as _, stream};
use pilothouse_proto::{
    guest::v1 as guest,
    hostd::v1::{ExecExit, ExecRequest, ExecResponse, ExecStart, exec_request, exec_response},
};
use tonic::{Request, Status, Streaming};

use super::{
    Api,
    principal::actor,
    status,
    streams::{Answers, first, pieces, until_closing},
};

/// Hands a command through to the guest, and what comes of it back. A caller that goes away takes the command with it.
pub(super) async fn exec(api: &Api, request: Request<Streaming<ExecRequest>>) -> Result<Answers<ExecResponse>, Status> {
    let hands = api.fleet.by(actor(&request));
    let mut requests = request.into_inner();
    let Some(exec_request::Request::Start(start)) = first(&mut requests).await?.request else {
        return Err(status::invalid("the first message of Exec must be `start`"));
    };
    if start.command.is_empty() {
        return Err(status::invalid("the command is empty"));
    }
    let (mut client, busy) = hands.guest(&start.id).await?;
    hands.ran(&start.id, &start.command).await;
    let start = stream::once(std::future::ready(towards_start(start)));
    // Where the caller's stream breaks, the answers are dropped, and with them this call.
    let rest = requests.take_while(|r| std::future::ready(r.is_ok())).flat_map(|r| stream::iter(towards(r)));
    let answers = client.exec(start.chain(rest)).await.map_err(|error| status::guest(&error))?.into_inner();
    // Held until the command's last answer.
    let answers = answers.map(move |answer| {
        let _ = &busy;
        answer.map(back).map_err(|error| status::guest(&error))
    });
    Ok(until_closing(answers, &api.closing))
}

fn towards_start(start: ExecStart) -> guest::ExecRequest {
    let start = guest::ExecStart {
        command: start.command,
        environment: start.environment,
        directory: start.directory,
        terminal: start.terminal.map(|size| guest::Size { columns: size.columns, rows: size.rows }),
        beside_frozen: false,
        user: start.user,
    };
    guest::ExecRequest { request: Some(guest::exec_request::Request::Start(start)) }
}

fn towards(request: Result<ExecRequest, Status>) -> Vec<guest::ExecRequest> {
    use guest::exec_request::Request as To;
    let parts = match request.ok().and_then(|r| r.request) {
        Some(exec_request::Request::Stdin(bytes)) => pieces(&bytes).map(To::Stdin).collect(),
        Some(exec_request::Request::StdinEnd(end)) => vec![To::StdinEnd(end)],
        Some(exec_request::Request::Resize(size)) => {
            vec![To::Resize(guest::Size { columns: size.columns, rows: size.rows })]
        }
        Some(exec_request::Request::Signal(signal)) => vec![To::Signal(signal)],
        // A second start is not for the guest.
        Some(exec_request::Request::Start(_)) | None => vec![],
    };
    parts.into_iter().map(|part| guest::ExecRequest { request: Some(part) }).collect()
}

fn back(answer: guest::ExecResponse) -> ExecResponse {
    use exec_response::Response as Back;
    use guest::exec_response::Response as From;
    let response = answer.response.map(|response| match response {
        From::Stdout(bytes) => Back::Stdout(bytes),
        From::Stderr(bytes) => Back::Stderr(bytes),
        From::Exit(exit) => Back::Exit(ExecExit { code: exit.code, signal: exit.signal }),
    });
    ExecResponse { response }
}
