//! How fast the host's time stamp counter runs.
//!
//! Under TCG the guest's counter is the host's. A guest kernel that is told its rate need not calibrate it against an
//! emulated timer, which hangs for ever on a busy host.

use std::time::{Duration, Instant};

use tokio::sync::OnceCell;

/// Least time between the two samples: after a shorter one the reading of the clocks would show in the result.
const BASELINE: Duration = Duration::from_millis(100);
/// Rates that make sense, in kHz; one beyond is a fault of the measurement.
const SANE_KHZ: std::ops::RangeInclusive<u64> = 100_000..=20_000_000;

/// A measurement, made once; an error would become drift of the guest's clock, so the longer since [`Tsc::start`], the better.
#[derive(Debug)]
pub(super) struct Tsc {
    first: Option<Sample>,
    khz: OnceCell<Option<u64>>,
}

/// Readings of both clocks at one moment.
#[derive(Clone, Copy, Debug)]
struct Sample {
    ticks: u64,
    nanos: u64,
}

impl Tsc {
    /// Takes the first sample.
    pub(super) fn start() -> Self {
        Self { first: sample(), khz: OnceCell::new() }
    }

    /// Rate of the counter in kHz; None where there is no counter or it makes no sense.
    pub(super) async fn khz(&self) -> Option<u64> {
        *self.khz.get_or_init(|| self.measure()).await
    }

    async fn measure(&self) -> Option<u64> {
        let first = self.first?;
        let until = Duration::from_nanos(first.nanos) + BASELINE;
        let now = Duration::from_nanos(sample()?.nanos);
        if let Some(rest) = until.checked_sub(now) {
            tokio::time::sleep_until((Instant::now() + rest).into()).await;
        }
        rate(first, sample()?)
    }
}

fn rate(first: Sample, last: Sample) -> Option<u64> {
    let ticks = u128::from(last.ticks.checked_sub(first.ticks)?);
    let nanos = u128::from(last.nanos.checked_sub(first.nanos)?);
    // ticks per millisecond, rounded
    let khz = u64::try_from((ticks * 1_000_000 + nanos / 2).checked_div(nanos)?).ok()?;
    SANE_KHZ.contains(&khz).then_some(khz)
}

/// Reads both clocks, as closely together as ten tries give.
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
fn sample() -> Option<Sample> {
    let ticks = || {
        // SAFETY: reads a counter that every x86_64 processor has; where the kernel forbids it the process is killed, and
        // Linux forbids it only to those who asked (PR_SET_TSC).
        unsafe { std::arch::x86_64::_rdtsc() }
    };
    (0..10)
        .filter_map(|_| {
            let before = ticks();
            let now = rustix::time::clock_gettime(rustix::time::ClockId::MonotonicRaw);
            let after = ticks();
            let nanos =
                u64::try_from(now.tv_sec).ok()?.checked_mul(1_000_000_000)? + u64::try_from(now.tv_nsec).ok()?;
            let width = after.checked_sub(before)?;
            Some((width, Sample { ticks: before + width / 2, nanos }))
        })
        .min_by_key(|&(width, _)| width)
        .map(|(_, sample)| sample)
}

#[cfg(not(target_arch = "x86_64"))]
fn sample() -> Option<Sample> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn computes_rates() {
        let at = |ticks, nanos| Sample { ticks, nanos };
        assert_eq!(rate(at(1000, 0), at(1000 + 230_000_000, 100_000_000)), Some(2_300_000));
        assert_eq!(rate(at(0, 0), at(1, 100_000_000)), None, "stands still");
        assert_eq!(rate(at(5, 0), at(1, 100)), None, "runs backwards");
        assert_eq!(rate(at(5, 7), at(9, 7)), None, "no time between");
    }

    #[cfg(target_arch = "x86_64")]
    #[tokio::test]
    async fn two_measurements_agree() {
        let (one, two) = (Tsc::start().khz().await.unwrap(), Tsc::start().khz().await.unwrap());
        assert!(one.abs_diff(two) < one / 1000, "{one} and {two}");
    }
}
