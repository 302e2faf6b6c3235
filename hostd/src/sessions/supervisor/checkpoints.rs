//! When checkpoints are taken, and how a session goes back to one: see [`crate::sessions::vm::checkpoint`].

use std::{future::pending, ops::ControlFlow, os::unix::fs::MetadataExt as _, path::PathBuf, time::Duration};

use hostd_core::{Actor, Effect, Input, Lifecycle, recipe::Checkpoints, session::NewFork};
use tokio::{sync::oneshot, time::Instant};

use super::{Supervisor, under_way::Checkpointed};
use crate::{
    clock::now,
    sessions::{
        disk::folder::Folder,
        error::FleetError,
        message::Answer,
        vm::{
            checkpoint::{back, chain, read},
            fork::{Draft, Wish},
            spec::spec,
        },
    },
    store::{Machine, OutboxEntry, Record},
};

/// Pause before the schedule tries again what could not begin now.
const AGAIN: Duration = Duration::from_secs(5);
/// Pause after a checkpoint that failed.
const FAILED: Duration = Duration::from_secs(300);
/// Bytes that a guest's disk grows by before that counts as a change: what freezing it writes is none.
const DISK: u64 = 256 << 10;

/// The schedule of a session's checkpoints.
#[derive(Default)]
pub(super) struct Schedule {
    /// When the next is due; None: the session does not run, or has no schedule.
    due: Option<Instant>,
    /// The session as it was after the last one; None: there was none since hostd has it.
    last: Option<Mark>,
}

/// What tells that something has happened in a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark {
    generation: u64,
    /// Offset of the terminal's output.
    offset: u64,
    /// Number of the last event of the guest.
    heard: u64,
    /// When the session last changed.
    updated_at: i64,
    /// Bytes of the layer that it writes to.
    disk: u64,
}

impl Mark {
    fn differs(&self, other: &Self) -> bool {
        Self { disk: 0, ..*self } != Self { disk: 0, ..*other } || self.disk.abs_diff(other.disk) > DISK
    }
}

impl Schedule {
    pub(super) async fn over(due: Option<Instant>) {
        match due {
            Some(due) => tokio::time::sleep_until(due).await,
            None => pending().await,
        }
    }

    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }
}

impl Supervisor {
    /// The schedule runs while the session does.
    pub(super) fn look_at_schedule(&mut self) {
        let record = self.handle.record.borrow().clone();
        let schedule = record.machine.checkpoint.filter(|_| {
            record.session.lifecycle == Lifecycle::Running
                && !record.session.deleting
                && record.session.exited.is_none()
        });
        self.schedule.due = match (schedule, self.schedule.due) {
            (Some(schedule), None) => Some(Instant::now() + left(schedule, &record.machine)),
            (Some(_), due) => due,
            (None, _) => None,
        };
    }

    /// Takes a checkpoint where something has happened since the last.
    pub(super) async fn checkpoint_is_due(&mut self) {
        let Some(schedule) = self.machine().checkpoint else { return };
        let changed = match (self.schedule.last, self.mark().await) {
            (Some(last), now) => last.differs(&now),
            (None, _) => true,
        };
        let pause = if changed && !self.wants_checkpoint() { AGAIN } else { Duration::from_secs(schedule.every) };
        self.schedule.due = Some(Instant::now() + pause);
    }

    /// False: it cannot begin at this moment, or would cut off a model or a server that is answering it.
    fn wants_checkpoint(&mut self) -> bool {
        let (session, running) = (self.session(), self.running.as_ref());
        let free = running.is_some_and(|running| !running.live.link.streams());
        if !free || session.forking || session.typing || session.delivering {
            return false;
        }
        let waits = self.forks.iter().any(|(wish, _)| matches!(wish, Wish::Checkpoint { by: Actor::Host }));
        if !waits {
            // What comes of it is in the session's story.
            let (answer, answered) = oneshot::channel();
            self.want_fork(Wish::Checkpoint { by: Actor::Host }, answer);
            self.tasks.spawn(async move { drop(answered.await) });
        }
        true
    }

