//! A session's story as the console reads it: what happened, when, and on whose behalf. The newest stands on top.

use std::collections::VecDeque;

pub use crate::event::{Event, Mood};
use crate::{fleet::SessionKey, text, ticket::Ticket};

/// Most events that are kept; hosts keep no more of a session.
const KEPT: usize = 5_000;

/// News of a story that is read.
#[derive(Clone, Debug)]
pub enum StoryReport {
    /// More happened, or had happened; the oldest comes first.
    Events(Vec<Event>),
    /// The connection is gone, and why; it is tried again.
    Lost(String),
    /// The story cannot be had; why. It is not tried again.
    Failed(String),
    /// The session is gone, and with it what could be added.
    Over,
}

/// State of reading a story.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reading {
    /// Nothing was heard yet.
    Going,
    /// What happens is told as it happens.
    Live,
    /// The connection is gone; why.
    Lost(String),
    /// The story cannot be had; why.
    Failed(String),
    /// The session is gone.
    Over,
}

/// A story that is looked at.
#[derive(Debug)]
pub struct StoryView {
    /// The session whose story it is.
    pub session: SessionKey,
    /// Ticket of the story's stream.
    pub ticket: Ticket,
    /// State of reading the story.
    pub reading: Reading,
    /// What is known, the oldest first.
    events: VecDeque<Event>,
    /// Whether the host may know older events.
    older: bool,
    /// Number of events that are newer than the first one shown.
    top: usize,
}

impl StoryView {
    /// Events that are asked for at a time.
    pub const PAGE: u32 = 200;

    /// A story of which nothing was read yet.
    #[must_use]
    pub fn new(session: SessionKey, ticket: Ticket) -> Self {
        Self { session, ticket, reading: Reading::Going, events: VecDeque::new(), older: false, top: 0 }
    }

    /// Takes news of the story's stream. Whoever looks further back goes on to see what they look at.
    pub fn report(&mut self, report: StoryReport) {
        match report {
            StoryReport::Events(events) => {
                self.older |= self.reading == Reading::Going && events.len() >= Self::PAGE as usize;
                self.reading = Reading::Live;
                let known = self.events.back().map_or(i64::MIN, |event| event.id);
                let new = events.into_iter().filter(|event| event.id > known).map(Event::cleaned);
                let before = self.events.len();
                self.events.extend(new);
                if self.top > 0 {
                    self.top += self.events.len() - before;
                }
                let excess = self.events.len().saturating_sub(KEPT);
                self.events.drain(..excess);
            }
            StoryReport::Lost(why) => self.reading = Reading::Lost(text::one_line(&why, 1024)),
            StoryReport::Failed(why) => self.reading = Reading::Failed(text::one_line(&why, 1024)),
            StoryReport::Over => self.reading = Reading::Over,
        }
    }

    /// Takes a page of events from before those that are known.
    pub fn take_older(&mut self, events: Vec<Event>) {
        self.older = events.len() >= Self::PAGE as usize;
        let first = self.events.front().map_or(i64::MAX, |event| event.id);
        for event in events.into_iter().rev().filter(|event| event.id < first) {
            if self.events.len() < KEPT {
                self.events.push_front(event.cleaned());
            }
        }
    }

    /// Number of the event before which more is wanted, where `rows` rows are shown; None: nothing more is.
    #[must_use]
    pub fn wants_older(&self, rows: usize) -> Option<i64> {
        let near = self.older && self.events.len() < KEPT && self.top + 2 * rows >= self.events.len();
        self.events.front().filter(|_| near).map(|event| event.id)
    }

    /// Whether the host may know older events than those that are here.
    #[must_use]
    pub fn has_older(&self) -> bool {
        self.older
    }

    /// The newest event.
    #[must_use]
    pub fn last(&self) -> Option<&Event> {
        self.events.back()
    }

    /// Events from the first one shown on, the newest first.
    pub fn shown(&self) -> impl Iterator<Item = &Event> {
        self.events.iter().rev().skip(self.top)
    }

    /// Every event that is here, the oldest first.
    pub fn events(&self) -> impl ExactSizeIterator<Item = &Event> {
        self.events.iter()
    }

    /// Scrolls by this many events; `last` is the largest number of newer ones that may be out of sight.
    pub fn scroll(&mut self, down: isize, last: usize) {
        self.top = self.top.saturating_add_signed(down).min(last);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{event::TEXT_MAX, ticket::Slot};

    fn story(count: i64) -> StoryView {
        let key = SessionKey { host: crate::samples::host(0), id: "a".into() };
        let mut story = StoryView::new(key, Ticket { slot: Slot::Story, generation: 1 });
        story.report(StoryReport::Events(events(1000..1000 + count)));
        story
    }

    fn events(ids: std::ops::Range<i64>) -> Vec<Event> {
        ids.map(|id| Event { id, text: format!("event {id}"), ..Event::default() }).collect()
    }

    fn first(story: &StoryView) -> Option<i64> {
        story.shown().next().map(|event| event.id)
    }

    #[test]
    fn the_newest_is_on_top_until_one_looks_further_back() {
        let mut story = story(5);
        assert_eq!(first(&story), Some(1004));
        story.report(StoryReport::Events(events(1003..1006)));
        assert_eq!((first(&story), story.events().len()), (Some(1005), 6), "none is told twice");
        story.scroll(2, 5);
        story.report(StoryReport::Events(events(1006..1009)));
        assert_eq!(first(&story), Some(1003), "it stands still");
        story.scroll(isize::MIN, 5);
        assert_eq!(first(&story), Some(1008));
    }

    #[test]
    fn older_pages_are_wanted_as_their_place_comes_near() {
        assert_eq!(story(199).wants_older(500), None, "there are no older ones");
        let mut story = story(200);
        assert_eq!(story.wants_older(10), None);
        story.scroll(180, 199);
        assert_eq!(story.wants_older(10), Some(1000));
        story.take_older(events(800..1000));
        assert_eq!((first(&story), story.wants_older(10), story.events().len()), (Some(1019), None, 400));
        story.take_older(events(700..800));
        assert!(!story.has_older());
    }

    #[test]
    fn no_host_can_fill_the_memory_or_write_to_the_terminal() {
        let mut story = story(200);
        for page in 0..100 {
            story.report(StoryReport::Events(events(2000 + page * 500..2500 + page * 500)));
            story.take_older(events(-page * 200..200 - page * 200));
        }
        assert_eq!((story.events().len(), story.wants_older(usize::MAX / 4)), (KEPT, None));
        let hostile = Event { id: i64::MAX, who: "a\x1b[2J\nb".into(), text: "x".repeat(1 << 20), ..Event::default() };
        story.report(StoryReport::Events(vec![hostile]));
        let last = story.last().unwrap();
        assert_eq!((last.who.as_str(), last.text.len()), ("a[2J b", TEXT_MAX));
    }
}
