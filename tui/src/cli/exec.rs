//! `exec`: runs a command in a session's VM as if it ran here.

use std::{
    collections::HashMap,
    io::{self, IsTerminal},
    time::Duration,
};

use pilothouse_proto::hostd::v1::{
    ExecRequest, ExecResponse, ExecStart, exec_request::Request, exec_response::Response,
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
    task::JoinHandle,
    time::timeout,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::{
    args::Exec,
    failure::{Failure, Outcome},
    fleet::Fleet,
    output,
    terminal::{self, Out, RawMode, Signals, exit_code_of, read_stdin},
    waiting,
};

/// Most parts of stdin that may be under way, of at most 64 KiB each.
const UNDER_WAY: usize = 4;
/// Longest wait of a signal behind input that the command does not read; then this program hangs up, which ends the command
/// too.
const SIGNAL_PATIENCE: Duration = Duration::from_secs(2);

/// Runs `exec`; its exit code is the command's.
pub(crate) async fn run(fleet: &Fleet, options: Exec) -> Outcome {
    let (tty, no_stdin) = (options.tty, options.no_stdin);
    if tty && !(io::stdin().is_terminal() && io::stdout().is_terminal()) {
        return Err(Failure::usage("-t needs a terminal on stdin and stdout").hint("leave -t out"));
    }
    let local = |error: io::Error| Failure::failed(format!("cannot run a command from here: {error}"));
    let found = fleet.session(&options.id).await?;
    let mut signals = Signals::catch().map_err(local)?;
    let (requests, receiver) = mpsc::channel(UNDER_WAY);
    // The channel is empty: there is room.
    let _ = requests.try_send(request(Request::Start(start(found.it.id, options))));
    let mut sessions = found.host.sessions();
    let asked = waiting::shown("waiting for the session", sessions.exec(ReceiverStream::new(receiver)));
    let responses = tokio::select! {
        answer = asked => answer,
        signal = signals.next() => return Ok(exit_code_of(signal)),
    };
    let responses = responses.map_err(|status| found.host.failure(&status))?.into_inner();
    let _raw = tty.then(|| RawMode::enter(Vec::new())).transpose().map_err(local)?;
    let resizes = tty.then(|| signal(SignalKind::window_change())).transpose().map_err(local)?;
    let end = request(Request::StdinEnd(true));
    if no_stdin {
        // There is room: nothing but the start was sent.
        let _ = requests.try_send(end);
    } else {
        read_stdin(requests.clone(), |bytes| request(Request::Stdin(bytes.into())), Some(end)).map_err(local)?;
    }
    let pump = tokio::spawn(pump(responses));
    match drive(pump, requests, signals, resizes).await? {
        Ended::Code(code) => Ok(code),
        Ended::Broken(status) => Err(found.host.failure(&status)),
    }
}

/// How the command, or the call, ended.
enum Ended {
    Code(u8),
    Broken(Status),
}

fn start(id: String, options: Exec) -> ExecStart {
    let mut environment: HashMap<String, String> = options.variables.into_iter().collect();
    if options.tty
        && let Ok(term) = std::env::var("TERM")
    {
        environment.entry("TERM".into()).or_insert(term);
    }
    ExecStart {
        id,
        command: options.command,
        environment,
        directory: options.directory.unwrap_or_default(),
        terminal: options.tty.then(terminal::size),
        user: options.user,
    }
}

/// Passes signals and sizes on until the command has ended.
async fn drive(
    mut pump: JoinHandle<Result<Ended, Failure>>,
    requests: mpsc::Sender<ExecRequest>,
    mut signals: Signals,
    mut resizes: Option<tokio::signal::unix::Signal>,
) -> Result<Ended, Failure> {
    let mut signalled = false;
    loop {
        let (message, code) = tokio::select! {
            ended = &mut pump => return joined(ended),
            signal = signals.next() => {
                let hang_up = std::mem::replace(&mut signalled, true) || signal == SignalKind::hangup().as_raw_value();
                if hang_up {
                    return Ok(Ended::Code(exit_code_of(signal)));
                }
                (Request::Signal(signal), Some(exit_code_of(signal)))
            }
            () = resized(&mut resizes) => (Request::Resize(terminal::size()), None),
        };
        tokio::select! {
            ended = &mut pump => return joined(ended),
            sent = timeout(SIGNAL_PATIENCE, requests.send(request(message))) => {
                if let (Err(_), Some(code)) = (sent, code) {
                    return Ok(Ended::Code(code));
                }
            }
        }
    }
}

fn joined(ended: Result<Result<Ended, Failure>, tokio::task::JoinError>) -> Result<Ended, Failure> {
    ended.unwrap_or_else(|error| Err(Failure::failed(format!("broke: {error}"))))
}

async fn resized(resizes: &mut Option<tokio::signal::unix::Signal>) {
    match resizes {
        Some(resizes) => {
            resizes.recv().await;
        }
        None => std::future::pending().await,
    }
}

/// Writes what comes. The next part is asked for when this one is written: a slow reader here slows the command.
async fn pump(mut responses: Streaming<ExecResponse>) -> Result<Ended, Failure> {
    loop {
        let response = match responses.message().await {
            Ok(Some(message)) => message.response,
            Ok(None) => return Err(Failure::failed("the host ended the command without an exit code")),
            Err(status) => return Ok(Ended::Broken(status)),
        };
        match response {
            Some(Response::Stdout(bytes)) => match terminal::write(Out::Stdout, bytes).await {
                Ok(()) => {}
                // Who read our output went away. The command would have been ended by that too.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                    return Ok(Ended::Code(exit_code_of(SignalKind::pipe().as_raw_value())));
                }
                Err(error) => return Err(output::broken(&error)),
            },
            // A stderr that nobody reads keeps no command from going on.
            Some(Response::Stderr(bytes)) => drop(terminal::write(Out::Stderr, bytes).await),
            Some(Response::Exit(exit)) => {
                if let Some(word) = a_word(exit.code) {
                    output::note(word);
                }
                return Ok(Ended::Code(u8::try_from(exit.code).unwrap_or(1)));
            }
            None => {}
        }
    }
}

/// A word about an exit code that says nothing by itself, and that the command cannot explain any more.
fn a_word(code: i32) -> Option<&'static str> {
    match code {
        137 => Some(
            "the command was killed by signal 9, by somebody or for want of memory in the guest; `pilothouse show` says how \
             much it has, and whether its kernel killed a process",
        ),
        139 => Some("the command was killed by signal 11: it crashed"),
        134 => Some("the command was killed by signal 6: it gave up by itself"),
        _ => None,
    }
}

fn request(request: Request) -> ExecRequest {
    ExecRequest { request: Some(request) }
}
