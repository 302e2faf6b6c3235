//! Events, for as long as the host wants them.

use pilothouse_proto::guest::v1::Event;

use super::guest::Answers;
use crate::events::Events;

/// The events after this one, and those to come.
pub(super) fn follow(events: Events, after: u64) -> Answers<Event> {
    events.acknowledge(after);
    let news = events.news();
    Box::pin(futures::stream::unfold((events, news, after), |(events, mut news, after)| async move {
        loop {
            news.borrow_and_update();
            if let Some(event) = events.next(after) {
                let sequence = event.sequence;
                return Some((Ok(event), (events, news, sequence)));
            }
            news.changed().await.ok()?;
        }
    }))
}
