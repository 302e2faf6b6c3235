//! A session's story.

use futures::{StreamExt as _, stream};
use pilothouse_proto::hostd::v1::{EventsRequest, EventsResponse};
use tonic::Status;

use super::{
    Api, convert,
    streams::{Answers, until_closing},
};
use crate::store::Numbered;

/// Most events of one answer of all messages, if the caller asks for no fewer.
const LIMIT: u32 = 5_000;
/// Most events of one message: a message holds 4 MiB, and a reader wants to show the first before it has the last.
const PAGE: usize = 500;

/// What happened to a session; then, where it is followed, what happens from now on, until the session is deleted.
pub(super) async fn events(api: &Api, request: EventsRequest) -> Result<Answers<EventsResponse>, Status> {
    let EventsRequest { id, limit, follow, after, before } = request;
    let limit = if limit == 0 { LIMIT } else { limit.min(LIMIT) };
    // The whole id outlives the session.
    let id = api.fleet.get(&id).map_or(id, |view| view.session.id);
    let first = if after > 0 { after.saturating_add(1) } else { 0 };
    let end = if before > 0 { before } else { i64::MAX };
    let known = api.fleet.events(&id, first..end, limit).await?;
    let next = known.last().map_or(first, |event| event.id + 1);
    // A reader learns, too, that there is nothing.
    let none = known.is_empty().then(|| Ok(EventsResponse::default()));
    let known = stream::iter(none.into_iter().chain(pages(&known)).collect::<Vec<_>>());
    if !follow {
        return Ok(until_closing(known, &api.closing));
    }
    let rest = stream::unfold(api.fleet.follow(&id, next), |mut story| async move {
        let told = match story.next().await? {
            Ok(events) => pages(&events).collect(),
            Err(error) => vec![Err(error.into())],
        };
        Some((stream::iter(told), story))
    });
    Ok(until_closing(known.chain(rest.flatten()), &api.closing))
}

fn pages(events: &[Numbered]) -> impl Iterator<Item = Result<EventsResponse, Status>> {
    events.chunks(PAGE).map(|page| Ok(EventsResponse { events: page.iter().map(convert::event).collect() }))
}
