//! What a session's VM took in the last minutes that it ran: kept for whoever wants to know what led to its end.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use hostd_core::UnixMillis;

/// Milliseconds between two samples.
const EVERY: UnixMillis = 5000;
/// Most samples that are kept of a VM: ten minutes.
const KEPT: usize = 120;

/// What a VM took at one time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// When it was taken.
    pub at: UnixMillis,
    /// Memory of the host that is the VM's alone, in bytes.
    pub memory: u64,
    /// Processor time since the sample before, in percent of one processor.
    pub cpu: u32,
    /// What the layer that the VM writes to takes of the host's disk, in bytes.
    pub disk: u64,
    /// Memory that the guest was last seen to have left, in bytes; 0: not known.
    pub guest_memory_left: u64,
    /// What the guest's disk was last seen to have left, in bytes; 0: not known.
    pub guest_disk_left: u64,
}

/// The last samples of a session's VM.
#[derive(Debug, Default)]
pub(super) struct Samples(Mutex<Ring>);

#[derive(Debug, Default)]
struct Ring {
    /// Which life of the session they are of.
    generation: u64,
    /// Processor time that the VM had taken by the last sample.
    taken: Duration,
    kept: VecDeque<Sample>,
}

impl Samples {
    /// All that are kept, the oldest first.
    pub(super) fn all(&self) -> Vec<Sample> {
        self.with(|ring| ring.kept.iter().copied().collect())
    }

    fn with<T>(&self, use_it: impl FnOnce(&mut Ring) -> T) -> T {
        use_it(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether there is none from the last moments.
    pub(super) fn is_due(&self, now: UnixMillis) -> bool {
        self.with(|ring| ring.kept.back().is_none_or(|last| now.saturating_sub(last.at) >= EVERY))
    }

    /// Adds a sample of the VM of this life, which has taken so much processor time in all.
    pub(super) fn add(&self, generation: u64, sample: Sample, taken: Duration) {
        self.with(|ring| {
            if ring.generation != generation {
                *ring = Ring { generation, ..Ring::default() };
            }
            let cpu = ring.kept.back().map_or(0, |last| {
                let millis = u128::try_from(sample.at.saturating_sub(last.at)).unwrap_or(0).max(1);
                let percent = taken.saturating_sub(ring.taken).as_millis() * 100 / millis;
                u32::try_from(percent).unwrap_or(u32::MAX)
            });
            ring.taken = taken;
            ring.kept.push_back(Sample { cpu, ..sample });
            ring.kept.drain(..ring.kept.len().saturating_sub(KEPT));
        });
    }

    /// Gives their memory back: what they are of did not end badly.
    pub(super) fn forget(&self) {
        self.with(|ring| {
            if ring.kept.capacity() > 0 {
                *ring = Ring::default();
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(at: UnixMillis) -> Sample {
        Sample { at, memory: 1, ..Sample::default() }
    }

    #[test]
    fn the_last_minutes_are_kept_of_one_life() {
        let samples = Samples::default();
        assert!(samples.is_due(0));
        for number in 0..200_u32 {
            samples.add(1, at(i64::from(number) * EVERY), Duration::from_millis(2500) * number);
        }
        let all = samples.all();
        assert_eq!((all.len(), all[0].at, all[0].cpu, all[119].cpu), (KEPT, 80 * EVERY, 50, 50));
        assert!(!samples.is_due(199 * EVERY + 4999) && samples.is_due(200 * EVERY));
        samples.add(2, at(1_000_000), Duration::ZERO);
        assert_eq!(samples.all(), [at(1_000_000)], "another life begins anew");
        samples.forget();
        assert_eq!(samples.with(|ring| ring.kept.capacity()), 0);
    }
}
