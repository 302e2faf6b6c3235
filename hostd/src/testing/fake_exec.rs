//! Programs in guests that are fakes: run on this machine, or by a script.

use std::{
    path::PathBuf,
    pin::Pin,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use futures::{Stream, StreamExt as _, stream};
use hostd_core::Cause;
use pilothouse_proto::guest::v1::{ExecRequest, ExecResponse, ExecStart, Exit, exec_request, exec_response};
use tokio::sync::{Semaphore, watch};
use tonic::{Status, Streaming};

/// Messages of a call that streams its answer.
pub(super) type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Programs that run in guests.
pub(crate) struct Execs {
    /// Where the working tree of all guests is, `/work` in their commands.
    pub(crate) work: Mutex<PathBuf>,
    /// Told when a program begins, which goes no further while `hold` is locked.
    pub(crate) began: Semaphore,
    pub(crate) hold: tokio::sync::Mutex<()>,
    /// Whether a program's last word decides what becomes of it: fail, die, die-once, hang, flood, draw, draw-nothing, draw-on, deaf.
    /// Else it runs here.
    pub(super) scripted: AtomicBool,
    /// What was to be run, each as `USER@DIRECTORY: COMMAND`, without the user where that is root.
    pub(super) commands: Mutex<Vec<String>>,
}

impl Default for Execs {
    fn default() -> Self {
        Self {
            work: Mutex::default(),
            began: Semaphore::new(0),
            hold: tokio::sync::Mutex::default(),
            scripted: AtomicBool::default(),
            commands: Mutex::default(),
        }
    }
}

impl Execs {
    /// Runs a program, or plays its part; `ended` takes the cause where its VM dies of it.
    pub(super) async fn exec(
        &self,
        start: ExecStart,
        requests: Streaming<ExecRequest>,
        ended: &watch::Sender<Option<Cause>>,
    ) -> Result<Answers<ExecResponse>, Status> {
        self.began.add_permits(1);
        drop(self.hold.lock().await);
        let first = self.note(&start);
        if self.scripted.load(Ordering::Relaxed) {
            Ok(play(&start, requests, first, ended).await)
        } else {
            Ok(self.run(&start).await)
        }
    }

    /// Notes what is to be run; returns whether it is so for the first time.
    fn note(&self, start: &ExecStart) -> bool {
        let who = if matches!(start.user.as_str(), "" | "root") { String::new() } else { format!("{}@", start.user) };
        let line = format!("{who}{}: {}", start.directory, start.command.join(" "));
        let mut commands = self.commands.lock().unwrap();
        let first = !commands.contains(&line);
        commands.push(line);
        first
    }

    /// Runs it here, in the working tree of all guests.
    async fn run(&self, start: &ExecStart) -> Answers<ExecResponse> {
        let work = self.work.lock().unwrap().to_str().unwrap().to_owned();
        let words = start.command.iter().map(|word| if word == "/work" { &work } else { word });
        let output = tokio::process::Command::new("env").args(words).output().await.unwrap();
        let pieces = output.stdout.chunks(64 << 10).map(|piece| exec_response::Response::Stdout(piece.to_vec().into()));
        let exit = Exit { code: output.status.code().unwrap(), signal: 0 };
        answers(pieces.chain([exec_response::Response::Stderr(output.stderr.clone().into())]), exit)
    }
}

/// What the last word of the command wants.
async fn play(
    start: &ExecStart,
    requests: Streaming<ExecRequest>,
    first: bool,
    ended: &watch::Sender<Option<Cause>>,
) -> Answers<ExecResponse> {
    let command = start.command.join(" ");
    let code = match command.rsplit(' ').next() {
        Some("fail") => 3,
        Some("flood") => return flood(),
        Some(word @ ("draw" | "draw-nothing" | "draw-on")) => {
            return draw(requests, word != "draw-nothing", word != "draw-on");
        }
        Some("deaf") => return deaf(requests),
        Some(word) if word == "die" || (word == "die-once" && first) => {
            ended.send_replace(Some(Cause::GuestReset("panic".into())));
            return std::future::pending().await;
        }
        Some("hang") => return std::future::pending().await,
        _ => 0,
    };
    let printed = match &command[..] {
        r#"sh -c printf %s "$HOME""# => Some(format!("/home/{}", start.user)),
        command if command.ends_with(" --version") => Some("agent 1.2.3\n".into()),
        _ => None,
    };
    if let Some(printed) = printed {
        let said = exec_response::Response::Stdout(printed.into_bytes().into());
        return answers([said].into_iter(), Exit { code, signal: 0 });
    }
    let said = exec_response::Response::Stderr(format!("ran {command}").into_bytes().into());
    answers([said].into_iter(), Exit { code, signal: 0 })
}

/// A screen, once its terminal has said what it is; then it runs until it is told to end, and longer where it does not end.
fn draw(requests: Streaming<ExecRequest>, draws: bool, ends: bool) -> Answers<ExecResponse> {
    let out = |text: &str| Ok(ExecResponse { response: Some(exec_response::Response::Stdout(text.to_owned().into())) });
    let asks = stream::iter([out("\x1b[c")]);
    let goes_on = stream::unfold(requests, move |mut requests| async move {
        loop {
            match requests.message().await.ok()??.request? {
                exec_request::Request::Stdin(_) if draws => return Some((out(&"screen ".repeat(9)), requests)),
                exec_request::Request::Signal(_) if ends => {
                    let exit = exec_response::Response::Exit(Exit { code: 143, signal: 15 });
                    return Some((Ok(ExecResponse { response: Some(exit) }), requests));
                }
                _ => {}
            }
        }
    });
    Box::pin(asks.chain(goes_on))
}

/// Asks its terminal what it is, without end, and reads nothing.
fn deaf(requests: Streaming<ExecRequest>) -> Answers<ExecResponse> {
    Box::pin(stream::unfold(requests, |requests| async move {
        tokio::task::yield_now().await;
        let asks = exec_response::Response::Stdout("\x1b[c".repeat(1000).into());
        Some((Ok(ExecResponse { response: Some(asks) }), requests))
    }))
}

/// 64 MiB and a last line.
fn flood() -> Answers<ExecResponse> {
    let piece = bytes::Bytes::from(vec![b'x'; 32 << 10]);
    let pieces = std::iter::repeat_n(piece, 2048).chain([b"\nthe end\n".as_slice().into()]);
    let pieces = pieces.map(exec_response::Response::Stdout);
    let exit = exec_response::Response::Exit(Exit { code: 0, signal: 0 });
    Box::pin(stream::iter(pieces.chain([exit]).map(|response| Ok(ExecResponse { response: Some(response) }))))
}

fn answers(pieces: impl Iterator<Item = exec_response::Response>, exit: Exit) -> Answers<ExecResponse> {
    let all = pieces.chain([exec_response::Response::Exit(exit)]);
    let all: Vec<_> = all.map(|part| Ok(ExecResponse { response: Some(part) })).collect();
    Box::pin(stream::iter(all))
}
