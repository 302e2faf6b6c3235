//! How simulated guests live.

use std::{ops::RangeInclusive, time::Duration};

/// Options of simulated guests' lives.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Seed of all randomness: the same seed gives the same lives.
    pub seed: u64,
    /// Time from the start of a VM to a guest that answers.
    pub boot: RangeInclusive<Duration>,
    /// Share of starts that fail, 0 to 1.
    pub start_failure: f64,
    /// Share of VMs that die by themselves, 0 to 1.
    pub death: f64,
    /// Time from its start after which such a VM dies.
    pub death_after: RangeInclusive<Duration>,
    /// What the guests' agents do.
    pub script: Script,
}

/// What a simulated agent does: prints lines, says now and then what it is doing, may ask something, and ends.
#[derive(Clone, Debug, PartialEq)]
pub struct Script {
    /// Number of lines that the agent prints.
    pub lines: RangeInclusive<u32>,
    /// Pause between two lines.
    pub pause: RangeInclusive<Duration>,
    /// Share of agents that ask a person something half-way, 0 to 1.
    pub asks: f64,
    /// Share of agents that fail in the end, 0 to 1.
    pub fails: f64,
}

impl Default for Options {
    fn default() -> Self {
        let millis = Duration::from_millis;
        Self {
            seed: 1,
            boot: millis(50)..=millis(400),
            start_failure: 0.0,
            death: 0.0,
            death_after: millis(1000)..=millis(60_000),
            script: Script { lines: 20..=200, pause: millis(100)..=millis(3000), asks: 0.3, fails: 0.1 },
        }
    }
}
