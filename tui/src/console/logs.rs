//! Reading a session's log.

use pilothouse_proto::hostd::v1::{LogRequest, sessions_client::SessionsClient};
use tokio::sync::mpsc;
use tonic::{Status, transport::Channel};
use tui_core::{
    effect::Ticket,
    report::{LogReport, Report},
};

use super::hosts::explain;
use crate::client::HostAddress;

/// Reads all of it, then says so.
pub(super) async fn read(
    ticket: Ticket,
    host: HostAddress,
    channel: Channel,
    request: LogRequest,
    reports: mpsc::Sender<Report>,
) {
    let last = match pass(ticket, channel, request, &reports).await {
        Ok(()) => LogReport::End,
        Err(status) => LogReport::Failed(explain(&host, &status)),
    };
    // Nobody listens only when the console ends.
    let _ = reports.send(Report::Log(ticket, last)).await;
}

async fn pass(
    ticket: Ticket,
    channel: Channel,
    request: LogRequest,
    reports: &mpsc::Sender<Report>,
) -> Result<(), Status> {
    let mut stream = SessionsClient::new(channel).log(request).await?.into_inner();
    while let Some(message) = stream.message().await? {
        let report = Report::Log(ticket, LogReport::Data(message.data.to_vec()));
        if reports.send(report).await.is_err() {
            break;
        }
    }
    Ok(())
}
