//! The task that shows what the host sends, and our own lines between.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use pilothouse_proto::hostd::v1::{
    AttachRequest, AttachResponse, Role, Size, attach_request::Request, attach_response::Response,
};
use pilothouse_terminal::{Copy, Event};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};
use tonic::Status;
use tui_core::copy::Policy;

use super::display::{self, Display};
use crate::cli::{
    failure::Failure,
    format::plain,
    output,
    terminal::{self, Out},
};

/// Time for which a notice stays; [`NOTICE_BUSY`] where it holds output up.
const NOTICE: Duration = Duration::from_secs(4);
const NOTICE_BUSY: Duration = Duration::from_millis(1200);
/// The first notice: how to get out.
const WELCOME: &str = "Ctrl-] d detaches, Ctrl-] ? shows more";

/// What the host answers, or why it does not any more.
pub(crate) type Responses = mpsc::Receiver<Result<AttachResponse, Status>>;

/// Why the attachment is over.
pub(crate) enum Left {
    /// The user wanted it, or closed the terminal.
    Detached,
    /// The agent or its VM has ended; how, in words for a person.
    Ended(String),
    /// A signal of this number asked this program to end.
    Signal(i32),
    /// The call to the host broke.
    Broken(Status),
}

/// What the side of the keys tells the viewer.
#[derive(Debug)]
pub(crate) enum Said {
    /// Show this notice for a while.
    Notice(String),
    /// A key for the agent was typed: takes a notice away, or tells a watcher that it does not reach anyone.
    Typed,
    /// Copy what the agent offers.
    Copy,
    /// The session is not there yet, in words.
    Waits(String),
    /// It is there now.
    Runs,
    /// The user's terminal has this size now.
    Resized(Size),
    /// The attachment is over.
    Leave,
}

/// Shows a session's terminal on the user's.
pub(crate) struct Viewer {
    display: Display,
    observe: bool,
    /// The role that the host told last; None: it told none yet.
    role: Option<Role>,
    /// Text of the notice, when it came, and when it goes.
    notice: String,
    since: Instant,
    until: Instant,
    welcomed: bool,
    /// It was said that the session is not there yet.
    waits: bool,
    policy: Policy,
    /// What the agent wants copied, until the user wants it, too.
    offered: Option<Copy>,
    /// Requests to the host, for answers that this program gives in place of the user's terminal.
    requests: mpsc::Sender<AttachRequest>,
    /// Whether the program wants pastes in brackets; for who reads the keys.
    brackets: Arc<AtomicBool>,
}

/// How the showing ended, and the last row with anything on it.
pub(crate) struct Shown {
    pub(crate) left: Result<Left, Failure>,
    pub(crate) last_row: Option<u16>,
}

impl Viewer {
    /// Creates a viewer on a terminal of this size.
    pub(crate) fn new(
        size: Size,
        observe: bool,
        policy: Policy,
        requests: mpsc::Sender<AttachRequest>,
        brackets: Arc<AtomicBool>,
    ) -> Self {
        let now = Instant::now();
        Self {
            display: Display::new(size),
            observe,
            role: None,
            notice: String::new(),
            since: now,
            until: now,
            welcomed: false,
            waits: false,
            policy,
            offered: None,
            requests,
            brackets,
        }
    }

    /// Shows until the end, and takes the notice away.
    pub(crate) async fn run(mut self, responses: Responses, said: mpsc::Receiver<Said>) -> Shown {
        let mut left = self.show(responses, said).await;
        if let Err(failure) = show(self.display.end_notice()).await {
            left = left.and(Err(failure));
        }
        Shown { left, last_row: self.display.last_row() }
    }

    /// Shows until the end. The next part is asked for when this one is written.
    async fn show(&mut self, mut responses: Responses, mut said: mpsc::Receiver<Said>) -> Result<Left, Failure> {
        show(display::enter().into_bytes()).await?;
        loop {
            let bytes = tokio::select! {
                message = responses.recv() => match message {
                    Some(Err(status)) => return Ok(Left::Broken(status)),
                    None => return Ok(Left::Ended("the host closed it".into())),
                    Some(Ok(AttachResponse { response: Some(Response::Ended(ended)) })) => {
                        return Ok(Left::Ended(ended.reason));
                    }
                    Some(Ok(message)) => {
                        let mut bytes = self.received(message);
                        bytes.extend(self.said());
                        bytes
                    }
                },
                said = said.recv() => match said {
                    None | Some(Said::Leave) => return Ok(Left::Detached),
                    Some(said) => self.heard(said),
                },
                () = sleep_until(self.until), if self.display.has_notice() => self.display.end_notice(),
            };
            show(bytes).await?;
        }
    }

