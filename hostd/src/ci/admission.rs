//! What runs next, and the host's room for it.

use std::sync::Arc;

use hostd_core::{
    capacity::Need,
    checks::CheckState,
    ci::{self, Key, Next, Place, Queued},
};
use tokio_util::sync::CancellationToken;

use super::{Ci, Job, State};
use crate::admission::{Kind, Reservation};

/// Bytes that a run may write to its disk before others have to wait.
const SCRATCH: u64 = 256 << 20;

impl Ci {
    /// Starts runs until the plan says to wait.
    pub(super) async fn start_what_fits(self: &Arc<Self>) {
        while !self.closing.is_cancelled() {
            let (next, reservation) = self.plan();
            match (next, reservation) {
                (Next::Start(key), Some(reservation)) => self.begin(&key, reservation),
                (Next::Start(_) | Next::Nothing, _) => return,
                (Next::Refuse(key, why), _) => {
                    if let Some(run) = self.runs().remove(&key) {
                        run.log.end();
                    }
                    self.report(&key, CheckState::Errored, &why, None).await;
                }
                (Next::Wait(why), _) => return tracing::debug!(why, "CI waits"),
            }
        }
    }

    /// What is next, and the reservation of its memory.
    fn plan(&self) -> (Next<Key>, Option<Reservation>) {
        let sessions = self.deps.sessions.waiting();
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let (mut queued, mut running) = (vec![], 0);
        for (key, run) in self.runs().iter() {
            match &run.state {
                State::Queued => {
                    queued.push(Queued { key: key.clone(), order: run.order, need: need(&run.job) });
                }
                State::Running { .. } => running += 1,
                State::Lost => {}
            }
        }
        if queued.is_empty() {
            return (Next::Nothing, None);
        }
        let most = self.deps.most.unwrap_or(processors);
        self.deps.admission.decide(Kind::Ci, |room| {
            let next = ci::next(&queued, &Place { room: *room, most, running, sessions });
            let started = queued.iter().find(|run| matches!(&next, Next::Start(key) if *key == run.key));
            let memory = started.map(|run| run.need.memory);
            (next, memory)
        })
    }

    fn begin(self: &Arc<Self>, key: &Key, reservation: Reservation) {
        let cancel = CancellationToken::new();
        let mut runs = self.runs();
        let Some(run) = runs.get_mut(key) else { return };
        // What it was queued with may have been removed for a newer one.
        if let Ok(build) = self.deps.environments.ready(&run.job.build.recipe.name) {
            run.job.build = build;
        }
        run.state = State::Running { cancel: cancel.clone(), reservation };
        self.tasks.spawn(self.clone().run(key.clone(), run.job.clone(), run.log.clone(), cancel));
    }
}

fn need(job: &Job) -> Need {
    Need { memory: job.build.recipe.size.memory, disk: SCRATCH }
}
