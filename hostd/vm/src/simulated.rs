//! Virtual machines without a machine: guests in this process that serve `guest.v1`, with seeded latencies and faults.
//!
//! For thousands of sessions on a laptop, for load tests of the console, and for deterministic tests: the same seed gives
//! each VM of the same name the same life. Nothing that is run in them runs; it is labelled on screen by its name.

mod agent;
mod cause;
mod exec;
mod guest;
mod machine;
mod options;
mod random;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use machine::{Machine, no_memory};
pub use options::{Options, Script};
use random::Random;

use crate::{Vm, VmError, VmSpec, Vmm, VmmInfo};

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

    async fn end_orphan(&self, _: &Path) -> Result<bool, VmError> {
        Ok(false)
    }
}
