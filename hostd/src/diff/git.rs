//! git for questions about repositories that guests write to.

use std::{future::Future, io, path::Path, process::Stdio, time::Duration};

use hostd_core::text;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    process::{ChildStderr, ChildStdin, ChildStdout, Command},
    time::timeout,
};
use tokio_util::task::AbortOnDropHandle;

use super::error::DiffError;
use crate::{
    forge,
    process::{self, Group, Pipes},
};

/// Longest wait for git to say something more. Comparing the trees of a large repository is one such step.
pub(super) const DEADLINE: Duration = Duration::from_secs(120);
/// Most bytes that are kept of what git says on stderr.
const STDERR_MAX: usize = 4096;

/// Waits for a step of git's, no longer than the deadline.
pub(super) async fn soon<T, E: Into<DiffError>>(step: impl Future<Output = Result<T, E>>) -> Result<T, DiffError> {
    let late = |_| io::Error::from(io::ErrorKind::TimedOut);
    timeout(DEADLINE, step).await.map_err(late)?.map_err(Into::into)
}

/// git on a repository, without its hooks and with paths taken literally.
pub(super) fn command(repository: &Path) -> Command {
    let mut git = forge::git(repository);
    forge::trust(&mut git, repository, &[("core.hooksPath", "/dev/null")]);
    git.env("GIT_LITERAL_PATHSPECS", "1").env("GIT_OPTIONAL_LOCKS", "0").env("GIT_NO_LAZY_FETCH", "1");
    git.arg("--git-dir").arg(repository);
    git
}

/// A git that runs; it is ended when this is dropped.
#[derive(Debug)]
pub(super) struct Git {
    group: Group,
    pub(super) stdin: Option<ChildStdin>,
    pub(super) stdout: Option<ChildStdout>,
    stderr: AbortOnDropHandle<String>,
}

impl Git {
    /// Starts git, with bounds to its memory: a few crafted trees may name more paths than any memory holds.
    pub(super) fn start(git: &Command, stdin: Stdio) -> io::Result<Self> {
        let mut command = process::bounded(git);
        command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
        let (group, Pipes { stdin, stdout, stderr }) = Group::spawn(&mut command)?;
        let stderr = AbortOnDropHandle::new(tokio::spawn(listen(stderr)));
        Ok(Self { group, stdin, stdout, stderr })
    }

    /// Waits for git's end; an error where git failed.
    pub(super) async fn finish(mut self) -> Result<(), DiffError> {
        drop((self.stdin.take(), self.stdout.take()));
        let status = soon(self.group.wait()).await?;
        if status.success() { Ok(()) } else { Err(DiffError::Failed(self.said(status).await)) }
    }

    async fn said(self, status: std::process::ExitStatus) -> String {
        let said = self.stderr.await.unwrap_or_default();
        if said.is_empty() { format!("it ended with {status}") } else { said }
    }
}

/// Runs git to its end; returns its output, of at most `max` bytes.
pub(super) async fn run(git: &Command, max: u64) -> Result<Vec<u8>, DiffError> {
    let mut git = Git::start(git, Stdio::null())?;
    let mut out = vec![];
    if let Some(stdout) = git.stdout.take() {
        soon(stdout.take(max).read_to_end(&mut out)).await?;
    }
    git.finish().await?;
    Ok(out)
}

/// Reads git's error output to its end, and returns the first of it.
async fn listen(stderr: Option<ChildStderr>) -> String {
    let Some(mut stderr) = stderr else { return String::new() };
    let said = first_of(&mut stderr, STDERR_MAX).await;
    text::clean(String::from_utf8_lossy(&said).trim(), STDERR_MAX)
}

async fn first_of(pipe: &mut (impl AsyncRead + Unpin), max: usize) -> Vec<u8> {
    let mut said = vec![];
    let mut buffer = [0; 1024];
    while let Ok(length @ 1..) = pipe.read(&mut buffer).await {
        let room = max - said.len();
        said.extend_from_slice(&buffer[..length.min(room)]);
    }
    said
}
