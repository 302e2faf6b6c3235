//! What sessions count of themselves for whoever watches the host: how long starts, suspends and resumes took, and how VMs died.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use hostd_core::{Cause, Lifecycle};
use prometheus_client::metrics::{counter::Counter, family::Family};

use crate::meter::{Counts, Durations, counts, durations, of_vms};

/// Label of what came of something.
const RESULT: &str = "result";
/// Values of the label that says how a way from state to state ended.
const RESULTS: [&str; 2] = ["failed", "ok"];

/// Counters of sessions; clones share them.
#[derive(Clone)]
pub(crate) struct Meter(Arc<Inner>);

struct Inner {
    began: Instant,
    /// Since when sessions are on their way from one state to the next, by their ids.
    under_way: Mutex<HashMap<String, Instant>>,
    starts: Durations,
    suspends: Durations,
    resumes: Durations,
    adoptions: Durations,
    crashes: Family<[(&'static str, String); 1], Counter>,
    reconnects: Counter,
    pool: Counts,
}

impl Default for Meter {
    fn default() -> Self {
        let crashes = Family::default();
        for word in Cause::words_of_crashes() {
            drop(crashes.get_or_create(&[("cause", word.into())]));
        }
        Self(Arc::new(Inner {
            began: Instant::now(),
            under_way: Mutex::default(),
            starts: durations(RESULT, &RESULTS, of_vms),
            suspends: durations(RESULT, &RESULTS, of_vms),
            resumes: durations(RESULT, &RESULTS, of_vms),
            adoptions: durations(RESULT, &RESULTS, of_vms),
            crashes,
            reconnects: Counter::default(),
            pool: counts(RESULT, &["hit", "miss"]),
        }))
    }
}

impl Meter {
    /// A session went from one state to another.
    pub(super) fn changed(&self, id: &str, before: &Lifecycle, after: &Lifecycle) {
        if before == after {
            return;
        }
        if let Lifecycle::Crashed { cause } = after {
            self.0.crashes.get_or_create(&[("cause", cause.word().into())]).inc();
        }
        let on_the_way = matches!(after, Lifecycle::Starting | Lifecycle::Suspending | Lifecycle::Resuming);
        let mut under_way = self.under_way();
        let since = if on_the_way { under_way.insert(id.into(), Instant::now()) } else { under_way.remove(id) };
        drop(under_way);
        let of = match before {
            Lifecycle::Starting => &self.0.starts,
            Lifecycle::Suspending => &self.0.suspends,
            Lifecycle::Resuming => &self.0.resumes,
            _ => return,
        };
        // Whoever is stopped on the way has neither arrived nor failed.
        if let (Some(since), Some(result)) = (since, result(before, after)) {
            of.get_or_create(&[(RESULT, result)]).observe(since.elapsed().as_secs_f64());
        }
    }

    /// A session is gone.
    pub(super) fn forget(&self, id: &str) {
        self.under_way().remove(id);
    }

    /// A VM of an earlier hostd was taken over, or could not be.
    pub(super) fn adopted(&self, taken_over: bool) {
        let took = self.0.began.elapsed().as_secs_f64();
        self.0.adoptions.get_or_create(&[(RESULT, if taken_over { "ok" } else { "failed" })]).observe(took);
    }

    /// A link that was down is up again.
    pub(super) fn reconnected(&self) {
        self.0.reconnects.inc();
    }

    /// A session that a warm VM would fit has got one, or not.
    pub(super) fn asked_pool(&self, hit: bool) {
        self.0.pool.get_or_create(&[(RESULT, if hit { "hit" } else { "miss" })]).inc();
    }

    /// How long starts, suspends, resumes and adoptions took, in seconds; the last ones from when this hostd began.
    pub(crate) fn durations(&self) -> [&Durations; 4] {
        [&self.0.starts, &self.0.suspends, &self.0.resumes, &self.0.adoptions]
    }

    /// Crashes by cause.
    pub(crate) fn crashes(&self) -> &Family<[(&'static str, String); 1], Counter> {
        &self.0.crashes
    }

    /// Links that came up again.
    pub(crate) fn reconnects(&self) -> &Counter {
        &self.0.reconnects
    }

    /// What sessions had of the pool.
    pub(crate) fn pool(&self) -> &Counts {
        &self.0.pool
    }

    fn under_way(&self) -> MutexGuard<'_, HashMap<String, Instant>> {
        self.0.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What came of a way from `before` that has ended in `after`; None: it was given up.
fn result(before: &Lifecycle, after: &Lifecycle) -> Option<&'static str> {
    match (before, after) {
        (_, Lifecycle::Crashed { .. }) | (Lifecycle::Suspending, Lifecycle::Running) => Some("failed"),
        (Lifecycle::Resuming, Lifecycle::Suspended) => Some("failed"),
        (Lifecycle::Starting | Lifecycle::Resuming, Lifecycle::Running) => Some("ok"),
        (Lifecycle::Suspending, Lifecycle::Suspended) => Some("ok"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(of: &Durations, result: &'static str) -> u64 {
        let mut registry = prometheus_client::registry::Registry::default();
        registry.register("seen", "seen", of.clone());
        let mut text = String::new();
        prometheus_client::encoding::prometheus_text::encode(&mut text, &registry).unwrap();
        let line = format!("seen_count{{result=\"{result}\"}} ");
        text.lines().find_map(|text| text.strip_prefix(&line)).unwrap().parse().unwrap()
    }

    #[test]
    fn ways_are_timed_that_end_and_crashes_are_counted_by_their_kind_alone() {
        use Lifecycle::{Crashed, Queued, Resuming, Running, Starting, Suspended, Suspending};
        let meter = Meter::default();
        let way = |states: &[Lifecycle]| states.windows(2).for_each(|two| meter.changed("a", &two[0], &two[1]));
        way(&[Queued, Starting, Running, Suspending, Running, Suspending, Suspended, Resuming, Running]);
        let by = "its own \u{1b}[31mwords".into();
        let cause = Cause::QemuKilled { signal: 9, by };
        way(&[Running, Suspending, Crashed { cause }, Queued, Starting, Queued]);
        let [starts, suspends, resumes, _] = meter.durations();
        let all = [(starts, "ok"), (starts, "failed"), (suspends, "ok"), (suspends, "failed"), (resumes, "ok")];
        assert_eq!(all.map(|(of, result)| seen(of, result)), [1, 0, 1, 2, 1]);
        assert_eq!(meter.crashes().get_or_create(&[("cause", "qemu-killed".into())]).get(), 1);
        assert!(meter.under_way().is_empty());
        way(&[Queued, Starting]);
        meter.forget("a");
        assert!(meter.under_way().is_empty(), "whoever is deleted on the way is forgotten");
    }
}