    fn received(&mut self, message: AttachResponse) -> Vec<u8> {
        match message.response {
            Some(Response::Screen(screen)) => {
                let unread = self.display.has_notice() && Instant::now() < self.until;
                let mut bytes = self.display.screen(&screen);
                if self.is_watcher() {
                    bytes.extend(self.say_role());
                } else if !std::mem::replace(&mut self.welcomed, true) {
                    bytes.extend(self.notice(WELCOME));
                } else if unread {
                    bytes.extend(self.display.show_notice(&self.notice));
                }
                bytes
            }
            Some(Response::Output(output)) => {
                self.until = self.until.min(self.since + NOTICE_BUSY);
                self.display.output(&output)
            }
            Some(Response::Role(role)) => {
                let was_watcher = self.is_watcher();
                self.role = Some(role);
                self.display.answers(!self.is_watcher());
                if self.is_watcher() || was_watcher { self.say_role() } else { Vec::new() }
            }
            Some(Response::Ended(_)) | None => Vec::new(),
        }
    }

    fn heard(&mut self, said: Said) -> Vec<u8> {
        match said {
            Said::Notice(text) => self.notice(&text),
            Said::Waits(line) => {
                self.waits = true;
                self.notice(&line)
            }
            Said::Runs => match std::mem::take(&mut self.waits) && self.display.has_notice() {
                true => self.notice("it is there"),
                false => Vec::new(),
            },
            Said::Typed if self.is_watcher() => self.say_role(),
            Said::Typed => self.display.end_notice(),
            Said::Copy => match self.offered.take() {
                Some(copy) => [copy.sequence(), self.notice("copied")].concat(),
                None => self.notice("the agent offers nothing to copy"),
            },
            Said::Resized(size) => self.display.resized(size),
            Said::Leave => Vec::new(),
        }
    }

    /// Acts on what the program has said; returns bytes for the user's terminal.
    fn said(&mut self) -> Vec<u8> {
        self.brackets.store(self.display.brackets(), Ordering::Relaxed);
        let mut out = Vec::new();
        for event in self.display.said() {
            match event {
                // Where the host takes no more, the agent does not read either.
                Event::Answer(bytes) => {
                    let _ = self.requests.try_send(AttachRequest { request: Some(Request::Input(bytes.into())) });
                }
                Event::Copy(copy) if self.policy == Policy::Allow => out.extend(copy.sequence()),
                Event::Copy(copy) if self.policy == Policy::Ask => {
                    let text = format!("it offers {} to copy; Ctrl-] c copies them", bytes(copy.text.len()));
                    self.offered = Some(copy);
                    out.extend(self.notice(&text));
                }
                Event::LongCopy if self.policy != Policy::Deny => {
                    out.extend(self.notice("it offers more to copy than is passed on (768 KiB)"));
                }
                Event::Copy(_)
                | Event::LongCopy
                | Event::Bell
                | Event::Title(_)
                | Event::Progress(_)
                | Event::Notification(_)
                | Event::StatusAnswer(_) => {}
            }
        }
        out
    }

    fn is_watcher(&self) -> bool {
        self.observe || self.role.as_ref().is_some_and(|role| !role.writer)
    }

    fn say_role(&mut self) -> Vec<u8> {
        let writer = self.role.as_ref().map(|role| plain(&role.writer_name)).unwrap_or_default();
        let who = if writer.is_empty() { "nobody types".into() } else { format!("{writer} types") };
        let text = match (self.is_watcher(), self.observe) {
            (false, _) => "you type here now".into(),
            (true, true) => format!("you observe, {who}; Ctrl-] d detaches"),
            (true, false) => format!("{who}, you watch; Ctrl-] w takes over, d detaches"),
        };
        self.notice(&text)
    }

    fn notice(&mut self, text: &str) -> Vec<u8> {
        self.since = Instant::now();
        self.until = self.since + NOTICE;
        text.clone_into(&mut self.notice);
        self.display.show_notice(text)
    }
}

fn bytes(count: usize) -> String {
    if count == 1 { "1 byte".into() } else { format!("{count} bytes") }
}

/// Writes bytes to the user's terminal.
async fn show(bytes: Vec<u8>) -> Result<(), Failure> {
    if bytes.is_empty() {
        return Ok(());
    }
    terminal::write(Out::Stdout, bytes.into()).await.map_err(|error| output::broken(&error))
}
