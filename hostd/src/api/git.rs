//! A person's git, served over the API: the bytes of its protocol both ways.

use std::{os::unix::process::ExitStatusExt as _, process::Stdio};

use bytes::BytesMut;
use hostd_core::pulls::Who;
use pilothouse_proto::hostd::v1::{GitRequest, GitResponse, GitStart, git_request, git_response::Response as Part};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    process::{ChildStdin, Command},
    sync::mpsc,
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::task::AbortOnDropHandle;
use tonic::{Status, Streaming};

use super::{
    Api, status,
    streams::{Answers, first, until_closing},
};
use crate::{
    forge::{ForgeError, Service},
    process::{Group, Pipes, bounded},
};

/// Pieces of output that may wait for the caller.
const PIECES: usize = 8;
/// Largest piece of output, in bytes.
const PIECE: usize = 64 << 10;

type Answer = Result<GitResponse, Status>;

/// Serves a person's git. A caller that goes away takes git with it.
pub(super) async fn serve(
    api: &Api,
    who: Who,
    mut requests: Streaming<GitRequest>,
) -> Result<Answers<GitResponse>, Status> {
    let Some(git_request::Request::Start(start)) = first(&mut requests).await?.request else {
        return Err(status::invalid("the first message of Git must be `start`"));
    };
    let GitStart { repository, service, protocol } = start;
    let service = match service.as_str() {
        "git-upload-pack" => Service::Fetch,
        "git-receive-pack" => Service::Push,
        _ => return Err(status::invalid("the service is neither git-upload-pack nor git-receive-pack")),
    };
    let command = api.keeper.serve(&repository, service, &who, &protocol).await.map_err(status::forge)?;
    let (group, pipes) = start_git(&command).map_err(|error| status::forge(ForgeError::Git(error)))?;
    let (answers, receiver) = mpsc::channel(PIECES);
    let keeper = api.keeper.clone();
    // Not ended with the stream: what was pushed is read however that ended.
    tokio::spawn(async move {
        let code = run(group, pipes, requests, &answers).await;
        if service == Service::Push {
            keeper.pushed(&repository).await;
        }
        // Told last: whoever hears it finds what was pushed. Nobody may be listening.
        if let Some(code) = code {
            let _ = answers.send(Ok(GitResponse { response: Some(Part::Exit(code)) })).await;
        }
    });
    Ok(until_closing(ReceiverStream::new(receiver), &api.closing))
}

fn start_git(command: &Command) -> std::io::Result<(Group, Pipes)> {
    let mut command = bounded(command);
    Group::spawn(command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()))
}

/// Runs git to its end; returns its exit code. None: nobody hears of it any more.
async fn run(
    mut group: Group,
    pipes: Pipes,
    requests: Streaming<GitRequest>,
    answers: &mpsc::Sender<Answer>,
) -> Option<i32> {
    let Pipes { stdin, stdout, stderr } = pipes;
    let feed = AbortOnDropHandle::new(tokio::spawn(feed(stdin, requests)));
    let both = async { tokio::join!(pass(stdout, answers, Part::Stdout), pass(stderr, answers, Part::Stderr)) };
    tokio::select! {
        _ = both => {}
        () = answers.closed() => {
            drop(feed);
            group.finish().await;
            return None;
        }
    }
    Some(match group.wait().await {
        Ok(status) => status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0)),
        Err(error) => {
            tracing::warn!(%error, "git for a person");
            1
        }
    })
}

/// Copies what the caller sends into git, no faster than it reads.
async fn feed(stdin: Option<ChildStdin>, mut requests: Streaming<GitRequest>) {
    let Some(mut stdin) = stdin else { return };
    while let Ok(Some(GitRequest { request: Some(request) })) = requests.message().await {
        match request {
            git_request::Request::Stdin(bytes) => {
                if stdin.write_all(&bytes).await.is_err() {
                    return;
                }
            }
            _ => return,
        }
    }
}

/// Passes on what git says, no faster than the caller takes it.
async fn pass(
    pipe: Option<impl AsyncRead + Unpin>,
    answers: &mpsc::Sender<Answer>,
    part: impl Fn(bytes::Bytes) -> Part,
) {
    let Some(mut pipe) = pipe else { return };
    loop {
        let mut bytes = BytesMut::with_capacity(PIECE);
        if !matches!(pipe.read_buf(&mut bytes).await, Ok(1..)) {
            return;
        }
        if answers.send(Ok(GitResponse { response: Some(part(bytes.freeze())) })).await.is_err() {
            return;
        }
    }
}
