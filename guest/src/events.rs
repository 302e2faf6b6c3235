//! What happened in the guest, numbered, kept until the host has acknowledged it.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use pilothouse_proto::guest::v1::{Event, Report, event};
use tokio::sync::watch;

/// Most events that are kept; the oldest make room.
pub const EVENTS_MAX: usize = 1024;

/// Events of the guest. Clones share them.
#[derive(Clone, Debug)]
pub struct Events(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    log: Mutex<Log>,
    news: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct Log {
    last: u64,
    kept: VecDeque<Event>,
}

impl Default for Events {
    fn default() -> Self {
        Self(Arc::new(Shared { log: Mutex::default(), news: watch::Sender::new(()) }))
    }
}

impl Events {
    /// Adds a report of a hook, in place of one that was not acknowledged: only the newest counts, however many come.
    pub fn push_report(&self, report: Report) {
        self.log().kept.retain(|event| !matches!(event.event, Some(event::Event::Report(_))));
        self.push(event::Event::Report(report));
    }

    /// Adds an event.
    pub fn push(&self, event: event::Event) {
        let nanos = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        {
            let mut log = self.log();
            log.last += 1;
            let sequence = log.last;
            let unix_nanos = i64::try_from(nanos).unwrap_or(i64::MAX);
            log.kept.push_back(Event { sequence, unix_nanos, event: Some(event) });
            if log.kept.len() > EVENTS_MAX {
                log.kept.pop_front();
            }
        }
        self.0.news.send_replace(());
    }

    /// Forgets events up to this sequence number.
    pub fn acknowledge(&self, sequence: u64) {
        self.log().kept.retain(|event| event.sequence > sequence);
    }

    /// The oldest event that is kept after this sequence number.
    #[must_use]
    pub fn next(&self, after: u64) -> Option<Event> {
        let log = self.log();
        let index = log.kept.partition_point(|event| event.sequence <= after);
        log.kept.get(index).cloned()
    }

    /// Changes with each new event.
    #[must_use]
    pub fn news(&self) -> watch::Receiver<()> {
        self.0.news.subscribe()
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.0.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn oom(name: &str) -> event::Event {
        event::Event::OomKilled(name.into())
    }

    #[test]
    fn only_the_newest_report_is_kept_and_it_displaces_nothing_else() {
        let events = Events::default();
        events.push(oom("a"));
        for n in 0..10 * EVENTS_MAX {
            events.push_report(Report { text: n.to_string(), ..Report::default() });
        }
        assert_eq!(events.next(0).map(|event| event.sequence), Some(1));
        let newest = events.next(1).unwrap();
        assert!(
            matches!(newest.event, Some(event::Event::Report(report)) if report.text == (10 * EVENTS_MAX - 1).to_string())
        );
        assert_eq!(events.next(newest.sequence), None);
    }

    #[test]
    fn keeps_what_is_not_acknowledged_and_no_more_than_the_bound() {
        let events = Events::default();
        for n in 0..EVENTS_MAX + 10 {
            events.push(oom(&n.to_string()));
        }
        assert_eq!(events.next(0).map(|e| e.sequence), Some(11));
        events.acknowledge(1000);
        assert_eq!(events.next(0).map(|e| e.sequence), Some(1001));
        assert_eq!(events.next(1033).map(|e| e.sequence), Some(1034));
        assert_eq!(events.next(1034), None);
    }
}
