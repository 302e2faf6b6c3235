//! Reading a session's story: one task, which goes on where it was after the host went away.

use std::time::Duration;

use pilothouse_proto::hostd::v1::{EventsRequest, sessions_client::SessionsClient};
use tokio::{sync::mpsc, time::timeout};
use tonic::{Status, transport::Channel};
use tui_core::{
    report::Report,
    story::{StoryReport, StoryView},
    ticket::Ticket,
};

use super::{convert, hosts::Backoff, streams::is_refused};
use crate::client::{CallError, HostAddress};

/// Longest wait for a host to begin to answer; then it is out of reach.
const PATIENCE: Duration = Duration::from_secs(10);

/// Values that a story is read with.
pub(super) struct Read {
    pub(super) ticket: Ticket,
    pub(super) host: HostAddress,
    pub(super) id: String,
    pub(super) delay: Duration,
}

/// Reads the newest page of a story and what happens from then on, until the session is gone or its task is ended.
pub(super) async fn follow(read: Read, channel: Channel, reports: mpsc::Sender<Report>) {
    tokio::time::sleep(read.delay).await;
    let mut client = SessionsClient::new(channel);
    let (mut backoff, mut last) = (Backoff::of(&read.host), 0);
    loop {
        let report = match follow_once(&read, &mut client, &mut last, &mut backoff, &reports).await {
            Ok(()) => StoryReport::Over,
            Err(status) if is_refused(&status) => StoryReport::Failed(CallError::of(&read.host, &status).to_string()),
            Err(status) => StoryReport::Lost(CallError::of(&read.host, &status).to_string()),
        };
        let again = matches!(report, StoryReport::Lost(_));
        if reports.send(Report::Story(read.ticket, report)).await.is_err() || !again {
            return;
        }
        backoff.wait().await;
    }
}

/// Follows a story over one connection; `last` is the number of the last event that was told. `Ok`: it has ended, or nobody
/// listens any more.
async fn follow_once(
    read: &Read,
    client: &mut SessionsClient<Channel>,
    last: &mut i64,
    backoff: &mut Backoff,
    reports: &mpsc::Sender<Report>,
) -> Result<(), Status> {
    let limit = if *last == 0 { StoryView::PAGE } else { 0 };
    let request = EventsRequest { id: read.id.clone(), limit, follow: true, after: *last, before: 0 };
    let patience = read.host.patience(PATIENCE);
    let late = |_| Status::deadline_exceeded(format!("it did not answer within {} seconds", patience.as_secs()));
    let mut stream = timeout(patience, client.events(request)).await.map_err(late)??.into_inner();
    while let Some(message) = stream.message().await? {
        backoff.again();
        *last = message.events.last().map_or(*last, |event| event.id);
        let events = message.events.into_iter().map(convert::event).collect();
        if reports.send(Report::Story(read.ticket, StoryReport::Events(events))).await.is_err() {
            break;
        }
    }
    Ok(())
}
