//! Runs a command beside the agent.
//!
//! Backpressure goes all the way, both ways: bytes wait in the program's pipe, in at most a few chunks here, and in HTTP/2's
//! window. A stream that its caller drops (or a link that goes down) ends the command's process group: TERM, then KILL.

mod run;

use pilothouse_proto::guest::v1::{
    ExecRequest, ExecResponse, ExecStart, Exit, exec_request::Request, exec_response::Response,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::{
    check,
    guest::{Answers, Guest, QUIET},
};
use crate::{
    environment,
    process::{self, Launch, LaunchError},
    user::User,
};

/// Messages that wait for HTTP/2, of at most `CHUNK` bytes each.
const QUEUE: usize = 2;

pub(super) async fn run(guest: &Guest, mut requests: Streaming<ExecRequest>) -> Result<Answers<ExecResponse>, Status> {
    let permit = guest.0.execs.clone().try_acquire_owned();
    let permit = permit.map_err(|_| Status::resource_exhausted("too many commands at once in this session"))?;
    let Some(Request::Start(start)) = requests.message().await?.and_then(|message| message.request) else {
        return Err(Status::invalid_argument("an exec begins with `start`"));
    };
    let quiet = guest.is_quiet();
    let beside = quiet && start.beside_frozen;
    let launch = match prepare(guest, start)? {
        Ok(launch) => launch,
        Err(error) => return Ok(refused(&error)),
    };
    if quiet && !beside {
        return Err(Status::unavailable(QUIET));
    }
    // Beside what is frozen: in our own cgroup, which never is.
    let started = if beside { process::launch(&launch, None) } else { guest.launch(&launch, "exec") };
    match started {
        Err(error) => Ok(refused(&error)),
        Ok(started) => {
            let (answers, receiver) = mpsc::channel(QUEUE);
            tokio::spawn(async move {
                run::run(started, requests, answers).await;
                drop(permit);
            });
            Ok(Box::pin(ReceiverStream::new(receiver)))
        }
    }
}

/// What is to be started; inside, why it cannot be.
fn prepare(guest: &Guest, start: ExecStart) -> Result<Result<Launch, LaunchError>, Status> {
    check::command(&start.command)?;
    check::environment(&start.environment)?;
    let terminal = start.terminal.as_ref().map(check::size).transpose()?;
    let agent = guest.0.agent.context().unwrap_or_default();
    let directory =
        [start.directory, agent.directory].into_iter().find(|d| !d.is_empty()).unwrap_or_else(|| "/".into());
    let user = match User::find(if start.user.is_empty() { &agent.user } else { &start.user }) {
        Ok(user) => user,
        Err(error) => return Ok(Err(LaunchError::new(126, error.to_string()))),
    };
    let environment = environment::of(&user, [&guest.variables(), &agent.environment, &start.environment]);
    Ok(Ok(Launch { command: start.command, environment, directory, terminal, user: Some(user) }))
}

/// Answers that a command could not be started, as a shell does: a line on stderr and an exit code.
fn refused(error: &LaunchError) -> Answers<ExecResponse> {
    let line = Response::Stderr(format!("{error}\n").into());
    let exit = Response::Exit(Exit { code: error.code, signal: 0 });
    let answers = [line, exit].map(|response| Ok(ExecResponse { response: Some(response) }));
    Box::pin(futures::stream::iter(answers))
}
