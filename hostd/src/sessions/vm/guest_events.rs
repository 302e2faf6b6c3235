//! What a guest reports: each event goes in as an input and is acknowledged after its commit.

use std::{sync::Arc, time::Duration};

use hostd_core::{
    Activity, Input, Status,
    session::{Wait, WaitFor},
};
use pilothouse_proto::guest::v1::{self as wire, Event, EventsRequest, event};
use tokio::sync::{mpsc, oneshot};
use tonic::Status as Rpc;

use crate::{clock::now, guest::Link, sessions::message::Message};

/// Events taken before they are acknowledged, by asking for those after them; the guest keeps many more.
const BATCH: u64 = 128;
/// Before a broken stream is opened again.
const PAUSE: Duration = Duration::from_millis(200);

/// Reports events for as long as it runs, those after the last that was `heard`.
pub(super) async fn report(link: Arc<Link>, generation: u64, heard: u64, reports: mpsc::Sender<Message>) {
    let mut committed = heard;
    while let Some(mut client) = link.up().await {
        let asked = client.events(EventsRequest { after: committed }).await;
        let result = match asked {
            Ok(events) => take(events.into_inner(), generation, &reports, &mut committed).await,
            Err(error) => Err(error),
        };
        if let Err(error) = result {
            tracing::debug!(%error, "the guest's events broke off");
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// Takes at most a batch.
async fn take(
    mut events: tonic::Streaming<Event>,
    generation: u64,
    reports: &mpsc::Sender<Message>,
    committed: &mut u64,
) -> Result<(), Rpc> {
    let first = *committed;
    while let Some(event) = events.message().await? {
        // A guest that numbers them otherwise than it should is not believed.
        if event.sequence <= *committed {
            continue;
        }
        let sequence = event.sequence;
        if let Some(input) = input(generation, event) {
            let (done, wait) = oneshot::channel();
            let sent = reports.send(Message::Report { input, sequence, done }).await;
            if sent.is_err() || wait.await.is_err() {
                return Err(Rpc::cancelled("its supervisor has ended"));
            }
        }
        *committed = sequence;
        if sequence - first >= BATCH {
            return Ok(());
        }
    }
    Err(Rpc::unavailable("the stream ended"))
}

/// What the core makes of it; None: nothing.
fn input(generation: u64, event: Event) -> Option<Input> {
    match event.event? {
        event::Event::AgentExited(exit) => {
            Some(Input::AgentExited { generation, code: exit.code, last: String::new() })
        }
        event::Event::Status(status) => {
            let Some(activity) = Activity::from_status(&status.activity) else {
                tracing::debug!("the guest reports an activity that does not exist");
                return None;
            };
            let status = Status { activity, text: status.text, choices: status.choices };
            Some(Input::AgentStatus { generation, status })
        }
        event::Event::Wait(wait) => waits(generation, wait),
        event::Event::WaitWithdrawn(id) => Some(Input::WaitWithdrawn { generation, id }),
        event::Event::OomKilled(name) => {
            let name = hostd_core::text::one_line(&hostd_core::text::clean(&name, 64));
            tracing::info!(generation, name, "a guest ran out of memory and killed a process");
            Some(Input::OomKilled { generation, name })
        }
        event::Event::Disk(wire::DiskState { full, free_bytes, total_bytes }) => {
            let left = || format!("{} of {} MiB left", free_bytes >> 20, total_bytes >> 20);
            Some(Input::GuestDisk { generation, full: full.then(left) })
        }
    }
}

/// What its agent waits for.
fn waits(generation: u64, wire::Wait { id, what, timeout_seconds, pull }: wire::Wait) -> Option<Input> {
    let Some(what) = WaitFor::from_word(&what) else {
        tracing::debug!("the guest waits for something that does not exist");
        return None;
    };
    let since = now();
    let millis = i64::try_from(timeout_seconds).unwrap_or(i64::MAX).saturating_mul(1000);
    let until = (millis > 0).then(|| since.saturating_add(millis));
    let pull = Some(pull).filter(|number| *number > 0 && what != WaitFor::Message);
    Some(Input::WaitBegan { generation, wait: Wait { id, what, pull, since, until } })
}
