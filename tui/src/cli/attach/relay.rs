//! Carries an attachment over a hostd that ends and comes back: the session's VM runs on meanwhile, and so does what the user sees.

use std::{convert::Infallible, future::pending, time::Duration};

use pilothouse_proto::hostd::v1::{AttachOpen, AttachRequest, AttachResponse, Size, attach_request::Request};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};

use super::{UNDER_WAY, request, viewer::Said};
use crate::{cli::fleet::Host, client::CallError};

/// Longest time that a host is waited for to come back.
const BACK: Duration = Duration::from_secs(60);
/// Pause before the first try to reach it again; each further one is twice as long, up to [`LONGEST`].
const PAUSE: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(2);
/// What is shown meanwhile.
const GONE: &str = "the host is gone; waiting for it to come back, Ctrl-] d detaches";

/// An attachment to a host, as it was opened.
pub(super) struct Relay<'a> {
    pub(super) host: &'a Host,
    /// What it is opened with again; of the size that the terminal has now.
    pub(super) open: AttachOpen,
    /// What is asked of the host.
    pub(super) requests: mpsc::Receiver<AttachRequest>,
    /// What it answers.
    pub(super) answers: mpsc::Sender<Result<AttachResponse, Status>>,
    /// Tells the viewer.
    pub(super) said: mpsc::Sender<Said>,
}

/// One call to the host.
type Call = (mpsc::Sender<AttachRequest>, Streaming<AttachResponse>);

impl Relay<'_> {
    /// Carries requests and answers, from this call on, until the attachment is over; then the answers end.
    pub(super) async fn run(mut self, first: Call) -> Infallible {
        let mut call = Some(first);
        while let Some(now) = call.take() {
            match self.carry(now).await {
                Some(status) if comes_back(self.host, &status) => call = self.again(status).await,
                Some(status) => drop(self.answers.send(Err(status)).await),
                None => {}
            }
        }
        drop(self);
        pending().await
    }

    /// Why the call broke; None: it ended, or nobody listens any more.
    async fn carry(&mut self, (towards, mut answers): Call) -> Option<Status> {
        let mut next = None;
        loop {
            tokio::select! {
                answer = answers.message() => match answer {
                    Ok(answer) => self.answers.send(Ok(answer?)).await.ok()?,
                    Err(status) => return Some(status),
                },
                Some(request) = self.requests.recv(), if next.is_none() => {
                    self.note(&request);
                    next = Some(request);
                }
                permit = towards.reserve(), if next.is_some() => {
                    if let (Ok(permit), Some(request)) = (permit, next.take()) {
                        permit.send(request);
                    }
                }
            }
        }
    }

    fn note(&mut self, asked: &AttachRequest) {
        if let Some(Request::Resize(size)) = asked.request {
            self.open.size = Some(size);
        }
    }

    /// Attaches again once the host is back. What is typed until then reaches nobody. None: it is not back in time, or nobody waits.
    async fn again(&mut self, status: Status) -> Option<Call> {
        let (until, mut pause) = (Instant::now() + BACK, PAUSE);
        while Instant::now() < until {
            // Where the viewer is stuck in writing, a lost notice does not matter.
            let _ = self.said.try_send(Said::Notice(GONE.into()));
            tokio::select! {
                () = self.answers.closed() => return None,
                () = sleep(pause) => {}
            }
            self.drop_typed();
            match timeout(LONGEST, self.attach()).await {
                Ok(Ok(call)) => {
                    // What was typed while it was reached was not typed at what is shown now.
                    if let Some(size) = self.drop_typed() {
                        let _ = call.0.try_send(request(Request::Resize(size)));
                    }
                    let _ = self.said.try_send(Said::Notice("the host is back".into()));
                    return Some(call);
                }
                Ok(Err(refused)) if is_final(refused.code()) => {
                    let _ = self.answers.send(Err(refused)).await;
                    return None;
                }
                Ok(Err(_)) | Err(_) => {}
            }
            pause = (pause * 2).min(LONGEST);
        }
        let _ = self.answers.send(Err(status)).await;
        None
    }

    /// Drops what waits to be asked of the host, but for the size that the terminal has now, where that has changed.
    fn drop_typed(&mut self) -> Option<Size> {
        let mut changed = None;
        while let Ok(asked) = self.requests.try_recv() {
            self.note(&asked);
            if let Some(Request::Resize(size)) = asked.request {
                changed = Some(size);
            }
        }
        changed
    }

    async fn attach(&self) -> Result<Call, Status> {
        let (towards, requests) = mpsc::channel(UNDER_WAY);
        let opened = towards.try_send(request(Request::Open(self.open.clone())));
        opened.map_err(|error| Status::internal(error.to_string()))?;
        let answers = self.host.sessions().attach(ReceiverStream::new(requests)).await?;
        Ok((towards, answers.into_inner()))
    }
}

/// Whether a host that is back will never have the attachment again, however often it is asked.
fn is_final(code: Code) -> bool {
    matches!(code, Code::NotFound | Code::PermissionDenied | Code::Unauthenticated)
}

/// Whether the host may have the session still once it is back: it went away, or says that it does.
fn comes_back(host: &Host, status: &Status) -> bool {
    let answer = CallError::of(&host.address, status).answer;
    answer.is_none_or(|(code, _)| code == Code::Unavailable)
}