    async fn mark(&self) -> Mark {
        let record = self.handle.record.borrow().clone();
        let top = tokio::fs::metadata(self.site.folder.layer(&record.machine.disk)).await;
        Mark {
            generation: record.session.generation,
            offset: self.handle.terminal.offset(),
            heard: record.machine.heard,
            updated_at: record.session.updated_at,
            disk: top.map_or(0, |top| top.blocks().saturating_mul(512)),
        }
    }

    /// Notes how the session is now that a checkpoint was taken.
    pub(super) async fn note_checkpoint(&mut self) {
        self.schedule.last = Some(self.mark().await);
    }

    /// What is told of a checkpoint once the VM goes on.
    pub(super) fn checkpointed(&self, taken: &Checkpointed, by: Actor, machine: &mut Machine) -> Input {
        let stood = u64::try_from(taken.stands.elapsed().as_millis()).unwrap_or(u64::MAX).max(1);
        for known in machine.checkpoints.iter_mut().filter(|known| known.number == taken.number) {
            known.stood = stood;
        }
        Input::Checkpointed { number: taken.number, stood, by }
    }

    pub(super) async fn not_checkpointed(&mut self, why: &str) {
        if let Err(error) = self.feed(Input::NotCheckpointed { why: why.into() }).await {
            tracing::error!(slug = self.handle.slug, %error, "that a checkpoint was not taken is not kept");
        }
        self.try_checkpoint_again();
    }

    /// One that the schedule has asked for and that failed is still due, after a pause.
    pub(super) fn try_checkpoint_again(&mut self) {
        if let (Some(schedule), Some(due)) = (self.machine().checkpoint, self.schedule.due) {
            let again = Instant::now() + FAILED.min(Duration::from_secs(schedule.every));
            self.schedule.due = Some(due.min(again));
        }
    }

    /// Whether the disk has room for a checkpoint: at most what its VM has written of its memory. A fork is let in by itself.
    ///
    /// # Errors
    /// Why not, with what to do.
    pub(super) fn has_room(&self, wish: &Wish) -> Result<(), String> {
        let (Wish::Checkpoint { .. }, Some(running)) = (wish, &self.running) else { return Ok(()) };
        let (most, free) = (running.live.vm.memory().private, self.ctx.room().disk());
        if most <= free {
            return Ok(());
        }
        Err(format!(
            "it may take {} MiB of the host's disk, and {} MiB are free beyond the reserve; make room on it (`pilothouse host show` names \
             who takes it)",
            most >> 20,
            free >> 20
        ))
    }

    /// A fork of the session as it was at one of its checkpoints, whatever the session does now.
    pub(super) async fn fork_checkpoint(&self, number: u64, new: NewFork) -> Result<(), FleetError> {
        if self.session().deleting {
            return Err(FleetError::Denied("the session is being deleted".into()));
        }
        let (folder, mut then) = self.then(number).await?;
        // What it may reach and cost is what holds now, also where that was less or more then.
        let today = self.session();
        (then.session.allowed, then.session.budget) = (today.allowed, today.budget);
        let of_fork = self.ctx.folder(&new.id);
        self.fork_of(&Draft::of(new, of_fork), &folder, &then).await
    }

    /// The session goes back to this checkpoint: suspended as it was, and wanted. Its files get further names first, and those that
    /// it does not need any more go last, so that hostd's death in between leaves it as it is or as it was.
    pub(super) async fn restore(&mut self, number: u64, actor: &Actor, answer: Answer) -> ControlFlow<()> {
        let (folder, entries, gone) = match self.restored(number, actor).await {
            Ok(restored) => restored,
            Err(error) => {
                let _ = answer.send(Err(error));
                return ControlFlow::Continue(());
            }
        };
        let _ = answer.send(Ok(()));
        let (ends, more): (Vec<_>, Vec<_>) = entries.into_iter().partition(|entry| entry.effect == Effect::End);
        self.carry_out(ends).await?;
        self.remove_layers(&gone).await;
        self.handle.terminal.go_back(folder.path()).await;
        self.carry_out(more).await
    }

