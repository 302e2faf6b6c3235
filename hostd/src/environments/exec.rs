//! Commands of a build, run in its guest.

use std::{collections::HashMap, time::Duration};

use bytes::Bytes;
use hostd_core::{Recipe, image::Defaults, recipe::ROOT};
use pilothouse_proto::guest::v1::{ExecStart, Exit, guest_client::GuestClient};
use tokio::time::timeout;
use tonic::transport::Channel;

use super::{lines::Lines, progress::Progress, types::EnvironmentError};
use crate::guest::command::{self, Output};

/// Longest time of one command; a build that hangs would keep all others from being made.
const DEADLINE: Duration = Duration::from_secs(2 * 3600);
/// Most bytes that are kept of what a command prints.
const SAID_MAX: usize = 4096;

/// Folder of the guest's own programs.
pub(super) const OWN_PROGRAMS: &str = "/run/pilothouse/bin";

/// A guest of a build, and what its commands find there.
pub(super) struct Inside {
    client: GuestClient<Channel>,
    image: Option<Defaults>,
    lacks_shell: bool,
}

impl Inside {
    /// A guest of this recipe's: its commands find the variables of the image that it is based on. The recipe's own are not among
    /// them: builds are named by what goes into them, and those do not.
    pub(super) fn of(client: GuestClient<Channel>, recipe: &Recipe) -> Self {
        Self { client, image: recipe.image.as_deref().cloned(), lacks_shell: recipe.lacks_shell() }
    }

    /// The same guest, on an image that says this.
    pub(super) fn with(&self, image: &Defaults) -> Self {
        Self { client: self.client.clone(), image: Some(image.clone()), lacks_shell: self.lacks_shell }
    }

    /// Variables of this user's commands.
    fn environment(&self, user: &str) -> HashMap<String, String> {
        let mut environment = HashMap::from([("DEBIAN_FRONTEND".to_owned(), "noninteractive".to_owned())]);
        environment.extend(self.image.iter().flat_map(|image| image.variables(user, OWN_PROGRAMS)));
        environment
    }

    /// The link to the guest.
    pub(super) fn client(&self) -> GuestClient<Channel> {
        self.client.clone()
    }
}

/// Runs a program that does nothing, as this user. None: it ended well; otherwise how.
///
/// # Errors
/// As of [`run_as`].
pub(super) async fn nothing(
    inside: &Inside,
    user: &str,
    progress: &Progress,
) -> Result<Option<String>, EnvironmentError> {
    // What has no shell may have no `true` either.
    let own = format!("{OWN_PROGRAMS}/session");
    let command: &[&str] = if inside.lacks_shell { &[&own, "--version"] } else { &["true"] };
    run_as(inside, user, command, "/", progress).await
}

/// Runs a command (never empty) as root and without input to its end; its output becomes the step's.
///
/// # Errors
/// The step's failure, where the command fails, takes too long, or the guest does not answer.
pub(super) async fn run(
    inside: &Inside,
    command: &[&str],
    directory: &str,
    progress: &Progress,
) -> Result<(), EnvironmentError> {
    let end = run_as(inside, ROOT, command, directory, progress).await?;
    end.map_or(Ok(()), |end| Err(progress.failure(&format!("{} {end}", command[0]))))
}

/// Runs a command as [`run`] in `/`, which finds these bytes on its standard input.
///
/// # Errors
/// As of [`run`].
pub(super) async fn run_with(
    inside: &Inside,
    command: &[&str],
    input: Bytes,
    progress: &Progress,
) -> Result<(), EnvironmentError> {
    let end = ended(inside, (ROOT, "/"), command, input, progress).await?;
    end.map_or(Ok(()), |end| Err(progress.failure(&format!("{} {end}", command[0]))))
}

/// Runs a command as [`run`], as this user of the guest. None: it ended well; otherwise how.
///
/// # Errors
/// The step's failure, where the command takes too long, or the guest does not answer.
pub(super) async fn run_as(
    inside: &Inside,
    user: &str,
    command: &[&str],
    directory: &str,
    progress: &Progress,
) -> Result<Option<String>, EnvironmentError> {
    ended(inside, (user, directory), command, Bytes::new(), progress).await
}

async fn ended(
    inside: &Inside,
    (user, directory): (&str, &str),
    command: &[&str],
    input: Bytes,
    progress: &Progress,
) -> Result<Option<String>, EnvironmentError> {
    let (mut out, mut err) = (Lines::default(), Lines::default());
    let mut line = |line| progress.line(line);
    let followed = follow(inside, (user, directory), command, input, |piece| match piece {
        Output::Out(bytes) => out.push(&bytes, &mut line),
        Output::Err(bytes) => err.push(&bytes, &mut line),
    });
    let exit = in_time(followed, progress).await?;
    out.finish(&mut line);
    err.finish(&mut line);
    Ok(command::bad_end(&exit))
}

/// What a command prints, run as this user to its end; cut after [`SAID_MAX`] bytes. What it writes to its standard error
/// becomes the step's output.
///
/// # Errors
/// As of [`run`].
pub(super) async fn said(
    inside: &Inside,
    user: &str,
    command: &[&str],
    progress: &Progress,
) -> Result<String, EnvironmentError> {
    let mut said = vec![];
    let mut err = Lines::default();
    let followed = follow(inside, (user, "/"), command, Bytes::new(), |piece| match piece {
        Output::Out(bytes) => said.extend(bytes.iter().take(SAID_MAX - said.len())),
        Output::Err(bytes) => err.push(&bytes, &mut |line| progress.line(line)),
    });
    let exit = in_time(followed, progress).await?;
    err.finish(&mut |line| progress.line(line));
    match command::bad_end(&exit) {
        None => Ok(String::from_utf8_lossy(&said).into_owned()),
        Some(end) => Err(progress.failure(&format!("{} {end}", command[0]))),
    }
}

async fn in_time(
    followed: impl Future<Output = Result<Exit, tonic::Status>>,
    progress: &Progress,
) -> Result<Exit, EnvironmentError> {
    match timeout(DEADLINE, followed).await {
        Ok(Ok(exit)) => Ok(exit),
        Ok(Err(status)) => Err(progress.failure(&format!("the guest does not answer: {}", status.message()))),
        Err(_) => Err(progress.failure(&format!("it took longer than {} min", DEADLINE.as_secs() / 60))),
    }
}

async fn follow(
    inside: &Inside,
    (user, directory): (&str, &str),
    command: &[&str],
    input: Bytes,
    output: impl FnMut(Output),
) -> Result<Exit, tonic::Status> {
    let start = ExecStart {
        command: command.iter().map(|word| (*word).to_owned()).collect(),
        environment: inside.environment(user),
        directory: directory.into(),
        terminal: None,
        beside_frozen: false,
        user: user.into(),
    };
    command::follow_with(inside.client(), start, input, output).await
}
