//! What runs next.

use crate::capacity::{Decision, Need, Room};

/// A run of a check that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queued<K> {
    /// Value that names the run.
    pub key: K,
    /// Place of the run in the queue; lower ones go first.
    pub order: u64,
    /// Resources that the run's VM takes.
    pub need: Need,
}

/// Room that the host has for runs of checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Resources that the host has left.
    pub room: Room,
    /// Most runs at a time; 0 counts as 1.
    pub most: usize,
    /// Number of runs under way.
    pub running: usize,
    /// Number of sessions that wait for a place of their own.
    pub sessions: usize,
}

/// The next step of the queue, one at a time: each is planned on what the last one left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next<K> {
    /// No run waits.
    Nothing,
    /// Start this run.
    Start(K),
    /// This run can never start here; the reason, in words for a person.
    Refuse(K, String),
    /// No run may start now; the reason, in words for a person.
    Wait(String),
}

/// Plans the next step. Sessions go first: while one waits no run begins. Runs begin in order: one that needs much is not
/// overtaken for ever by those that need little.
#[must_use]
pub fn next<K: Clone>(queued: &[Queued<K>], place: &Place) -> Next<K> {
    let Some(first) = queued.iter().min_by_key(|run| run.order) else { return Next::Nothing };
    match place.room.admit(first.need) {
        Decision::Refuse(why) => Next::Refuse(first.key.clone(), why),
        _ if place.sessions > 0 => Next::Wait(format!("waits for {} to start first", sessions(place.sessions))),
        _ if place.running >= place.most.max(1) => Next::Wait(format!("waits for one of {} runs", place.running)),
        Decision::Wait(why) => Next::Wait(why),
        Decision::Admit => Next::Start(first.key.clone()),
    }
}

fn sessions(count: usize) -> String {
    if count == 1 { "a session".into() } else { format!("{count} sessions") }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const GIB: u64 = 1 << 30;

    fn place() -> Place {
        let room = Room {
            memory_total: 16 * GIB,
            memory_available: 8 * GIB,
            memory_promised: 0,
            memory_limit: None,
            memory_used: 0,
            disk_total: 200 * GIB,
            disk_available: 100 * GIB,
            descriptors: 1024,
        };
        Place { room, most: 2, running: 0, sessions: 0 }
    }

    fn run(key: &'static str, order: u64, memory: u64) -> Queued<&'static str> {
        Queued { key, order, need: Need { memory, disk: 0 } }
    }

    #[rstest]
    #[case::nothing(&[], place(), Next::Nothing)]
    #[case::in_order(&[run("b", 2, GIB), run("a", 1, GIB)], place(), Next::Start("a"))]
    #[case::beside_another(&[run("a", 1, GIB)], Place { running: 1, ..place() }, Next::Start("a"))]
    #[case::all_places_taken(&[run("a", 1, GIB)], Place { running: 2, ..place() }, wait("waits for one of 2 runs"))]
    #[case::no_place_is_one(&[run("a", 1, GIB)], Place { most: 0, ..place() }, Next::Start("a"))]
    #[case::sessions_first(&[run("a", 1, GIB)], Place { sessions: 1, ..place() }, wait("waits for a session to start first"))]
    #[case::no_memory(&[run("a", 1, 8 * GIB)], place(), wait("waits for memory: needs 8192 MiB, 7168 MiB free"))]
    #[case::no_overtaking(&[run("big", 1, 8 * GIB), run("a", 2, GIB)], place(), wait("waits for memory: needs 8192 MiB, 7168 MiB free"))]
    fn one_step_at_a_time(
        #[case] queued: &[Queued<&'static str>],
        #[case] place: Place,
        #[case] next_step: Next<&'static str>,
    ) {
        assert_eq!(next(queued, &place), next_step);
    }

    fn wait(why: &str) -> Next<&'static str> {
        Next::Wait(why.into())
    }

    #[test]
    fn what_never_fits_is_refused_at_once() {
        let full = Place { running: 2, sessions: 3, ..place() };
        let step = next(&[run("huge", 1, 64 * GIB), run("a", 2, GIB)], &full);
        assert!(matches!(step, Next::Refuse("huge", why) if why.contains("gives at most")));
    }
}
