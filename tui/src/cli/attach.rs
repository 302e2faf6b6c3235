//! `attach`: the session's live terminal on the user's.

mod chord;
mod display;
mod relay;
mod viewer;

use std::{
    collections::VecDeque,
    convert::Infallible,
    io::{self, IsTerminal},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use pilothouse_proto::hostd::v1::{AttachOpen, AttachRequest, attach_request::Request};
use pilothouse_terminal::query::Reports;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
    task::JoinHandle,
    time::timeout,
};
use tokio_stream::wrappers::ReceiverStream;

use super::{
    args::Attach,
    failure::{Failure, Outcome},
    fleet::{Fleet, Host},
    format::plain,
    output,
    terminal::{self, RawMode, Signals, exit_code_of, read_stdin},
    wait::until_running,
    waiting,
};
use crate::client::Hosts;
use chord::{Chords, Typed};
use relay::Relay;
use viewer::{Left, Said, Shown, Viewer};

/// Most rows of the session's history that go into the user's scrollback.
const HISTORY: u32 = 1000;
/// Most requests that may be under way to the host.
const UNDER_WAY: usize = 16;
/// Most input that is kept for a host that does not take it, in bytes; what is typed beyond it is lost, but Ctrl-] d still
/// works.
const WAITING_MAX: usize = 64 << 10;
/// Longest time that the last writing may take when the user leaves, to the host and to the terminal.
const FAREWELL: Duration = Duration::from_millis(500);
/// Help for the keys of `attach` itself, in a line.
const HELP: &str = "After Ctrl-]: d detach, w type here, c copy what it offers, Ctrl-] itself, ? this help";

/// Attaches until the user leaves, the session ends, or the host goes and does not come back.
pub(crate) async fn run(fleet: &Fleet, options: Attach) -> Outcome {
    if !(io::stdin().is_terminal() && io::stdout().is_terminal()) {
        return Err(Failure::usage("attach needs a terminal on stdin and stdout")
            .hint("`pilothouse log` prints what the agent's terminal showed, `pilothouse send` types to it"));
    }
    let local = |error: io::Error| Failure::failed(format!("cannot use this terminal: {error}"));
    let found = fleet.session(&options.id).await?;
    let slug = plain(&found.it.slug);
    let mut signals = Signals::catch().map_err(local)?;
    let resizes = signal(SignalKind::window_change()).map_err(local)?;
    let (towards, receiver) = mpsc::channel(UNDER_WAY);
    let (id, observe, size) = (found.it.id.clone(), options.observe, Some(terminal::size()));
    let open = AttachOpen { id, observe, size, scrollback: HISTORY, preview: false, answers: true };
    // The channel is empty: there is room.
    let _ = towards.try_send(request(Request::Open(open.clone())));
    let mut sessions = found.host.sessions();
    let coming = waiting::before_it_runs(&found.it).filter(|_| !options.observe);
    let what = coming.clone().unwrap_or_else(|| format!("attaching to {slug}"));
    let responses = tokio::select! {
        answer = waiting::shown(&what, sessions.attach(ReceiverStream::new(receiver))) => answer,
        signal = signals.next() => {
            output::clear_line();
            return Ok(exit_code_of(signal));
        }
    };
    let responses = responses.map_err(|status| found.host.failure(&status))?.into_inner();

    let raw = RawMode::enter(display::leave(None).into_bytes()).map_err(local)?;
    let (said, commands) = mpsc::channel(UNDER_WAY);
    let (requests, asked) = mpsc::channel(UNDER_WAY);
    let (answers, answered) = mpsc::channel(1);
    let relay = Relay { host: found.host, open, requests: asked, answers, said: said.clone() };
    let brackets = Arc::new(AtomicBool::new(false));
    let copy = Hosts::load().map(|hosts| hosts.copy()).unwrap_or_default();
    let viewer = Viewer::new(terminal::size(), options.observe, copy, requests.clone(), brackets.clone());
    let viewer = tokio::spawn(viewer.run(answered, commands));
    let waiting = VecDeque::new();
    let reports = Reports::default();
    let coming = say_what_comes(found.host, &found.it.id, coming, said.clone());
    let keys = Keys { requests, said, resizes, observe: options.observe, waiting, kept: 0, brackets, reports };
    let shown = tokio::select! {
        shown = keys.run(viewer, signals) => shown,
        never = coming => match never {},
        never = relay.run((towards, responses)) => match never {},
    };
    raw.leave_with(display::leave(shown.last_row).into_bytes());
    drop(raw);
    match shown.left? {
        Left::Detached => output::note(&format!("[detached from {slug}; it works on]")),
        Left::Ended(reason) => output::note(&format!("[{slug} has ended: {}]", plain(&reason))),
        Left::Signal(signal) => return Ok(exit_code_of(signal)),
        Left::Broken(status) => return Err(found.host.failure(&status)),
    }
    Ok(0)
}