    /// Where the last hostd died on the way back to a checkpoint the session is that of then, and its terminal may not be.
    pub(super) async fn look_at_terminal(&self) {
        let record = self.handle.record.borrow().clone();
        let snapshot = record.machine.snapshot.as_ref().filter(|_| record.session.lifecycle == Lifecycle::Suspended);
        let Some(snapshot) = snapshot else { return };
        let folders = record.machine.checkpoints.iter().map(|known| self.site.folder.checkpoint(known.number));
        for folder in folders.filter(|folder| folder.snapshot() == snapshot.folder) {
            self.handle.terminal.go_back(folder.path()).await;
        }
    }

    async fn restored(
        &mut self,
        number: u64,
        actor: &Actor,
    ) -> Result<(Folder, Vec<OutboxEntry>, Vec<PathBuf>), FleetError> {
        if self.adopting.is_some() {
            let why = "its VM is being taken over from the last hostd; try again in a moment";
            return Err(FleetError::Denied(why.into()));
        }
        let (folder, then) = self.then(number).await?;
        let (record, own) = (self.handle.record.borrow().clone(), self.site.folder.clone());
        let at = then.machine.snapshot.as_ref().map_or_else(now, |snapshot| snapshot.at);
        let input = Input::Restore { number, then: Box::new(then.session.clone()), at };
        // What is denied touches no file.
        let (restored, _) = hostd_core::session::step(&record.session, input.clone(), now())
            .map_err(|denied| FleetError::Denied(denied.0))?;
        self.can_be_used(&folder, &then).await?;
        let machine = back(&own, &folder, &record, restored.generation, &then.machine).await;
        let machine = machine.map_err(|error| FleetError::NotRestored(error.to_string()))?;
        fail::fail_point!("restore::after-links");
        let linked = chain(&own, &machine);
        let entries = match self.obey_with(actor, input, machine).await {
            Ok(entries) => entries,
            Err(error) => {
                self.remove_layers(&linked).await;
                return Err(error);
            }
        };
        fail::fail_point!("restore::after-commit");
        own.forget_changes().await;
        Ok((folder, entries, chain(&own, &record.machine)))
    }

    /// Whether the session could be resumed from this checkpoint: what there is now is lost on the way to it.
    async fn can_be_used(&self, folder: &Folder, then: &Record) -> Result<(), FleetError> {
        let fits = self.site.vmm.fits(&spec(then, folder), &folder.snapshot()).await;
        fits.map_err(|error| {
            let why = self.within(&error.to_string());
            FleetError::NotRestored(format!(
                "{why}; nothing was changed: put back what has changed, go back to another checkpoint, or restart the session, which boots \
                 it from its disk as it is now"
            ))
        })
    }

    /// The folder of a checkpoint, and the session as it was.
    async fn then(&self, number: u64) -> Result<(Folder, Record), FleetError> {
        let known: Vec<String> = self.machine().checkpoints.iter().map(|known| known.number.to_string()).collect();
        if !known.contains(&number.to_string()) {
            let has = if known.is_empty() { "none".into() } else { known.join(", ") };
            return Err(FleetError::Denied(format!("it has no checkpoint {number}; it has {has}")));
        }
        let folder = self.site.folder.checkpoint(number);
        let then = read(&folder).await;
        let then = then.map_err(|error| FleetError::NotRestored(format!("{}: {error}", folder.then().display())))?;
        Ok((folder, then))
    }
}

/// Time until the next checkpoint is due of a session that begins to run.
fn left(schedule: Checkpoints, machine: &Machine) -> Duration {
    let every = Duration::from_secs(schedule.every);
    let last = machine.checkpoints.iter().map(|known| known.at).max();
    // A clock that was set back makes none wait for longer.
    let since = last.map_or(0, |at| u64::try_from(now().saturating_sub(at)).unwrap_or_default());
    every.saturating_sub(Duration::from_millis(since)).max(AGAIN.min(every))
}
