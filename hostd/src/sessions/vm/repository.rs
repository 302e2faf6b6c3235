//! Whether the repository in a session's guest is whole, when it boots from a disk that it had worked on: its VM may have ended at
//! any moment before. It is looked at before the agent is there, so that nobody changes it, and locks are of nobody any more.

use std::{fmt, time::Duration};

use hostd_core::{Session, text};
use pilothouse_proto::guest::v1::{ExecStart, Exit};
use tokio::time::{error::Elapsed, timeout};
use tonic::Status;

use crate::guest::{Hello, Output, bad_end, follow};

/// What is run in the guest.
const SCRIPT: &str = include_str!("repository.sh");
/// Commits that are read: all of a large repository would take minutes.
const COMMITS: &str = "50";
/// For all of it, while the agent is not there: a large one is not looked at, and the agent begins.
const WITHIN: Duration = Duration::from_secs(30);
/// Of what it prints.
const OUTPUT_MAX: usize = 4096;
/// Of what is broken.
const BROKEN_MAX: usize = 4;

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// There is nothing that could be broken.
    Nothing,
    /// Nobody knows: why it was not looked at.
    NotLooked(String),
    /// It is whole; the id of its HEAD, or `none`.
    Whole(String),
    /// It is not: what, and what to do.
    Broken(String),
}

impl Found {
    /// What is broken, with what to do.
    pub(super) fn broken(self) -> Option<String> {
        if let Self::Broken(why) = self { Some(why) } else { None }
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => Ok(()),
            Self::NotLooked(why) => write!(f, "not looked at after its last restart: {why}"),
            Self::Whole(head) => write!(f, "whole after its last restart, HEAD {head}"),
            Self::Broken(why) => write!(f, "broken: {why}"),
        }
    }
}

/// Looks at the repository of a session whose guest has booted again. Nothing else runs in it.
pub(super) async fn look(hello: &Hello, session: &Session) -> Found {
    if session.generation < 2 || session.repository.is_none() {
        return Found::Nothing;
    }
    let folder = session.directory.as_str();
    let command = ["sh", "-c", SCRIPT, "sh", folder, COMMITS].map(Into::into).into();
    let start = ExecStart { command, directory: "/".into(), ..ExecStart::default() };
    let mut printed = Vec::new();
    let run = follow(hello.client.clone(), start, |output| {
        if let Output::Out(bytes) = output {
            let room = OUTPUT_MAX - printed.len();
            printed.extend_from_slice(&bytes[..bytes.len().min(room)]);
        }
    });
    let ended = timeout(WITHIN, run).await;
    found(ended, &printed, folder)
}

/// What a look found that ended like this and printed this.
fn found(ended: Result<Result<Exit, Status>, Elapsed>, printed: &[u8], folder: &str) -> Found {
    let why = match ended {
        Ok(Ok(exit)) => match bad_end(&exit) {
            None => return read(&text::clean(&String::from_utf8_lossy(printed), OUTPUT_MAX), folder),
            Some(end) => format!("the look {end}"),
        },
        Ok(Err(error)) => error.message().to_owned(),
        Err(_) => format!("that took over {} s", WITHIN.as_secs()),
    };
    let why = text::clean(&text::one_line(&why), OUTPUT_MAX);
    Found::NotLooked(format!("{why}; look at it with `git fsck` in {folder}"))
}

fn read(printed: &str, folder: &str) -> Found {
    let words = |word| printed.lines().filter_map(move |line| line.strip_prefix(word));
    let broken: Vec<_> = words("broken ").take(BROKEN_MAX).collect();
    if broken.is_empty() {
        return words("whole ").next().map_or(Found::Nothing, |id| Found::Whole(id.into()));
    }
    let id = |id: &&str| (40..=64).contains(&id.len()) && id.bytes().all(|c| c.is_ascii_hexdigit());
    let help = match (words("good ").find(id), words("ref ").next().filter(|name| is_ref(name))) {
        (None, _) => format!("look at it with `git fsck` in {folder}, or clone it again from its remote"),
        (Some(good), name) => {
            let name = name.unwrap_or("HEAD");
            format!(
                "its last whole commit is {good}; to go back to it, keeping its files, run in {folder}: find \"$(git rev-parse \
                 --git-path objects)\" -type f -size 0 -delete; rm -f \"$(git rev-parse --git-path index)\"; echo {good} \
                 >\"$(git rev-parse --git-path {name})\"; git reset; git reflog expire --expire=never --expire-unreachable=never --stale-fix --all"
            )
        }
    };
    Found::Broken(format!("{}; {help}", broken.join(", ")))
}

/// Nothing that a shell would take for something else.
fn is_ref(name: &str) -> bool {
    name.starts_with("refs/") && name.bytes().all(|c| c.is_ascii_alphanumeric() || b"/._-".contains(&c))
}

#[cfg(test)]
#[path = "repository_tests.rs"]
mod tests;
