//! The bytes of a command that runs.

use std::{io, time::Duration};

use bytes::{Bytes, BytesMut};
use pilothouse_proto::{
    guest::v1::{ExecRequest, ExecResponse, Exit, exec_request::Request, exec_response::Response},
    link::PIECE,
};
use rustix::process::Signal;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    process::Child,
    sync::mpsc,
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};

use crate::process::{self, LEFT_MAX, Pty, SILENCE, Started, Streams, is_group, signal_group};
use crate::service::check;

/// Time that a dropped command gets to end by itself.
const TERM_WITHIN: Duration = Duration::from_secs(2);
/// Pause between two looks for the rest of a command's process group: the kernel tells nobody but their parents.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// Byte that a terminal takes for "no more input" (Ctrl-D).
const END_OF_INPUT: &[u8] = b"\x04";

type Answers = mpsc::Sender<Result<ExecResponse, Status>>;

/// Carries bytes until the command has ended or its caller is gone.
pub(super) async fn run(started: Started, requests: Streaming<ExecRequest>, answers: Answers) {
    let Started { mut child, pid, streams } = started;
    let exited = CancellationToken::new();
    let (mut inputs, mut outputs) = (JoinSet::new(), JoinSet::new());
    let (input, pieces) = mpsc::channel(1);
    let pty = match streams {
        Streams::Pipes(stdin, stdout, stderr) => {
            inputs.spawn(write(stdin, pieces, b""));
            outputs.spawn(pump(stdout, Response::Stdout, answers.clone(), exited.clone()));
            outputs.spawn(pump(stderr, Response::Stderr, answers.clone(), exited.clone()));
            None
        }
        Streams::Terminal(pty) => {
            inputs.spawn(write(pty.clone(), pieces, END_OF_INPUT));
            outputs.spawn(pump(pty.clone(), Response::Stdout, answers.clone(), exited.clone()));
            Some(pty)
        }
    };
    inputs.spawn(take(requests, input, pid, pty));
    let all = async {
        let exit = child.wait().await.map_or(Exit { code: -1, signal: 0 }, process::exit);
        exited.cancel();
        while outputs.join_next().await.is_some() {}
        exit
    };
    tokio::select! {
        exit = all => {
            let response = Some(Response::Exit(exit));
            // The caller may have gone just now.
            let _ = answers.send(Ok(ExecResponse { response })).await;
        }
        () = answers.closed() => {
            drop((inputs, outputs));
            end(child, pid).await;
        }
    }
}

/// Ends a command that nobody waits for.
async fn end(mut child: Child, pid: u32) {
    // Not when it has ended: then its pid may be another's.
    if let Ok(None) = child.try_wait() {
        signal_group(pid, Signal::TERM);
        let gone = async {
            let _ = child.wait().await;
            while is_group(pid) {
                sleep(LOOK_AGAIN).await;
            }
        };
        if timeout(TERM_WITHIN, gone).await.is_err() {
            signal_group(pid, Signal::KILL);
            let _ = child.wait().await;
        }
    }
}

/// Takes what the caller sends. The end of its direction, or `stdin_end`, is the end of stdin.
async fn take(mut requests: Streaming<ExecRequest>, input: mpsc::Sender<Bytes>, pid: u32, pty: Option<Pty>) {
    let mut input = Some(input);
    while let Ok(Some(message)) = requests.message().await {
        match message.request {
            Some(Request::Stdin(bytes)) if check::chunk(&bytes).is_ok() => {
                // A command that closed its stdin loses the rest, and is still told of signals and sizes.
                if let Some(open) = &input
                    && open.send(bytes).await.is_err()
                {
                    input = None;
                }
            }
            Some(Request::StdinEnd(true)) => input = None,
            Some(Request::Resize(size)) => {
                if let (Some(pty), Ok(window)) = (&pty, check::size(&size)) {
                    let _ = pty.resize(window);
                }
            }
            Some(Request::Signal(number)) => {
                if let Some(signal) = Signal::from_named_raw(number) {
                    signal_group(pid, signal);
                }
            }
            _ => return,
        }
    }
}

/// Writes input until there is no more, then `end`; dropping the writer closes a pipe.
async fn write(mut writer: impl AsyncWrite + Unpin, mut pieces: mpsc::Receiver<Bytes>, end: &'static [u8]) {
    while let Some(piece) = pieces.recv().await {
        if writer.write_all(&piece).await.is_err() {
            return;
        }
    }
    let _ = writer.write_all(end).await;
}

/// Sends output until it is over: see [`SILENCE`] and [`LEFT_MAX`] for what that means once the command has exited.
async fn pump(
    mut reader: impl AsyncRead + Unpin,
    wrap: fn(Bytes) -> Response,
    answers: Answers,
    exited: CancellationToken,
) {
    let mut buffer = BytesMut::new();
    let mut left = LEFT_MAX;
    while left > 0 {
        buffer.reserve(PIECE);
        let mut piece = (&mut reader).take(PIECE as u64);
        let silent = async {
            exited.cancelled().await;
            sleep(SILENCE).await;
        };
        let read: io::Result<usize> = tokio::select! {
            biased;
            read = piece.read_buf(&mut buffer) => read,
            () = silent => return,
        };
        let Ok(length @ 1..) = read else { return };
        if exited.is_cancelled() {
            left = left.saturating_sub(length);
        }
        let response = Some(wrap(buffer.split().freeze()));
        if answers.send(Ok(ExecResponse { response })).await.is_err() {
            return;
        }
    }
}