/// Says that the session is not there yet, while that is so: its last screen looks as if it were.
async fn say_what_comes(host: &Host, id: &str, coming: Option<String>, said: mpsc::Sender<Said>) -> Infallible {
    if let Some(what) = coming {
        // Where the viewer is stuck in writing, a lost line does not matter.
        waiting::told(&what, until_running(host, id), |line| drop(said.try_send(Said::Waits(line.into())))).await;
        let _ = said.send(Said::Runs).await;
    }
    std::future::pending().await
}

/// What the user types, on its way to the host.
struct Keys {
    requests: mpsc::Sender<AttachRequest>,
    said: mpsc::Sender<Said>,
    resizes: tokio::signal::unix::Signal,
    observe: bool,
    waiting: VecDeque<Request>,
    /// Bytes of input in `waiting`.
    kept: usize,
    /// Whether the program wants pastes in brackets.
    brackets: Arc<AtomicBool>,
    reports: Reports,
}

impl Keys {
    /// Passes keys on until one side is done; the viewer has written its last then.
    async fn run(mut self, mut viewer: JoinHandle<Shown>, signals: Signals) -> Shown {
        let left = tokio::select! {
            shown = &mut viewer => return shown.unwrap_or_else(|error| nothing(broke(&error))),
            left = self.pass_on(signals) => left,
        };
        if let Ok(Left::Detached) = left
            && timeout(FAREWELL, self.flush()).await.is_ok()
            // The host ends the call when the agent has got all of it.
            && let Ok(shown) = timeout(FAREWELL, &mut viewer).await
        {
            return shown.map_or_else(|error| nothing(broke(&error)), |shown| Shown { left, ..shown });
        }
        self.tell(Said::Leave);
        match timeout(FAREWELL, &mut viewer).await {
            Ok(Ok(shown)) => Shown { left, ..shown },
            // Stuck in writing to a terminal that does not take it.
            Ok(Err(_)) | Err(_) => {
                viewer.abort();
                nothing(left)
            }
        }
    }

    /// Passes on all that was typed, and says that it was all.
    async fn flush(&mut self) {
        self.waiting.push_back(Request::Leave(true));
        while let Some(next) = self.waiting.pop_front() {
            if self.requests.send(request(next)).await.is_err() {
                return;
            }
        }
    }

    async fn pass_on(&mut self, mut signals: Signals) -> Result<Left, Failure> {
        let (sender, mut typed) = mpsc::channel(UNDER_WAY);
        if let Err(error) = read_stdin(sender, |bytes| bytes, None) {
            return broke(&error);
        }
        let mut chords = Chords::default();
        let requests = self.requests.clone();
        loop {
            tokio::select! {
                signal = signals.next() => return Ok(Left::Signal(signal)),
                _ = self.resizes.recv() => {
                    self.tell(Said::Resized(terminal::size()));
                    self.waiting.push_back(Request::Resize(terminal::size()));
                }
                // Stdin ends when the terminal does.
                bytes = typed.recv() => match bytes {
                    None => return Ok(Left::Detached),
                    Some(bytes) => for typed in chords.feed(&bytes, self.brackets.load(Ordering::Relaxed)) {
                        if !self.typed(typed) {
                            return Ok(Left::Detached);
                        }
                    }
                },
                permit = requests.reserve(), if !self.waiting.is_empty() => {
                    let next = self.waiting.pop_front();
                    self.kept -= next.as_ref().map_or(0, input_length);
                    if let (Ok(permit), Some(next)) = (permit, next) {
                        permit.send(request(next));
                    }
                }
            }
        }
    }

    /// Acts on what was typed; returns whether the user stays.
    fn typed(&mut self, typed: Typed) -> bool {
        match typed {
            Typed::Detach => return false,
            Typed::Help => self.tell(Said::Notice(HELP.into())),
            Typed::Take if self.observe => self.tell(Said::Typed),
            Typed::Take => self.waiting.push_back(Request::Take(true)),
            Typed::Copy => self.tell(Said::Copy),
            Typed::Input(bytes) => {
                // What the terminal says by itself is no typing.
                if self.reports.has_keys(&bytes) {
                    self.tell(Said::Typed);
                }
                if !self.observe && self.kept + bytes.len() <= WAITING_MAX {
                    self.kept += bytes.len();
                    self.waiting.push_back(Request::Input(bytes.into()));
                }
            }
        }
        true
    }

    /// Tells the viewer; where it is stuck in writing, a lost notice does not matter.
    fn tell(&self, said: Said) {
        let _ = self.said.try_send(said);
    }
}

fn nothing(left: Result<Left, Failure>) -> Shown {
    Shown { left, last_row: None }
}

fn broke(error: &dyn std::error::Error) -> Result<Left, Failure> {
    Err(Failure::failed(format!("attach broke: {error}")))
}

fn input_length(request: &Request) -> usize {
    match request {
        Request::Input(bytes) => bytes.len(),
        _ => 0,
    }
}

fn request(request: Request) -> AttachRequest {
    AttachRequest { request: Some(request) }
}
