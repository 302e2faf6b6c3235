//! A session stands still while what happened to it cannot be committed.
//!
//! A commit is not lived without: until it is written, nothing else happens to the session. Its VM is paused where it runs, and
//! none begins to run; reports wait in their channel, in order, and what the guest said is not acknowledged; the same commit is
//! tried again. Only commands are listened to: a deletion is tried, for it makes room on a full disk, hostd's stop is obeyed,
//! and all others are refused with the reason. Once the commit is written all goes on by itself.

use std::{ops::ControlFlow, time::Duration};

use hostd_core::Input;
use tokio::time::{Instant, sleep_until};

use super::{Supervisor, commit::Commit};
use crate::{
    sessions::{
        error::FleetError,
        message::{AtStop, Command},
        timings::Timings,
    },
    store::{OutboxEntry, StoreError},
};

/// What overtakes a commit that cannot be written.
pub(super) enum Overtaken {
    /// The session is deleted.
    Deletion,
    /// hostd ends, and gives sessions until then to be where they are to be.
    Stop(Instant, AtStop),
}

/// A write that has failed so far.
struct Failing {
    since: Instant,
    tries: u32,
}

impl Supervisor {
    /// Commits a step, however long it takes until that can be written.
    ///
    /// # Errors
    /// The last one, where it was given up: it was overtaken, it took longer than [`Supervisor::patience`], or it is of a kind
    /// that does not pass.
    pub(super) async fn persist(&mut self, commit: &Commit) -> Result<Vec<OutboxEntry>, StoreError> {
        let (store, mut failing) = (self.ctx.store.clone(), None);
        loop {
            let written = commit.write(&store).await;
            if let Some(settled) = self.settled(written, &mut failing).await {
                return settled;
            }
        }
    }

    /// Forgets the session, however long it takes until that can be written.
    ///
    /// # Errors
    /// As [`Supervisor::persist`].
    pub(super) async fn forget(&mut self) -> Result<(), StoreError> {
        let (store, id, mut failing) = (self.ctx.store.clone(), self.handle.id.clone(), None);
        loop {
            let written = store.remove(&id).await;
            if let Some(settled) = self.settled(written, &mut failing).await {
                return settled;
            }
        }
    }

    /// What became of a write; None: it is to be tried again now.
    async fn settled<T>(
        &mut self,
        written: Result<T, StoreError>,
        failing: &mut Option<Failing>,
    ) -> Option<Result<T, StoreError>> {
        if let Err(error) = &written
            && error.may_pass()
            && self.stand_still(error, failing).await.is_continue()
        {
            return None;
        }
        if failing.is_some() {
            self.move_on().await;
        }
        Some(written)
    }

    /// Stands still until the next try. Break: there is to be none.
    async fn stand_still(&mut self, error: &StoreError, failing: &mut Option<Failing>) -> ControlFlow<()> {
        let first = failing.is_none();
        let failing = failing.get_or_insert_with(|| Failing { since: Instant::now(), tries: 0 });
        failing.tries += 1;
        if self.patience == Some(Duration::ZERO) {
            return ControlFlow::Break(());
        }
        if first {
            tracing::error!(slug = self.handle.slug, %error, "a session stands still");
            self.still.send_replace(true);
            if let Some(running) = &self.running {
                running.pause().await;
            }
        } else {
            self.say(error);
        }
        let pause = self.ctx.timings.store_pause;
        let again =
            Instant::now() + (pause * 2_u32.saturating_pow(failing.tries - 1)).min(pause * Timings::STORE_PAUSES);
        loop {
            let last = self.patience.map(|patience| failing.since + patience);
            if last.is_some_and(|last| last <= Instant::now()) {
                // What comes after it is given a try each.
                self.patience = Some(Duration::ZERO);
                return ControlFlow::Break(());
            }
            tokio::select! {
                () = sleep_until(last.map_or(again, |last| last.min(again))) => return ControlFlow::Continue(()),
                Some(command) = self.commands.recv() => self.overtake(command, error).await?,
            }
        }
    }

    /// Has people know that it stands still, and why: also those who wait for its removal.
    fn say(&mut self, error: &StoreError) {
        let why = words(error);
        for deleter in self.deleters.drain(..) {
            let _ = deleter.send(Err(FleetError::StandsStill(why.clone())));
        }
        if self.handle.unwritten.send_if_modified(|known| known.replace(why.clone()) != Some(why)) {
            self.ctx.feed.session(self.handle.view());
        }
    }

    /// Hears a command. Break: it takes the place of what cannot be written.
    async fn overtake(&mut self, command: Command, error: &StoreError) -> ControlFlow<()> {
        let stops = matches!(self.overtaken, Some(Overtaken::Stop(..)));
        match command {
            Command::Stop { until, vms } => {
                self.patience = Some(self.ctx.timings.last_tries);
                self.overtaken = Some(Overtaken::Stop(until, vms));
            }
            Command::Do { actor, input: Input::Delete, answer } if !stops && !self.session().deleting => {
                match self.obey(&actor, Input::Delete).await {
                    Ok(_) => {
                        self.deleters.push(answer);
                        self.overtaken = Some(Overtaken::Deletion);
                        return ControlFlow::Break(());
                    }
                    Err(error) => drop(answer.send(Err(error))),
                }
            }
            Command::Do { answer, .. }
            | Command::Fork { answer, .. }
            | Command::Checkpoint { answer, .. }
            | Command::Restore { answer, .. } => {
                let _ = answer.send(Err(FleetError::StandsStill(words(error))));
            }
        }
        ControlFlow::Continue(())
    }

    /// All goes on: what was to be written is, or is not to be any more.
    async fn move_on(&mut self) {
        if !self.still.send_replace(false) {
            return;
        }
        if self.handle.unwritten.send_replace(None).is_some() {
            self.ctx.feed.session(self.handle.view());
        }
        // A VM that is about to be removed has nothing to run for.
        let deleting = self.session().deleting;
        let Some(running) = self.running.as_ref().filter(|_| !deleting) else { return };
        match running.go_on().await {
            Ok(()) => tracing::info!(slug = self.handle.slug, "a session that stood still goes on"),
            Err(error) => {
                tracing::error!(slug = self.handle.slug, %error, "a VM that stood still does not go on, and is ended");
                // Which is seen, and reported.
                running.live.vm.end().await;
            }
        }
    }
}

/// Why it stands still, with what to do.
fn words(error: &StoreError) -> String {
    let help = match error {
        StoreError::Full => "",
        _ => "; see to the disk of hostd's data folder",
    };
    format!("stands still, because what happens to it cannot be kept: {error}{help}, and it goes on by itself")
}
