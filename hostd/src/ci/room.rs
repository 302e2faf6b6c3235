//! What runs next, and the host's room for it.

use std::sync::Arc;

use hostd_core::{
    capacity::Need,
    checks::CheckState,
    ci::{self, Key, Next, Place, Queued},
};
use tokio_util::sync::CancellationToken;

use super::{Ci, Job, State};

/// Bytes that a run may write to its disk before others have to wait.
const SCRATCH: u64 = 256 << 20;

impl Ci {
    /// Starts runs until the plan says to wait.
    pub(super) async fn start_what_fits(self: &Arc<Self>) {
        while !self.closing.is_cancelled() {
            match self.plan() {
                Next::Start(key) => self.begin(&key),
                Next::Refuse(key, why) => {
                    if let Some(run) = self.runs().remove(&key) {
                        run.log.end();
                    }
                    self.report(&key, CheckState::Errored, &why, None).await;
                }
                Next::Wait(why) => return tracing::debug!(why, "CI waits"),
                Next::Nothing => return,
            }
        }
    }

    fn plan(&self) -> Next<Key> {
        let sessions = self.parts.sessions.waiting();
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let runs = self.runs();
        let (mut queued, mut running, mut promised, mut used) = (vec![], 0, 0, 0);
        for (key, run) in runs.iter() {
            match &run.state {
                State::Queued => {
                    queued.push(Queued { key: key.clone(), order: run.order, need: need(&run.job) });
                }
                State::Running { vm, .. } => {
                    running += 1;
                    let taken = vm.as_ref().map_or(0, |vm| vm.memory().private);
                    used += taken;
                    promised += need(&run.job).memory.saturating_sub(taken);
                }
                State::Lost => {}
            }
        }
        if queued.is_empty() {
            return Next::Nothing;
        }
        let mut room = self.parts.sessions.room();
        room.memory_promised = room.memory_promised.saturating_add(promised);
        room.memory_used = room.memory_used.saturating_add(used);
        ci::next(&queued, &Place { room, most: self.parts.most.unwrap_or(processors), running, sessions })
    }

    fn begin(self: &Arc<Self>, key: &Key) {
        let cancel = CancellationToken::new();
        let mut runs = self.runs();
        let Some(run) = runs.get_mut(key) else { return };
        // What it was queued with may have been removed for a newer one.
        if let Ok(build) = self.parts.environments.ready(&run.job.build.recipe.name) {
            run.job.build = build;
        }
        run.state = State::Running { cancel: cancel.clone(), vm: None };
        self.tasks.spawn(self.clone().run(key.clone(), run.job.clone(), run.log.clone(), cancel));
    }
}

fn need(job: &Job) -> Need {
    Need { memory: job.build.recipe.size.memory, disk: SCRATCH }
}
