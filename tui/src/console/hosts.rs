//! One task for each host: watches it, and again after it went away.

use std::{
    hash::{BuildHasher as _, Hasher as _, RandomState},
    time::Duration,
};

use pilothouse_proto::hostd::v1::{WatchRequest, host_client::HostClient};
use tokio::{
    sync::{mpsc, watch},
    time::timeout,
};
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
pub(super) struct Backoff {
    next: Duration,
    most: Duration,
}

impl Backoff {
    /// Waits between tries of this host. One over ssh is a login each time: machines lock out who fails at it often.
    pub(super) fn of(host: &HostAddress) -> Self {
        let most = Duration::from_secs(if host.is_far() { 30 } else { 2 });
        Self { next: FIRST, most }
    }

    /// Begins again with short waits.
    pub(super) fn again(&mut self) {
        self.next = FIRST;
    }

    /// Waits, a little longer or shorter by chance, so that consoles that lost a host together do not come back together.
    pub(super) async fn wait(&mut self) {
        let chance = RandomState::new().build_hasher().finish() % 1000;
        let share = 0.75 + f64::from(u16::try_from(chance).unwrap_or_default()) / 2000.0;
        tokio::time::sleep(self.next.mul_f64(share)).await;
        self.next = (self.next * 2).min(self.most);
    }
}

/// First wait between tries.
const FIRST: Duration = Duration::from_millis(100);

/// Revision of a host that was seen last, to go on from there.
#[derive(Default)]
struct Seen {
    epoch: String,
    revision: u64,
}

/// Watches a host for ever, and tells `there` whether it answers; ends when nobody listens any more.
pub(super) async fn watch(
    host: HostAddress,
    channel: Channel,
    reports: mpsc::Sender<Report>,
    there: watch::Sender<bool>,
) {
    let id = host.id();
    let mut client = HostClient::new(channel).max_decoding_message_size(MESSAGE_MAX);
    let mut seen = Seen::default();
    let mut backoff = Backoff::of(&host);
    let answered = |backoff: &mut Backoff| {
        backoff.again();
        there.send_if_modified(|there| !std::mem::replace(there, true));
    };
    loop {
        let result = watch_once(&id, &host, &mut client, &mut seen, || answered(&mut backoff), &reports).await;
        there.send_replace(false);
        let Err(why) = result else { return };
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
    mut answered: impl FnMut(),
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
        answered();
        *seen = Seen { epoch: message.epoch, revision: message.revision };
        if let Some(report) = message.change.and_then(convert::change)
            && reports.send(Report::Host(id.clone(), report)).await.is_err()
        {
            return Ok(());
        }
    }
}
