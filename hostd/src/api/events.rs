//! A session's story.

use std::time::Duration;

use futures::stream;
use pilothouse_proto::hostd::v1::{Actor, Event, EventsRequest, EventsResponse};
use tokio::time::sleep;
use tonic::Status;

use super::{
    Api,
    streams::{Answers, until_closing},
};
use crate::store::Numbered;

/// Most events of one answer.
const LIMIT: u32 = 5_000;
/// How often a story that is followed is looked at.
const AGAIN: Duration = Duration::from_millis(300);

/// A story that is told on.
struct Telling {
    api: Api,
    id: String,
    /// Number of the last event that was told.
    last: i64,
}

/// What happened to a session; then, where it is followed, what happens from now on, until the session is deleted.
pub(super) async fn events(api: &Api, request: EventsRequest) -> Result<Answers<EventsResponse>, Status> {
    let EventsRequest { id, limit, follow } = request;
    let limit = if limit == 0 { LIMIT } else { limit.min(LIMIT) };
    // The whole id outlives the session.
    let id = api.fleet.get(&id).map_or(id, |view| view.session.id);
    let known = api.fleet.events(&id, 0, limit).await?;
    let last = known.last().map_or(0, |event| event.id);
    let first = stream::once(std::future::ready(Ok(response(known))));
    if !follow {
        return Ok(until_closing(first, &api.closing));
    }
    let telling = Telling { api: api.clone(), id, last };
    let rest = stream::unfold(Some(telling), |telling| async move {
        let mut telling = telling?;
        let next = telling.next().await?;
        Some((next.map_err(Status::from), Some(telling)))
    });
    Ok(until_closing(futures::StreamExt::chain(first, rest), &api.closing))
}

impl Telling {
    /// The next events; None when the session is gone and all is told.
    async fn next(&mut self) -> Option<Result<EventsResponse, crate::sessions::FleetError>> {
        loop {
            let gone = self.api.fleet.get(&self.id).is_err();
            match self.api.fleet.events(&self.id, self.last, LIMIT).await {
                Ok(new) if new.is_empty() && gone => return None,
                Ok(new) if new.is_empty() => sleep(AGAIN).await,
                Ok(new) => {
                    self.last = new.last().map_or(self.last, |event| event.id);
                    return Some(Ok(response(new)));
                }
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

fn response(events: Vec<Numbered>) -> EventsResponse {
    let event = |Numbered { id, event }: Numbered| Event {
        id,
        at: event.at,
        actor: Some(Actor {
            kind: event.actor.kind().into(),
            name: event.actor.name().into(),
            person: event.actor.behalf().into(),
        }),
        what: event.what,
        text: event.text,
    };
    EventsResponse { events: events.into_iter().map(event).collect() }
}
