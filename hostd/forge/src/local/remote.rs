//! git that speaks to other repositories, as the user that hostd runs as may: with that user's ssh keys, and without questions.

use std::{collections::VecDeque, path::Path, process::Stdio, time::Duration};

use hostd_core::text;
use tokio::{
    fs,
    io::{AsyncRead, AsyncReadExt as _},
    process::Command,
    sync::mpsc,
    time::timeout,
};

use super::credentials::Credentials;
use crate::{ForgeError, git as isolated, process::Group};

/// Longest time of one exchange with another repository.
const DEADLINE: Duration = Duration::from_secs(3600);
/// Longest line of progress, in bytes.
const LINE_MAX: usize = 1024;
/// Number of git's last words' lines that an error repeats.
const WORDS: usize = 8;

/// A git command whose configuration is a file in `folder`; it asks for `credentials` where the other side wants some.
pub(super) async fn git(folder: &Path, credentials: &Credentials) -> Result<Command, ForgeError> {
    // The other repository may belong to another user, and git asks its global configuration alone whether that is all right.
    let config = folder.join("gitconfig");
    let failed = |error| ForgeError::File { path: config.clone(), error };
    let settings = "[safe]\n\tdirectory = *\n[core]\n\thooksPath = /dev/null\n\tlogAllRefUpdates = always\n\
                    [gc]\n\tautoDetach = false\n[maintenance]\n\tautoDetach = false\n";
    fs::write(&config, settings.to_owned() + &credentials.settings()).await.map_err(failed)?;
    let mut command = isolated(folder);
    command
        .env("GIT_CONFIG_GLOBAL", &config)
        .env("GIT_ALLOW_PROTOCOL", "file:git:http:https:ssh")
        .env("GIT_SSH_COMMAND", "ssh -o BatchMode=yes");
    credentials.name_to(&mut command);
    Ok(command)
}

/// Runs a git command; lines of progress go to `progress`, and are lost where nobody takes them. The inner error is git's last
/// words. Dropping it ends git.
pub(super) async fn run(
    command: &mut Command,
    progress: mpsc::Sender<String>,
) -> Result<Result<(), String>, ForgeError> {
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    let (mut group, pipes) = Group::spawn(command).map_err(ForgeError::Git)?;
    let all = async {
        let words = listen(pipes.stderr, &progress).await;
        group.wait().await.map(|status| (status, words))
    };
    let Ok(ended) = timeout(DEADLINE, all).await else {
        return Ok(Err("it took longer than an hour and was given up".into()));
    };
    let (status, words) = ended.map_err(ForgeError::Git)?;
    Ok(if status.success() { Ok(()) } else { Err(words.join("\n")) })
}

/// Passes git's lines on (progress ends them with CR), and keeps the last that are no progress.
async fn listen(pipe: Option<impl AsyncRead + Unpin>, progress: &mpsc::Sender<String>) -> Vec<String> {
    let (Some(mut pipe), mut words) = (pipe, VecDeque::new()) else { return vec![] };
    let (mut line, mut buffer) = (vec![], [0; 1024]);
    while let Ok(length @ 1..) = pipe.read(&mut buffer).await {
        for &byte in &buffer[..length] {
            if byte != b'\r' && byte != b'\n' {
                if line.len() < LINE_MAX {
                    line.push(byte);
                }
                continue;
            }
            let text = text::clean(&text::one_line(&String::from_utf8_lossy(&line)), LINE_MAX);
            line.clear();
            if text.is_empty() {
                continue;
            }
            if !text.contains('%') {
                words.push_back(text.clone());
                words.drain(..words.len().saturating_sub(WORDS));
            }
            // Who is slow misses some.
            let _ = progress.try_send(text);
        }
    }
    words.into()
}
