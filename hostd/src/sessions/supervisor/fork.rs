//! How a supervisor has its session forked: see [`crate::sessions::vm::fork`].

use std::ops::ControlFlow;

use hostd_core::{Actor, Cause, Input, session::NewFork};
use tokio::task::JoinError;
use tracing::Instrument as _;

use super::{
    Supervisor,
    under_way::{Forking, Stage, Step, stepped},
};
use crate::{
    guest_vm::GuestVm,
    sessions::{
        disk::folder::freeze,
        error::FleetError,
        message::Answer,
        vm::{
            fork::{Draft, Parted, part},
            resume::{Awake, run_on},
            site::Site,
        },
    },
    store::{Machine, OutboxEntry, Record},
};

/// Most forks of one session that wait at a time.
const FORKS_MAX: usize = 16;

/// A fork's record with its first effects.
type NewRecord = (Record, Vec<OutboxEntry>);

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

    /// Begins the forks that are wanted, one after the other. None of a VM begins before that is this hostd's, and none of one that
    /// runs while its layers are merged: each puts one more on its disk, and the chain is not to grow faster than it is made short.
    pub(super) async fn look_at_forks(&mut self) {
        let busy = |it: &Self| it.adopting.is_some() || it.running.is_some() && it.merging.is_some();
        while !(self.session().moves() || busy(self))
            && let Some((new, answer)) = self.forks.pop_front()
        {
            if !answer.is_closed() {
                self.fork(new, answer).await;
            }
        }
    }

    async fn fork(&mut self, new: NewFork, answer: Answer) {
        if let Err(error) = self.obey(&Actor::Host, Input::Fork).await {
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
        let task = tokio::spawn(part(self.site.clone(), running, draft.clone()).instrument(self.span.clone()));
        self.forking = Some(Forking { draft, answer: Some(answer), stage: Stage::Parts(task) });
    }

    /// Nothing else happens to the session meanwhile: its files are linked in no time.
    async fn fork_suspended(&self, draft: &Draft) -> Result<(), FleetError> {
        let original = self.handle.record.borrow().clone();
        let result = match draft.of_suspended(&self.site.folder, &original).await {
            Ok((fork, effects)) => {
                let entries = self.ctx.store.add(&fork, effects).await;
                entries.map(|entries| (fork, entries)).map_err(FleetError::from)
            }
            Err(error) => Err(FleetError::NotForked(error.to_string())),
        };
        self.made(draft, result).await
    }

    /// The fork begins its own life, or nothing of it is left.
    async fn made(&self, draft: &Draft, fork: Result<NewRecord, FleetError>) -> Result<(), FleetError> {
        match fork {
            Ok((fork, entries)) => {
                draft.done().await;
                self.all.spawn(fork, entries, None);
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
                self.forking = self.parted(*parted, forking).await;
                return ControlFlow::Continue(());
            }
            Step::Awake(awake) => awake,
            Step::Panicked(error) => self.lost(&error).await,
        };
        match self.awake(awake, forking).await {
            Some(input) => self.report(input).await,
            None => ControlFlow::Continue(()),
        }
    }

    async fn lost(&self, error: &JoinError) -> Awake {
        Awake::Ended(Cause::VmDied(self.after_panic(error).await))
    }

    /// Both records are committed, or the session's alone where there can be no fork; only then its VM goes on, for its new layer
    /// has a name that lasts. None: it is left to the next hostd, which takes it over with that layer.
    async fn parted(&mut self, parted: Parted, mut forking: Forking) -> Option<Forking> {
        let machine = self.pivoted(&parted);
        let original = Record { session: self.session(), machine };
        let draft = forking.draft.clone();
        let (kept, result) = match self.commit_fork(&draft, &original, &parted).await {
            Ok(fork) => {
                self.publish(original.clone());
                (true, self.made(&draft, Ok(fork)).await)
            }
            Err(error) => {
                // They need not wait until the store can be written.
                forking.answer.take().map(|answer| answer.send(Err(error)));
                let kept = self.keep(original.machine.clone()).await.is_ok();
                if kept || self.session().deleting {
                    draft.undo().await;
                }
                (kept, Ok(()))
            }
        };
        fail::fail_point!("fork::after-commit");
        let (site, Parted { guest, generation, .. }) = (self.site.clone(), parted);
        let going = async move {
            if kept { goes_on(&site, &original, generation, guest, String::new()).await } else { given_up(guest).await }
        };
        let task = tokio::spawn(going.instrument(self.span.clone()));
        Some(Forking { stage: Stage::GoesOn(task, result), ..forking })
    }

    async fn commit_fork(&self, draft: &Draft, original: &Record, parted: &Parted) -> Result<NewRecord, FleetError> {
        let linked = draft.of_parted(&self.site.folder, original, parted).await;
        let (fork, effects) = linked.map_err(|error| FleetError::NotForked(error.to_string()))?;
        fail::fail_point!("fork::before-commit");
        let entries = self.ctx.store.fork(original, &fork, effects).await?;
        Ok((fork, entries))
    }

    /// What the session is made from once that is committed.
    fn pivoted(&self, parted: &Parted) -> Machine {
        let mut machine = self.machine();
        machine.layers.push(self.site.folder.layer(&machine.disk));
        machine.disk.clone_from(&parted.top);
        machine
    }

    /// The VM goes on, or is gone; whoever asked is told of the fork. None: hostd ends, and it is the next one's.
    async fn awake(&mut self, awake: Awake, forking: Forking) -> Option<Input> {
        let Forking { draft, answer, stage } = forking;
        let (input, why) = match awake {
            Awake::Left => (None, FleetError::Stopping.to_string()),
            Awake::Runs { running, why } => {
                self.handle.live.send_replace(Some(running.live.clone()));
                self.running = Some(running);
                (Some(Input::Forked), why)
            }
            Awake::Ended(cause) => {
                let why = cause.to_string();
                (Some(Input::VmEnded { generation: self.session().generation, cause }), why)
            }
        };
        let result = match stage {
            Stage::GoesOn(_, result) => result,
            Stage::Parts(_) => {
                draft.undo().await;
                Err(FleetError::NotForked(why))
            }
        };
        answer.map(|answer| answer.send(result));
        input
    }

    /// Brings a fork under way to its end without one more session: its session is about to end. A VM whose new layer gets no name
    /// that lasts is ended, or, where hostd leaves its VMs, left to the next one. Cut off, it leaves nothing but a VM, which ends
    /// by itself where it is not left.
    pub(super) async fn settle_fork(&mut self) {
        while let Some(mut forking) = self.forking.take() {
            let awake = match stepped(Some(&mut forking)).await {
                Step::Awake(awake) => awake,
                Step::Panicked(error) => self.lost(&error).await,
                Step::Parted(parted) => match self.keep(self.pivoted(&parted)).await {
                    Ok(original) => {
                        let Parted { guest, generation, .. } = *parted;
                        goes_on(&self.site, &original, generation, guest, "the session is about to end".into()).await
                    }
                    Err(_) => given_up(parted.guest).await,
                },
            };
            let input = self.awake(awake, forking).await;
            // What it would ask for is not done any more.
            if let Some(input) = input
                && let Err(error) = self.feed(input).await
            {
                tracing::error!(slug = self.session().slug, %error, "the end of a fork was not taken");
            }
        }
    }
}

/// A VM goes on above the layer that it wrote to before, which nobody writes to any more.
async fn goes_on(site: &Site, original: &Record, generation: u64, guest: GuestVm, why: String) -> Awake {
    if let Some(layer) = original.machine.layers.last()
        && let Err(error) = freeze(layer).await
    {
        tracing::warn!(slug = original.session.slug, %error, "a frozen layer kept its rights");
    }
    run_on(site, original, generation, guest, why).await
}

/// Gives up a VM whose new layer got no name that lasts. It has written nothing to it, and all that it had synced is below.
async fn given_up(guest: GuestVm) -> Awake {
    if guest.give_up().await { Awake::Ended(Cause::HostStopped { in_order: false }) } else { Awake::Left }
}
