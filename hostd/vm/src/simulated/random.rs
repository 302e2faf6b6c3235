//! Randomness by a seed.

use std::{ops::RangeInclusive, time::Duration};

/// Numbers that look random and are the same for the same seed, on every machine and with every version (`SplitMix64`).
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    /// The numbers of one life of one VM.
    pub(super) fn of(seed: u64, name: &str, start: u64) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&seed.to_le_bytes()).update(&start.to_le_bytes()).update(name.as_bytes());
        let mut first = [0; 8];
        hasher.finalize_xof().fill(&mut first);
        Self(u64::from_le_bytes(first))
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`; 0 for 0.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.next().checked_rem(bound).unwrap_or(0)
    }

    /// One of these words; empty: there are none.
    pub(super) fn choose<'a>(&mut self, among: &[&'a str]) -> &'a str {
        let index = usize::try_from(self.below(among.len() as u64)).unwrap_or(0);
        among.get(index).copied().unwrap_or_default()
    }

    /// True in this share of cases, 0 to 1.
    pub(super) fn chance(&mut self, share: f64) -> bool {
        const STEPS: u64 = 1 << 32;
        #[expect(clippy::cast_precision_loss, reason = "both are below 2^53")]
        let drawn = self.below(STEPS) as f64 / STEPS as f64;
        drawn < share
    }

    pub(super) fn duration(&mut self, range: &RangeInclusive<Duration>) -> Duration {
        let width = range.end().saturating_sub(*range.start());
        let nanos = u64::try_from(width.as_nanos()).unwrap_or(u64::MAX - 1);
        *range.start() + Duration::from_nanos(self.below(nanos + 1))
    }

    pub(super) fn number(&mut self, range: &RangeInclusive<u32>) -> u32 {
        let width = u64::from(range.end().saturating_sub(*range.start()));
        range.start() + u32::try_from(self.below(width + 1)).unwrap_or(0)
    }
}
