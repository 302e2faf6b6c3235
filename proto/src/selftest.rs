//! What a guest's `session self-test look` prints, as JSON, and hostd's self-test reads.

use serde::{Deserialize, Serialize};

/// How a guest stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// Nanoseconds since 1970, the last thing that was looked at.
    pub realtime: u64,
    /// Nanoseconds that CLOCK_MONOTONIC counts.
    pub monotonic: u64,
    /// What a sleep of 50 ms took, in microseconds.
    pub nap: u64,
    /// What the guest's kernel keeps its time by.
    pub clocksource: String,
    /// Of the kernel's log, lines that tell of trouble with time or processors.
    pub trouble: Vec<String>,
    /// The threads of its watch, one for each processor.
    pub threads: Vec<Thread>,
}

/// A thread of the watch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Thread {
    /// The processor that it is bound to.
    pub cpu: u32,
    /// How often it has compared its registers.
    pub turns: u64,
    /// How often one held something else than was put there.
    pub broken: u64,
    /// avx or sse: what its patterns are in.
    pub registers: String,
}
