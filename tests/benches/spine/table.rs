//! Samples and how they are printed.

use std::time::{Duration, Instant};

/// How often a round trip is measured.
pub(crate) const SAMPLES: usize = 400;

/// Times of one thing, sorted.
pub(crate) struct Samples(Vec<Duration>);

impl Samples {
    pub(crate) fn new(mut times: Vec<Duration>) -> Self {
        times.sort();
        Self(times)
    }

    pub(crate) fn median(&self) -> Duration {
        self.0[self.0.len() / 2]
    }

    fn ninety_fifth(&self) -> Duration {
        self.0[self.0.len() * 95 / 100]
    }
}

/// Times `once` again and again, after a few unmeasured ones.
pub(crate) fn sample(mut once: impl FnMut(usize)) -> Samples {
    (0..10).for_each(&mut once);
    let time = |number| {
        let began = Instant::now();
        once(number);
        began.elapsed()
    };
    Samples::new((0..SAMPLES).map(time).collect())
}

/// Prints a round trip and how it compares with its peer's.
pub(crate) fn round_trip(what: &str, ours: &Samples, peer: &str, theirs: &Samples) {
    println!(
        "{what:42} {:>9.2?} (95 %: {:>9.2?})   {:5.2} x  {peer}, {:.2?}",
        ours.median(),
        ours.ninety_fifth(),
        ours.median().as_secs_f64() / theirs.median().as_secs_f64(),
        theirs.median()
    );
}

/// Prints a throughput and how it compares with its peer's.
pub(crate) fn throughput(what: &str, bytes: usize, ours: Duration, peer: &str, theirs: Duration) {
    #[allow(clippy::cast_precision_loss)] // megabytes
    let rate = |time: Duration| bytes as f64 / 1e6 / time.as_secs_f64();
    println!(
        "{what:42} {:>6.1} MB/s                    {:5.2} x  {peer}, {:.1} MB/s",
        rate(ours),
        rate(ours) / rate(theirs),
        rate(theirs)
    );
}
