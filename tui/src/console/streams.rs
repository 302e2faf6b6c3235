//! Open terminals: one task for each, which opens its stream again after the host went away.

use std::{collections::VecDeque, time::Duration};

use pilothouse_proto::hostd::v1::{
    AttachOpen, AttachRequest, AttachResponse, attach_request::Request, sessions_client::SessionsClient,
};
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming, transport::Channel};
use tui_core::{
    report::{Report, TerminalReport},
    ticket::{Slot, Ticket},
};

use super::{convert, hosts::Backoff};
use crate::client::{CallError, HostAddress};

/// Longest wait for a host to open a terminal; then it is out of reach.
const PATIENCE: Duration = Duration::from_secs(10);
/// Most requests that wait for a host that does not read; what is typed beyond is dropped, and said to be.
pub(super) const WAITING_MAX: usize = 256;
/// Largest piece of input, in bytes.
const PIECE: usize = 32 << 10;

/// Values that a terminal is opened with.
pub(super) struct Open {
    pub(super) ticket: Ticket,
    pub(super) host: HostAddress,
    pub(super) id: String,
    pub(super) observe: bool,
    pub(super) size: (u16, u16),
    pub(super) scrollback: u32,
    pub(super) delay: Duration,
}

/// Request to an open terminal.
#[derive(Debug)]
pub(super) enum Ask {
    Input(Vec<u8>),
    Resize((u16, u16)),
    Take,
}

/// Keeps a terminal open until it ends, is refused, or its task is ended.
pub(super) async fn keep_open(
    mut open: Open,
    channel: Channel,
    mut asks: mpsc::Receiver<Ask>,
    reports: mpsc::Sender<Report>,
) {
    tokio::time::sleep(open.delay).await;
    let mut client = SessionsClient::new(channel).max_decoding_message_size(64 << 20);
    let mut backoff = Backoff::of(&open.host);
    loop {
        let end = open_once(&mut open, &mut client, &mut asks, &reports, &mut backoff).await;
        let report = match end {
            End::Unheard => return,
            End::Last(report) => report,
            End::Broken(why) => TerminalReport::Lost(why),
        };
        let again = matches!(report, TerminalReport::Lost(_));
        if reports.send(Report::Terminal(open.ticket, report)).await.is_err() || !again {
            return;
        }
        backoff.wait().await;
    }
}

/// How a stream ended.
enum End {
    /// Nobody listens any more.
    Unheard,
    /// Nothing more will come: the terminal has ended or was refused.
    Last(TerminalReport),
    /// The connection broke on its way, and why; it is worth another try.
    Broken(String),
}

async fn open_once(
    open: &mut Open,
    client: &mut SessionsClient<Channel>,
    asks: &mut mpsc::Receiver<Ask>,
    reports: &mpsc::Sender<Report>,
    backoff: &mut Backoff,
) -> End {
    let (requests, outgoing) = mpsc::channel(16);
    let first = AttachOpen {
        id: open.id.clone(),
        observe: open.observe,
        size: Some(convert::size(open.size)),
        scrollback: open.scrollback,
        preview: open.ticket.slot == Slot::Preview,
        // The real terminal gets what is drawn, not what the program writes.
        answers: false,
    };
    if requests.try_send(request(Request::Open(first))).is_err() {
        return End::Broken("it could not be opened".into());
    }
    let patience = open.host.patience(PATIENCE);
    match timeout(patience, client.attach(ReceiverStream::new(outgoing))).await {
        Err(_) => End::Broken(format!("it did not answer within {} seconds", patience.as_secs())),
        Ok(Err(status)) => failed(&open.host, &status),
        Ok(Ok(response)) => pass(open, response.into_inner(), requests, asks, reports, backoff).await,
    }
}

/// Passes requests and news between the stream and the console.
async fn pass(
    open: &mut Open,
    mut stream: Streaming<AttachResponse>,
    requests: mpsc::Sender<AttachRequest>,
    asks: &mut mpsc::Receiver<Ask>,
    reports: &mpsc::Sender<Report>,
    backoff: &mut Backoff,
) -> End {
    let mut waiting: VecDeque<AttachRequest> = VecDeque::new();
    loop {
        tokio::select! {
            ask = asks.recv(), if waiting.len() < WAITING_MAX => match ask {
                None => return End::Unheard,
                Some(ask) => waiting.extend(translate(ask, open)),
            },
            permit = requests.reserve(), if !waiting.is_empty() => match (permit, waiting.pop_front()) {
                (Ok(permit), Some(next)) => permit.send(next),
                // The stream is over; its own end says why.
                _ => waiting.clear(),
            },
            message = stream.message() => match message {
                Err(status) => return failed(&open.host, &status),
                Ok(None) => return End::Broken("the host closed it".into()),
                Ok(Some(message)) => {
                    backoff.again();
                    let Some(report) = convert::terminal(message) else { continue };
                    if matches!(report, TerminalReport::Ended(_)) {
                        return End::Last(report);
                    }
                    if reports.send(Report::Terminal(open.ticket, report)).await.is_err() {
                        return End::Unheard;
                    }
                }
            },
        }
    }
}

fn translate(ask: Ask, open: &mut Open) -> Vec<AttachRequest> {
    match ask {
        Ask::Input(bytes) => bytes.chunks(PIECE).map(|piece| request(Request::Input(piece.to_vec().into()))).collect(),
        Ask::Take => vec![request(Request::Take(true))],
        Ask::Resize(size) => {
            // Should the stream break, the next one is opened with this size.
            open.size = size;
            vec![request(Request::Resize(convert::size(size)))]
        }
    }
}

fn request(request: Request) -> AttachRequest {
    AttachRequest { request: Some(request) }
}

/// What a host refuses it will refuse again; anything else may be over soon.
fn failed(host: &HostAddress, status: &Status) -> End {
    let why = CallError::of(host, status).to_string();
    if is_refused(status) { End::Last(TerminalReport::Refused(why)) } else { End::Broken(why) }
}

/// Whether a host would refuse the same call again.
pub(super) fn is_refused(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::NotFound
            | Code::FailedPrecondition
            | Code::PermissionDenied
            | Code::Unauthenticated
            | Code::InvalidArgument
            | Code::Unimplemented
    )
}
