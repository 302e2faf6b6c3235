//! Commands of a build, run in its guest.

use std::time::Duration;

use pilothouse_proto::guest::v1::{
    ExecRequest, ExecStart, Exit, exec_request, exec_response, guest_client::GuestClient,
};
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;

use super::{EnvironmentError, lines::Lines, progress::Progress};

/// For one command; a build that hangs would keep all others from being made.
const DEADLINE: Duration = Duration::from_secs(2 * 3600);

/// Runs a command (never empty) without input to its end; its output becomes the step's.
///
/// # Errors
/// The step's failure, where the command fails, takes too long, or the guest does not answer.
pub(super) async fn run(
    client: &GuestClient<Channel>,
    command: &[&str],
    directory: &str,
    progress: &Progress,
) -> Result<(), EnvironmentError> {
    let exit = match timeout(DEADLINE, follow(client.clone(), command, directory, progress)).await {
        Ok(Ok(exit)) => exit,
        Ok(Err(status)) => return Err(progress.failure(&format!("the guest does not answer: {}", status.message()))),
        Err(_) => return Err(progress.failure(&format!("it took longer than {} min", DEADLINE.as_secs() / 60))),
    };
    match exit {
        Exit { code: 0, .. } => Ok(()),
        Exit { signal: 0, code } => Err(progress.failure(&format!("{} ended with exit code {code}", command[0]))),
        Exit { signal, .. } => Err(progress.failure(&format!("{} was ended by signal {signal}", command[0]))),
    }
}

async fn follow(
    mut client: GuestClient<Channel>,
    command: &[&str],
    directory: &str,
    progress: &Progress,
) -> Result<Exit, tonic::Status> {
    let start = ExecStart {
        command: command.iter().map(|word| (*word).to_owned()).collect(),
        environment: [("DEBIAN_FRONTEND".into(), "noninteractive".into())].into(),
        directory: directory.into(),
        terminal: None,
    };
    // The sender lives as long as the command: the end of the requests would say that nobody wants it any more.
    let (requests, receiver) = mpsc::channel(2);
    for request in [exec_request::Request::Start(start), exec_request::Request::StdinEnd(true)] {
        let sent = requests.send(ExecRequest { request: Some(request) }).await;
        sent.map_err(|_| tonic::Status::internal("the request went nowhere"))?;
    }
    let mut responses = client.exec(ReceiverStream::new(receiver)).await?.into_inner();
    let (mut out, mut err) = (Lines::default(), Lines::default());
    let mut line = |line| progress.output(line);
    while let Some(response) = responses.message().await? {
        match response.response {
            Some(exec_response::Response::Stdout(bytes)) => out.push(&bytes, &mut line),
            Some(exec_response::Response::Stderr(bytes)) => err.push(&bytes, &mut line),
            Some(exec_response::Response::Exit(exit)) => {
                out.finish(&mut line);
                err.finish(&mut line);
                return Ok(exit);
            }
            None => {}
        }
    }
    Err(tonic::Status::unavailable("the command's output ended without an exit code"))
}
