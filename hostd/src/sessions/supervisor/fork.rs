//! How a supervisor has its session forked, or a checkpoint taken of it: see [`crate::sessions::vm::fork`].

use std::ops::ControlFlow;

use hostd_core::{Actor, Cause, Input};
use tokio::task::JoinError;
use tracing::Instrument as _;

use super::{
    Supervisor,
    under_way::{Checkpointed, Forking, Stage, Step, stepped},
};
use crate::{
    guest_vm::GuestVm,
    sessions::{
        disk::folder::{Folder, freeze},
        error::FleetError,
        message::Answer,
        vm::{
            checkpoint,
            fork::{Draft, Parted, Wish, part},
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

/// What was committed for a session that was brought to a stand.
struct Kept {
    /// The session as it is kept now.
    original: Record,
    /// The fork that was made; None: a checkpoint was.
    fork: Option<NewRecord>,
    /// Numbers of checkpoints that the new one has put out.
    gone: Vec<u64>,
}

impl Supervisor {
    /// It begins when its turn comes.
    pub(super) fn want_fork(&mut self, wish: Wish, answer: Answer) {
        // Whoever has given up waiting wants none.
        self.forks.retain(|(_, answer)| !answer.is_closed());
        if self.forks.len() < FORKS_MAX {
            self.forks.push_back((wish, answer));
        } else {
            let why = format!("{FORKS_MAX} forks of it wait for its disk's layers to be merged; try again later");
            let _ = answer.send(Err(wish.failed(why)));
        }
    }

    /// Begins the forks that are wanted, one after the other. None of a VM begins before that is this hostd's, and none of one that
    /// runs while its layers are merged: each puts one more on its disk, and the chain is not to grow faster than it is made short.
    pub(super) async fn look_at_forks(&mut self) {
        let busy = |it: &Self| it.adopting.is_some() || it.running.is_some() && it.merging.is_some();
        while !(self.session().moves() || busy(self))
            && let Some((wish, answer)) = self.forks.pop_front()
        {
            if !answer.is_closed() {
                self.fork(wish, answer).await;
            }
        }
    }

    async fn fork(&mut self, wish: Wish, answer: Answer) {
        let (actor, input) = match &wish {
            Wish::Fork(_) => (Actor::Host, Input::Fork),
            Wish::Checkpoint { by } => (by.clone(), Input::Checkpoint),
        };
        if let Err(why) = self.has_room(&wish) {
            self.not_checkpointed(&why).await;
            let _ = answer.send(Err(FleetError::NotCheckpointed(why)));
            return;
        }
        if let Err(error) = self.obey(&actor, input).await {
            let _ = answer.send(Err(error));
            return;
        }
        let draft = match wish {
            Wish::Fork(new) => {
                let folder = self.ctx.folder(&new.id);
                Draft::of(new, folder)
            }
            Wish::Checkpoint { by } => {
                Draft::checkpoint(by, self.site.folder.checkpoint(self.machine().next_checkpoint()))
            }
        };
        if !self.session().forking {
            let _ = answer.send(self.fork_suspended(&draft).await);
            return;
        }
        let Some(running) = self.running.take() else {
            // Its end is about to be reported.
            let _ = answer.send(Err(draft.failed("its VM has just ended".into())));
            return;
        };
        self.handle.live.send_replace(None);
        let task = tokio::spawn(part(self.site.clone(), running, draft.clone()).instrument(self.span.clone()));
        self.forking = Some(Forking {
            draft,
            answer: Some(answer),
            stage: Stage::Parts(task),
            taken: None,
            failed: String::new(),
        });
    }

    /// Nothing else happens to the session meanwhile: its files are linked in no time.
    async fn fork_suspended(&self, draft: &Draft) -> Result<(), FleetError> {
        let original = self.handle.record.borrow().clone();
        self.fork_of(draft, &self.site.folder, &original).await
    }

    /// A fork of what is suspended in this folder.
    pub(super) async fn fork_of(&self, draft: &Draft, folder: &Folder, original: &Record) -> Result<(), FleetError> {
        let result = match draft.of_suspended(folder, original).await {
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
        let Some((input, machine)) = self.awake(awake, forking).await else { return ControlFlow::Continue(()) };
        let (taken, failed) =
            (matches!(input, Input::Checkpointed { .. }), matches!(input, Input::NotCheckpointed { .. }));
        let flow = self.report_with(input, machine).await;
        if taken {
            self.note_checkpoint().await;
        } else if failed {
            self.try_checkpoint_again();
        }
        flow
    }

    async fn lost(&self, error: &JoinError) -> Awake {
        Awake::Ended(Cause::VmDied(self.after_panic(error).await))
    }

    /// Both records are committed, or the session's alone where there can be no fork; only then its VM goes on, for its new layer
    /// has a name that lasts. None: it is left to the next hostd, which takes it over with that layer.
    async fn parted(&mut self, parted: Parted, mut forking: Forking) -> Option<Forking> {
        let machine = self.pivoted(&parted);
        let mut original = Record { session: self.session(), machine };
        let draft = forking.draft.clone();
        let (kept, result) = match self.commit_parted(&draft, &original, &parted).await {
            Ok(kept) => {
                original = kept.original;
                self.publish(original.clone());
                let made = match kept.fork {
                    Some(fork) => self.made(&draft, Ok(fork)).await,
                    None => {
                        draft.done().await;
                        let number = original.machine.checkpoints.last().map_or(0, |last| last.number);
                        forking.taken = Some(Checkpointed { number, stands: parted.stands, gone: kept.gone });
                        Ok(())
                    }
                };
                (true, made)
            }
            Err(error) => {
                forking.failed = error.to_string();
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

    async fn commit_parted(&self, draft: &Draft, original: &Record, parted: &Parted) -> Result<Kept, FleetError> {
        let failed = |error: std::io::Error| draft.failed(error.to_string());
        if let Wish::Fork(_) = draft.wish {
            let (fork, effects) = draft.of_parted(&self.site.folder, original, parted).await.map_err(failed)?;
            fail::fail_point!("fork::before-commit");
            let entries = self.ctx.store.fork(original, &fork, effects).await?;
            return Ok(Kept { original: original.clone(), fork: Some((fork, entries)), gone: vec![] });
        }
        let (mut original, number) = (original.clone(), original.machine.next_checkpoint());
        let kept = checkpoint::keep(draft, number, &self.site.folder, &original, parted).await;
        let gone = original.machine.add_checkpoint(kept.map_err(failed)?);
        fail::fail_point!("checkpoint::before-commit");
        self.ctx.store.commit(&original, vec![], vec![], vec![]).await?;
        fail::fail_point!("checkpoint::after-commit");
        Ok(Kept { original, fork: None, gone })
    }

    /// What the session is made from once that is committed.
    fn pivoted(&self, parted: &Parted) -> Machine {
        let mut machine = self.machine();
        machine.layers.push(self.site.folder.layer(&machine.disk));
        machine.disk.clone_from(&parted.top);
        machine
    }

    /// The VM goes on, or is gone; whoever asked is told of the fork. None: hostd ends, and it is the next one's.
    async fn awake(&mut self, awake: Awake, forking: Forking) -> Option<(Input, Machine)> {
        let Forking { draft, answer, stage, taken, failed } = forking;
        let mut machine = self.machine();
        let by = if let Wish::Checkpoint { by } = &draft.wish { Some(by.clone()) } else { None };
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
        let mut runs_on = matches!(input, Some(Input::Forked)).then_some(failed);
        let result = match stage {
            Stage::GoesOn(_, result) => result,
            Stage::Parts(_) => {
                draft.undo().await;
                let why = self.within(&why);
                runs_on = runs_on.map(|_| why.clone());
                Err(draft.failed(why))
            }
        };
        let input = match (by, runs_on, taken) {
            (Some(by), Some(_), Some(taken)) => {
                checkpoint::remove(&self.site.folder, &taken.gone).await;
                Some(self.checkpointed(&taken, by, &mut machine))
            }
            (Some(_), Some(why), None) => Some(Input::NotCheckpointed { why }),
            _ => input,
        };
        answer.map(|answer| answer.send(result));
        Some((input?, machine))
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
            if let Some((input, machine)) = input
                && let Err(error) = self.feed_with(input, machine).await
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
