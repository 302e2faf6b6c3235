//! What a guest's `session self-test look` prints, as JSON, and hostd's self-test reads.

use serde::{Deserialize, Serialize};

/// State of a guest, as `look` prints it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// Wall clock in nanoseconds since 1970, the last thing that was looked at.
    pub realtime: u64,
    /// CLOCK_MONOTONIC, in nanoseconds.
    pub monotonic: u64,
    /// Time that a sleep of 50 ms took, in microseconds.
    pub nap: u64,
    /// What the guest's kernel keeps its time by.
    pub clocksource: String,
    /// Lines of the kernel's log that tell of trouble with time or processors.
    pub trouble: Vec<String>,
    /// The threads of the watch, one for each processor.
    pub threads: Vec<Thread>,
}

/// A thread of the watch, bound to a processor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Thread {
    /// Number of the processor that the thread is bound to.
    pub cpu: u32,
    /// How often the thread has compared its registers.
    pub turns: u64,
    /// How often a register held something else than was put there.
    pub broken: u64,
    /// Registers that the thread holds: avx or sse.
    pub registers: String,
}
