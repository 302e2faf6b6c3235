//! Reading a log: a session's as long as there is one, a check's as long as it runs.

use bytes::Bytes;
use pilothouse_proto::hostd::v1::{
    CheckLogRequest, LogRequest, checks_client::ChecksClient, sessions_client::SessionsClient,
};
use tokio::sync::mpsc;
use tonic::{Status, Streaming, transport::Channel};
use tui_core::{
    log::Source,
    report::{LogReport, Report},
    ticket::Ticket,
};

use crate::client::{CallError, HostAddress};

/// Reads a log to its end, and reports what came and that it was all.
pub(super) async fn read(
    ticket: Ticket,
    host: HostAddress,
    channel: Channel,
    source: Source,
    reports: mpsc::Sender<Report>,
) {
    let last = match open(ticket, channel, source, &reports).await {
        Ok(()) => LogReport::End,
        Err(status) => LogReport::Failed(CallError::of(&host, &status).to_string()),
    };
    // Nobody listens only when the console ends.
    let _ = reports.send(Report::Log(ticket, last)).await;
}

async fn open(ticket: Ticket, channel: Channel, source: Source, reports: &mpsc::Sender<Report>) -> Result<(), Status> {
    let (id, serial) = match source {
        Source::Check { pull, commit, name } => {
            let repository = pull.repository.to_string();
            let request = CheckLogRequest { pull: String::new(), repository, commit, name, follow: true };
            let stream = ChecksClient::new(channel).check_log(request).await?.into_inner();
            return pass(ticket, stream, |message| message.data, reports).await;
        }
        Source::Agent(key) => (key.id.to_string(), false),
        Source::Serial(key) => (key.id.to_string(), true),
    };
    let stream = SessionsClient::new(channel).log(LogRequest { id, serial, follow: true }).await?.into_inner();
    pass(ticket, stream, |message| message.data, reports).await
}

async fn pass<M>(
    ticket: Ticket,
    mut stream: Streaming<M>,
    data: impl Fn(M) -> Bytes,
    reports: &mpsc::Sender<Report>,
) -> Result<(), Status> {
    while let Some(message) = stream.message().await? {
        let report = Report::Log(ticket, LogReport::Data(data(message).to_vec()));
        if reports.send(report).await.is_err() {
            break;
        }
    }
    Ok(())
}
