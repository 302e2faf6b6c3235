//! Virtual machines without a machine: guests in this process that serve `guest.v1`, with seeded latencies and faults.
//!
//! For thousands of sessions on a laptop, for load tests of the console, and for deterministic tests: the same seed gives
//! each VM of the same name the same life. Nothing that is run in them runs; it is labelled on screen by its name.

mod agent;
mod exec;
mod guest;
mod machine;
mod random;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use hostd_core::session::Cause;

use super::{Vm, VmError, VmSpec, Vmm, VmmInfo, snapshot::SnapshotError};
use machine::Machine;
use random::Random;

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

/// Makes simulated VMs.
#[derive(Debug)]
pub struct Simulated {
    options: Options,
    /// Number of starts of each name so far: each start of a session is another life.
    starts: Mutex<HashMap<String, u64>>,
}

impl Simulated {
    /// Makes VMs that live as `options` say.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self { options, starts: Mutex::default() }
    }

    fn random(&self, name: &str) -> Random {
        let mut starts = self.starts.lock().unwrap_or_else(PoisonError::into_inner);
        let start = starts.entry(name.into()).or_default();
        *start += 1;
        Random::of(self.options.seed, name, *start)
    }
}

#[async_trait]
impl Vmm for Simulated {
    fn info(&self) -> VmmInfo {
        VmmInfo {
            name: "simulated",
            accelerator: "none",
            accelerator_reason: "nothing is run: guests and their agents are made up".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            kernel: guest::KERNEL.into(),
            problems: vec![],
            warnings: vec![],
        }
    }

    async fn prepare(&self, _: &(dyn Fn(String) + Send + Sync)) -> Result<(), VmError> {
        Ok(())
    }

    async fn create_disk(&self, disk: &Path, _: u64) -> Result<(), VmError> {
        let written = tokio::fs::write(disk, "A simulated VM has no disk.\n").await;
        written.map_err(|error| VmError::File { path: disk.into(), error })
    }

    async fn merge(&self, _: &[PathBuf], _: usize, to: &Path, bytes: u64) -> Result<(), VmError> {
        self.create_disk(to, bytes).await
    }

    async fn start(&self, spec: VmSpec) -> Result<Arc<dyn Vm>, VmError> {
        let mut random = self.random(&spec.name);
        if random.chance(self.options.start_failure) {
            return Err(VmError::Failed { program: "the simulation".into(), output: "this start was to fail".into() });
        }
        Ok(Arc::new(Machine::start(&self.options, &spec.name, random)))
    }

    async fn resume(&self, _: VmSpec, snapshot: &Path) -> Result<Arc<dyn Vm>, VmError> {
        Err(no_memory(snapshot))
    }

    async fn end_leftover(&self, _: &Path) -> Result<bool, VmError> {
        Ok(false)
    }
}

fn no_memory(folder: &Path) -> VmError {
    SnapshotError::Refused { path: folder.into(), why: "simulated VMs have no memory that could be kept".into() }.into()
}

fn died() -> Cause {
    Cause::VmDied("the simulation let it die".into())
}
