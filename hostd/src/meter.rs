//! What meters are made of: counters and histograms that whoever does something has beside itself, and that [`crate::metrics`]
//! shows. Labels are words of the code, so that nothing that a guest says makes another series.

use prometheus_client::metrics::{
    counter::Counter,
    family::Family,
    histogram::{Histogram, exponential_buckets},
};

/// One label and its value.
pub(crate) type Labels = [(&'static str, &'static str); 1];
/// Counters by one label.
pub(crate) type Counts = Family<Labels, Counter>;
/// Histograms of seconds by one label.
pub(crate) type Durations = Family<Labels, Histogram, fn() -> Histogram>;

/// Counters of this label, each of whose known values is shown from the beginning: an increase from nothing is one, too.
pub(crate) fn counts(label: &'static str, values: &[&'static str]) -> Counts {
    let counts = Counts::default();
    for value in values {
        drop(counts.get_or_create(&[(label, *value)]));
    }
    counts
}

/// The same of histograms, made by this function.
pub(crate) fn durations(label: &'static str, values: &[&'static str], make: fn() -> Histogram) -> Durations {
    let durations = Durations::new_with_constructor(make);
    for value in values {
        drop(durations.get_or_create(&[(label, *value)]));
    }
    durations
}

/// A histogram of what takes a VM's time: 50 ms to 102 s.
pub(crate) fn of_vms() -> Histogram {
    Histogram::new(exponential_buckets(0.05, 2.0, 12))
}

/// A histogram of what takes a disk's time: 0.5 ms to 16 s.
pub(crate) fn of_disks() -> Histogram {
    Histogram::new(exponential_buckets(0.000_5, 2.0, 16))
}
