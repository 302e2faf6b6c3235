//! One task for each host: watches it, and again after it went away.

use std::time::Duration;

use pilothouse_proto::hostd::v1::{WatchRequest, host_client::HostClient};
use tokio::{sync::mpsc, time::timeout};
use tonic::transport::Channel;
use tui_core::{
    host_id::HostId,
    report::{HostReport, Report},
};

use super::convert;
use crate::client::{CallError, HostAddress};

/// Largest message that is taken, in bytes: a snapshot has all sessions.
const MESSAGE_MAX: usize = 64 << 20;
/// Longest wait for a host nearby to begin to answer; then it is out of reach.
const PATIENCE: Duration = Duration::from_secs(5);

/// Waits between tries: short at first, for a hostd that restarts, then longer.
pub(super) struct Backoff(Duration);

impl Backoff {
    pub(super) fn new() -> Self {
        Self(Duration::from_millis(100))
    }

    pub(super) async fn wait(&mut self) {
        tokio::time::sleep(self.0).await;
        self.0 = (self.0 * 2).min(Duration::from_secs(2));
    }
}

/// Revision of a host that was seen last, to go on from there.
#[derive(Default)]
struct Seen {
    epoch: String,
    revision: u64,
}

/// Watches a host for ever; ends when nobody listens any more.
pub(super) async fn watch(host: HostAddress, channel: Channel, reports: mpsc::Sender<Report>) {
    let id = host.id();
    let mut client = HostClient::new(channel).max_decoding_message_size(MESSAGE_MAX);
    let mut seen = Seen::default();
    let mut backoff = Backoff::new();
    loop {
        let Err(why) = watch_once(&id, &host, &mut client, &mut seen, &mut backoff, &reports).await else { return };
        if reports.send(Report::Host(id.clone(), HostReport::Lost(why))).await.is_err() {
            return;
        }
        backoff.wait().await;
    }
}

/// Watches a host over one connection. `Ok`: nobody listens any more.
async fn watch_once(
    id: &HostId,
    host: &HostAddress,
    client: &mut HostClient<Channel>,
    seen: &mut Seen,
    backoff: &mut Backoff,
    reports: &mpsc::Sender<Report>,
) -> Result<(), String> {
    let request = WatchRequest { epoch: seen.epoch.clone(), revision: seen.revision };
    let patience = host.patience(PATIENCE);
    let answer = timeout(patience, client.watch(request)).await;
    let late = |_| format!("it did not answer within {} seconds", patience.as_secs());
    let mut stream = answer.map_err(late)?.map_err(|status| CallError::of(host, &status).to_string())?.into_inner();
    if !seen.epoch.is_empty() && reports.send(Report::Host(id.clone(), HostReport::Resumed)).await.is_err() {
        return Ok(());
    }
    loop {
        let message = stream.message().await.map_err(|status| CallError::of(host, &status).to_string())?;
        let Some(message) = message else { return Err("it closed the connection".into()) };
        *backoff = Backoff::new();
        *seen = Seen { epoch: message.epoch, revision: message.revision };
        if let Some(report) = message.change.and_then(convert::change)
            && reports.send(Report::Host(id.clone(), report)).await.is_err()
        {
            return Ok(());
        }
    }
}
