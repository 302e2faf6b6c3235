//! One more task for each host: watches its queue of pull requests.

use pilothouse_proto::hostd::v1::{WatchPullsRequest, reviews_client::ReviewsClient, watch_pulls_response::Change};
use tokio::sync::{mpsc, watch};
use tonic::{Code, Status, transport::Channel};
use tui_core::{
    host_id::HostId,
    report::{HostReport, Report},
};

use super::{convert, hosts::Backoff};
use crate::client::HostAddress;

/// Largest message that is taken, in bytes: a queue has all open pull requests.
const MESSAGE_MAX: usize = 64 << 20;

/// Watches a host's queue for ever; ends when nobody listens any more, or the host knows no pull requests. That a host is away
/// is told by [`super::hosts::watch`].
pub(super) async fn watch(
    host: HostAddress,
    channel: Channel,
    reports: mpsc::Sender<Report>,
    mut there: watch::Receiver<bool>,
) {
    let id = host.id();
    let mut client = ReviewsClient::new(channel).max_decoding_message_size(MESSAGE_MAX);
    let mut backoff = Backoff::of(&host);
    loop {
        // A host is tried by one of the two; each try over ssh is a login.
        if there.wait_for(|there| *there).await.is_err() {
            return;
        }
        match watch_once(&id, &mut client, &mut backoff, &reports).await {
            Ok(()) => return,
            Err(status) if status.code() == Code::Unimplemented => return,
            Err(_) => backoff.wait().await,
        }
    }
}

/// Watches a host's queue over one connection. `Ok`: nobody listens any more.
async fn watch_once(
    id: &HostId,
    client: &mut ReviewsClient<Channel>,
    backoff: &mut Backoff,
    reports: &mpsc::Sender<Report>,
) -> Result<(), Status> {
    let mut stream = client.watch_pulls(WatchPullsRequest {}).await?.into_inner();
    while let Some(message) = stream.message().await? {
        backoff.again();
        let report = match message.change {
            Some(Change::Queue(queue)) => HostReport::Queue(queue.pulls.into_iter().map(convert::pull).collect()),
            Some(Change::Pull(pull)) => HostReport::Pull(Box::new(convert::pull(pull))),
            // Something that a newer host knows and we do not.
            None => continue,
        };
        if reports.send(Report::Host(id.clone(), report)).await.is_err() {
            return Ok(());
        }
    }
    Err(Status::unavailable("it closed the connection"))
}
