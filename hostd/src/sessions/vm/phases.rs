//! How long the parts of a start took.

use std::time::Duration;

use pilothouse_proto::guest::v1::HandshakeResponse;
use tokio::time::Instant;

use crate::store::Phase;

/// Parts of a guest's boot that are believed.
const BOOT_STEPS: usize = 16;

/// Takes the time of the parts of a start.
pub(super) struct Clock {
    last: Instant,
    /// Whether the guest boots: a clone tells of its template's boot.
    pub(super) boots: bool,
    pub(super) phases: Vec<Phase>,
}

impl Clock {
    pub(super) fn new() -> Self {
        Self { last: Instant::now(), boots: true, phases: vec![] }
    }

    pub(super) fn phase(&mut self, name: &str) {
        let micros = micros(self.last.elapsed());
        self.last = Instant::now();
        self.phases.push(Phase { name: name.into(), micros });
    }

    /// The time since the VM was started, in the parts that the guest tells, and what is left of it as `handshake`.
    pub(super) fn boot(&mut self, handshake: &HandshakeResponse) {
        let whole = micros(self.last.elapsed());
        let mut before = 0;
        for step in handshake.boot.iter().take(BOOT_STEPS).filter(|_| self.boots) {
            let until = step.uptime_micros.clamp(before, whole.max(before));
            let name = hostd_core::text::slug(&step.name, 24);
            self.phases.push(Phase { name, micros: until - before });
            before = until;
        }
        self.last = Instant::now();
        self.phases.push(Phase { name: "handshake".into(), micros: whole.saturating_sub(before) });
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
