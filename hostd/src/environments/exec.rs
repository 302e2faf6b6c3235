//! Commands of a build, run in its guest.

use std::time::Duration;

use hostd_core::recipe::ROOT;
use pilothouse_proto::guest::v1::{ExecStart, Exit, guest_client::GuestClient};
use tokio::time::timeout;
use tonic::transport::Channel;

use super::{EnvironmentError, lines::Lines, progress::Progress};
use crate::guest::command::{self, Output};

/// Longest time of one command; a build that hangs would keep all others from being made.
const DEADLINE: Duration = Duration::from_secs(2 * 3600);

/// Runs a command (never empty) as root and without input to its end; its output becomes the step's.
///
/// # Errors
/// The step's failure, where the command fails, takes too long, or the guest does not answer.
pub(super) async fn run(
    client: &GuestClient<Channel>,
    command: &[&str],
    directory: &str,
    progress: &Progress,
) -> Result<(), EnvironmentError> {
    let end = run_as(client, ROOT, command, directory, progress).await?;
    end.map_or(Ok(()), |end| Err(progress.failure(&format!("{} {end}", command[0]))))
}

/// Runs a command as [`run`], as this user of the guest. None: it ended well; otherwise how.
///
/// # Errors
/// The step's failure, where the command takes too long, or the guest does not answer.
pub(super) async fn run_as(
    client: &GuestClient<Channel>,
    user: &str,
    command: &[&str],
    directory: &str,
    progress: &Progress,
) -> Result<Option<String>, EnvironmentError> {
    let exit = match timeout(DEADLINE, follow(client.clone(), user, command, directory, progress)).await {
        Ok(Ok(exit)) => exit,
        Ok(Err(status)) => return Err(progress.failure(&format!("the guest does not answer: {}", status.message()))),
        Err(_) => return Err(progress.failure(&format!("it took longer than {} min", DEADLINE.as_secs() / 60))),
    };
    Ok(command::bad_end(&exit))
}

async fn follow(
    client: GuestClient<Channel>,
    user: &str,
    command: &[&str],
    directory: &str,
    progress: &Progress,
) -> Result<Exit, tonic::Status> {
    let start = ExecStart {
        command: command.iter().map(|word| (*word).to_owned()).collect(),
        environment: [("DEBIAN_FRONTEND".into(), "noninteractive".into())].into(),
        directory: directory.into(),
        terminal: None,
        beside_frozen: false,
        user: user.into(),
    };
    let (mut out, mut err) = (Lines::default(), Lines::default());
    let mut line = |line| progress.line(line);
    let exit = command::follow(client, start, |piece| match piece {
        Output::Out(bytes) => out.push(&bytes, &mut line),
        Output::Err(bytes) => err.push(&bytes, &mut line),
    });
    let exit = exit.await?;
    out.finish(&mut line);
    err.finish(&mut line);
    Ok(exit)
}
