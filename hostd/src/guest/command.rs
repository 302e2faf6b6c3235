//! Commands run in a guest without input, followed to their end.

use bytes::Bytes;
use pilothouse_proto::guest::v1::{
    ExecRequest, ExecStart, Exit, exec_request, exec_response, guest_client::GuestClient,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, transport::Channel};

/// A piece of a command's output.
pub(crate) enum Output {
    /// Bytes of the command's standard output.
    Out(Bytes),
    /// Bytes of the command's standard error.
    Err(Bytes),
}

/// Most bytes of input in one message.
const PIECE: usize = 64 << 10;

/// Runs a command without input to its end. Where this is dropped before, the guest ends the command.
pub(crate) async fn follow(
    client: GuestClient<Channel>,
    command: ExecStart,
    output: impl FnMut(Output),
) -> Result<Exit, Status> {
    follow_with(client, command, Bytes::new(), output).await
}

/// Runs a command as [`follow`], which finds these bytes on its standard input.
pub(crate) async fn follow_with(
    mut client: GuestClient<Channel>,
    command: ExecStart,
    input: Bytes,
    mut output: impl FnMut(Output),
) -> Result<Exit, Status> {
    // The sender lives as long as the command: the end of the requests would say that nobody wants it any more.
    let (requests, receiver) = mpsc::channel(2);
    let pieces = input.chunks(PIECE).map(|piece| exec_request::Request::Stdin(input.slice_ref(piece)));
    let all = [exec_request::Request::Start(command)].into_iter().chain(pieces);
    let all: Vec<_> = all.chain([exec_request::Request::StdinEnd(true)]).collect();
    let feed = async {
        for request in all {
            if requests.send(ExecRequest { request: Some(request) }).await.is_err() {
                break;
            }
        }
        // The end of the requests, too, would say that nobody wants it any more.
        std::future::pending::<Result<Exit, Status>>().await
    };
    let work = async {
        let mut responses = client.exec(ReceiverStream::new(receiver)).await?.into_inner();
        while let Some(response) = responses.message().await? {
            match response.response {
                Some(exec_response::Response::Stdout(bytes)) => output(Output::Out(bytes)),
                Some(exec_response::Response::Stderr(bytes)) => output(Output::Err(bytes)),
                Some(exec_response::Response::Exit(exit)) => return Ok(exit),
                None => {}
            }
        }
        Err(Status::unavailable("the command's output ended without an exit code"))
    };
    tokio::select! {
        done = work => done,
        never = feed => never,
    }
}

/// How a command ended, in words that follow its name; None: it ended well.
pub(crate) fn bad_end(exit: &Exit) -> Option<String> {
    match exit {
        Exit { code: 0, signal: 0 } => None,
        Exit { signal: 0, code } => Some(format!("ended with exit code {code}")),
        Exit { signal, .. } => Some(format!("was ended by signal {signal}")),
    }
}
