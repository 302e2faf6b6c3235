//! How a supervisor has its session forked: see [`crate::sessions::vm::fork`].

use std::ops::ControlFlow;

use hostd_core::{Cause, Input, session::NewFork};
use tokio::task::JoinError;

use super::{
    Supervisor,
    under_way::{Forking, Stage, Step, stepped},
};
use crate::{
    sessions::{
        disk::folder::freeze,
        error::FleetError,
        message::Answer,
        vm::{
            fork::{Draft, Parted, part},
            resume::{Awake, run_on},
        },
    },
    store::{Owed, Record},
};

/// Forks of one session that wait at a time.
const FORKS_MAX: usize = 16;

impl Supervisor {
    /// It begins when its turn comes.
    pub(super) fn want_fork(&mut self, new: NewFork, answer: Answer) {
        // Whoever has given up waiting wants none.
        self.forks.retain(|(_, answer)| !answer.is_closed());
        if self.forks.len() < FORKS_MAX {
            self.forks.push_back((new, answer));
        } else {
            let why = format!("{FORKS_MAX} forks of it wait for its disk's layers to be merged; try again later");
            let _ = answer.send(Err(FleetError::NotForked(why)));
        }
    }

    /// Begins the forks that are wanted, one after the other. None of a VM that runs begins while its layers are merged: each
    /// puts one more on its disk, and the chain is not to grow faster than it is made short.
    pub(super) async fn look_at_forks(&mut self) {
        while !(self.session().moves() || self.running.is_some() && self.merging.is_some())
            && let Some((new, answer)) = self.forks.pop_front()
        {
            if !answer.is_closed() {
                self.fork(new, answer).await;
            }
        }
    }

    async fn fork(&mut self, new: NewFork, answer: Answer) {
        if let Err(error) = self.feed(Input::Fork).await {
            let _ = answer.send(Err(error));
            return;
        }
        let draft = {
            let folder = self.ctx.folder(&new.id);
            Draft::of(new, folder)
        };
        if !self.session().forking {
            let _ = answer.send(self.fork_suspended(&draft).await);
            return;
        }
        let Some(running) = self.running.take() else {
            // Its end is about to be reported.
            let _ = answer.send(Err(FleetError::NotForked("its VM has just ended".into())));
            return;
        };
        self.handle.live.send_replace(None);
        let task = tokio::spawn(part(self.site.clone(), running, draft.clone()));
        self.forking = Some(Forking { draft, answer, stage: Stage::Parts(task) });
    }

    /// Nothing else happens to the session meanwhile: its files are linked in no time.
    async fn fork_suspended(&self, draft: &Draft) -> Result<(), FleetError> {
        let original = self.handle.record.borrow().clone();
        let result = match draft.of_suspended(&self.site.folder, &original).await {
            Ok((fork, effects)) => {
                let owed = self.ctx.store.add(&fork, effects).await;
                owed.map(|owed| (fork, owed)).map_err(FleetError::from)
            }
            Err(error) => Err(FleetError::NotForked(error.to_string())),
        };
        self.made(draft, result).await
    }

    /// The fork begins its own life, or nothing of it is left.
    async fn made(&self, draft: &Draft, fork: Result<(Record, Vec<Owed>), FleetError>) -> Result<(), FleetError> {
        match fork {
            Ok((fork, owed)) => {
                draft.done().await;
                self.all.spawn(fork, owed);
                Ok(())
            }
            Err(error) => {
                draft.undo().await;
                Err(error)
            }
        }
    }

    pub(super) async fn fork_stepped(&mut self, step: Step) -> ControlFlow<()> {
        let Some(forking) = self.forking.take() else { return ControlFlow::Continue(()) };
        let awake = match step {
            Step::Parted(parted) => {
                self.forking = Some(self.parted(*parted, forking).await);
                return ControlFlow::Continue(());
            }
            Step::Awake(awake) => awake,
            Step::Panicked(error) => self.lost(&error).await,
        };
        let input = self.awake(awake, forking).await;
        self.report(input).await
    }

    async fn lost(&self, error: &JoinError) -> Awake {
        Awake::Ended(Cause::VmDied(self.after_panic(error).await))
    }

    /// Both records are committed, and the VM goes on: whatever becomes of the fork, it writes to its new layer.
    async fn parted(&mut self, parted: Parted, forking: Forking) -> Forking {
        let Forking { draft, answer, .. } = forking;
        let original = self.pivoted(&parted);
        let result = match draft.of_parted(&self.site.folder, &original, &parted).await {
            Ok((fork, effects)) => {
                fail::fail_point!("fork::before-commit");
                let owed = self.ctx.store.fork(&original, &fork, effects).await;
                owed.map(|owed| (fork, owed)).map_err(FleetError::from)
            }
            Err(error) => Err(FleetError::NotForked(error.to_string())),
        };
        fail::fail_point!("fork::after-commit");
        let result = self.made(&draft, result).await;
        if let Some(layer) = original.machine.layers.last()
            && let Err(error) = freeze(layer).await
        {
            tracing::warn!(slug = original.session.slug, %error, "a frozen layer kept its rights");
        }
        let site = self.site.clone();
        let Parted { guest, generation, .. } = parted;
        let task = tokio::spawn(async move { run_on(&site, &original, generation, guest, String::new()).await });
        Forking { draft, answer, stage: Stage::GoesOn(task, result) }
    }

    /// What the session is made from now.
    fn pivoted(&self, parted: &Parted) -> Record {
        let mut record = Record::clone(&self.handle.record.borrow());
        let below = self.site.folder.layer(&record.machine.disk);
        record.machine.layers.push(below);
        record.machine.disk.clone_from(&parted.top);
        self.change(record.machine.clone());
        record
    }

    /// The VM goes on, or is gone; whoever asked is told of the fork.
    async fn awake(&mut self, awake: Awake, forking: Forking) -> Input {
        let Forking { draft, answer, stage } = forking;
        let (input, why) = match awake {
            Awake::Runs { running, why } => {
                self.handle.live.send_replace(Some(running.live.clone()));
                self.running = Some(running);
                (Input::Forked, why)
            }
            Awake::Ended(cause) => {
                let why = cause.to_string();
                (Input::VmEnded { generation: self.session().generation, cause }, why)
            }
        };
        let result = match stage {
            Stage::GoesOn(_, result) => result,
            Stage::Parts(_) => {
                draft.undo().await;
                Err(FleetError::NotForked(why))
            }
        };
        let _ = answer.send(result);
        input
    }

    /// Brings a fork under way to its end without one more session: its session is about to end.
    pub(super) async fn settle_fork(&mut self) {
        while let Some(mut forking) = self.forking.take() {
            let awake = match stepped(Some(&mut forking)).await {
                Step::Awake(awake) => awake,
                Step::Panicked(error) => self.lost(&error).await,
                Step::Parted(parted) => {
                    let original = self.pivoted(&parted);
                    let Parted { guest, generation, .. } = *parted;
                    let why = "the session is about to end".into();
                    run_on(&self.site, &original, generation, guest, why).await
                }
            };
            let input = self.awake(awake, forking).await;
            // What it would ask for is not done any more.
            if let Err(error) = self.feed(input).await {
                tracing::error!(slug = self.session().slug, %error, "the end of a fork was not taken");
            }
        }
    }
}
