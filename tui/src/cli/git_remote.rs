//! What git runs for a remote like `pilothouse::HOST/NAME`: it asks for a connection, and its protocol passes to the host and
//! back. See gitremote-helpers(7): of its commands only `capabilities` and `connect` are needed.

use std::io;

use pilothouse_proto::hostd::v1::{GitRequest, GitResponse, GitStart, git_request::Request, git_response::Response};
use rustix::io::Errno;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use super::{
    failure::{Failure, Outcome},
    fleet::{Fleet, Host},
    format::plain_lines,
    output, repo,
    terminal::{self, Out, read_stdin},
};
use crate::client::Hosts;

/// Most pieces of stdin that may be under way, of at most 64 KiB each.
const UNDER_WAY: usize = 4;
/// Longest line that git sends, in bytes.
const LINE_MAX: usize = 4096;

/// Serves git on stdin and stdout until it hangs up.
pub(crate) async fn run(address: &str) -> Outcome {
    let (host, name) = parts(address);
    let default = std::env::var_os("PILOTHOUSE_HOST").map(|host| host.to_string_lossy().into_owned());
    let hosts: Vec<String> = host.map(str::to_owned).into_iter().collect();
    let fleet = Fleet::new(Hosts::load()?.choose(&hosts, default.as_deref())?);
    while let Some(line) = line()? {
        match line.split_once(' ') {
            None if line == "capabilities" => output::print("connect\n\n")?,
            Some(("connect", service @ ("git-upload-pack" | "git-receive-pack"))) => {
                let found = repo::find(&fleet, name).await?;
                return connect(found.host, &found.it.name, service).await;
            }
            Some(("connect", _)) => output::print("fallback\n")?,
            None if line.is_empty() => return Ok(0),
            _ => return Err(Failure::failed(format!("git asks for `{line}`, which this remote has not"))),
        }
    }
    Ok(0)
}

/// Splits an address into the host, if one is named, and the repository's name, which has no slash.
fn parts(address: &str) -> (Option<&str>, &str) {
    let address = address.strip_prefix("pilothouse://").unwrap_or(address);
    match address.rsplit_once('/') {
        Some((host, name)) => (Some(host), name),
        None => (None, address),
    }
}

/// Reads the next line of stdin, byte by byte: what follows belongs to the connection. None: stdin has ended.
fn line() -> Result<Option<String>, Failure> {
    let (mut line, mut byte) = (vec![], [0]);
    loop {
        match rustix::io::read(rustix::stdio::stdin(), &mut byte) {
            Ok(0) if line.is_empty() => return Ok(None),
            Ok(0) => break,
            Ok(_) if byte[0] == b'\n' => break,
            Ok(_) if line.len() < LINE_MAX => line.push(byte[0]),
            Ok(_) => return Err(Failure::failed("git's line is too long")),
            Err(Errno::INTR) => {}
            Err(error) => return Err(Failure::failed(format!("cannot read what git wants: {error}"))),
        }
    }
    Ok(Some(String::from_utf8_lossy(&line).into_owned()))
}

async fn connect(host: &Host, repository: &str, service: &str) -> Outcome {
    let (requests, receiver) = mpsc::channel(UNDER_WAY);
    let protocol = std::env::var("GIT_PROTOCOL").unwrap_or_default();
    let start = GitStart { repository: repository.into(), service: service.into(), protocol };
    // The channel is empty: there is room.
    let _ = requests.try_send(request(Request::Start(start)));
    let answers = host.repositories().git(ReceiverStream::new(receiver)).await;
    let answers = answers.map_err(|status| host.failure(&status))?.into_inner();
    // It stands: from here on stdin and stdout are git's protocol.
    output::print("\n")?;
    let end = request(Request::StdinEnd(true));
    read_stdin(requests, |bytes| request(Request::Stdin(bytes.into())), Some(end))
        .map_err(|error| Failure::failed(format!("cannot read what git sends: {error}")))?;
    pump(host, answers).await
}

/// Writes git's answers; the next piece is asked for when this one is written.
async fn pump(host: &Host, mut answers: Streaming<GitResponse>) -> Outcome {
    loop {
        match answers.message().await.map_err(|status| host.failure(&status))?.map(|answer| answer.response) {
            Some(Some(Response::Stdout(bytes))) => match terminal::write(Out::Stdout, bytes).await {
                Ok(()) => {}
                // git has what it wanted.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(0),
                Err(error) => return Err(output::broken(&error)),
            },
            Some(Some(Response::Stderr(bytes))) => {
                let text = plain_lines(&String::from_utf8_lossy(&bytes));
                output::write_stderr(&text);
            }
            Some(Some(Response::Exit(code))) => return Ok(u8::try_from(code).unwrap_or(1)),
            Some(None) => {}
            None => return Err(Failure::failed("the host ended the connection early")),
        }
    }
}

fn request(request: Request) -> GitRequest {
    GitRequest { request: Some(request) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        assert_eq!(parts("widgets"), (None, "widgets"));
        assert_eq!(parts("near/widgets"), (Some("near"), "widgets"));
        assert_eq!(parts("unix:/run/hostd.sock/widgets"), (Some("unix:/run/hostd.sock"), "widgets"));
        assert_eq!(parts("pilothouse://near/widgets"), (Some("near"), "widgets"));
    }
}
