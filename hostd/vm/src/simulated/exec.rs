//! What simulated commands do: the few that tests and demos need, and a line for every other.

use std::{pin::Pin, time::Duration};

use bytes::Bytes;
use futures::Stream;
use pilothouse_proto::guest::v1::{ExecRequest, ExecResponse, Exit, exec_request::Request, exec_response::Response};
use tokio::{sync::mpsc, time::sleep};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

/// Most answers that may be under way.
const QUEUE: usize = 2;

type Answers = mpsc::Sender<Result<ExecResponse, Status>>;

pub(super) async fn run(
    mut requests: Streaming<ExecRequest>,
) -> Result<Pin<Box<dyn Stream<Item = Result<ExecResponse, Status>> + Send>>, Status> {
    let Some(Request::Start(start)) = requests.message().await?.and_then(|message| message.request) else {
        return Err(Status::invalid_argument("an exec begins with `start`"));
    };
    let (answers, receiver) = mpsc::channel(QUEUE);
    tokio::spawn(async move {
        let code = tokio::select! {
            code = play(&start.command, requests, &answers) => code,
            () = answers.closed() => return,
        };
        send(&answers, Response::Exit(Exit { code, signal: 0 })).await;
    });
    Ok(Box::pin(ReceiverStream::new(receiver)))
}

/// Plays a command; returns its exit code.
async fn play(command: &[String], mut requests: Streaming<ExecRequest>, answers: &Answers) -> i32 {
    let words: Vec<&str> = command.iter().map(String::as_str).collect();
    let words: Vec<&str> = match words[..] {
        ["sh" | "bash", "-c", script] => script.split_whitespace().collect(),
        _ => words,
    };
    match words[..] {
        ["true"] => 0,
        ["false"] => 1,
        ["exit", code] => code.parse().unwrap_or(2),
        ["echo", ref rest @ ..] => {
            send(answers, Response::Stdout((rest.join(" ") + "\n").into())).await;
            0
        }
        ["cat"] => {
            while let Ok(Some(ExecRequest { request: Some(Request::Stdin(bytes)) })) = requests.message().await {
                send(answers, Response::Stdout(bytes)).await;
            }
            0
        }
        ["sleep", seconds] => {
            sleep(Duration::from_secs(seconds.parse().unwrap_or(0))).await;
            0
        }
        _ => {
            let line = format!("a simulated guest runs nothing: {}\n", words.join(" "));
            send(answers, Response::Stderr(Bytes::from(line))).await;
            0
        }
    }
}

async fn send(answers: &Answers, response: Response) {
    // Whoever asked may have gone.
    let _ = answers.send(Ok(ExecResponse { response: Some(response) })).await;
}
