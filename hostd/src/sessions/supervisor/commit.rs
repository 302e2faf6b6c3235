//! Stepping the core, committing what comes of it, and carrying that out.

use std::{ops::ControlFlow, sync::Arc};

use hostd_core::{
    Actor, Effect, Input, Lifecycle, Session, attention,
    session::step,
    story::{Event, of_session},
};

use tracing::Instrument as _;

use super::{Supervisor, no_output};
use crate::{
    clock::now,
    log,
    sessions::{disk::folder::top, error::FleetError, message::Place},
    store::{Machine, OutboxEntry, Record, Store, StoreError},
};

/// A step of a session that is to be committed.
pub(super) struct Commit {
    next: Record,
    effects: Vec<Effect>,
    /// Ids of outbox entries that have been carried out.
    settled: Vec<i64>,
    events: Vec<Event>,
    /// Place on the host that the session has with it.
    place: Option<Place>,
}

impl Commit {
    /// The session as it is, made from something else.
    fn of_machine(session: Session, machine: Machine) -> Self {
        let next = kept(session, machine);
        Self { next, effects: vec![], settled: vec![], events: vec![], place: None }
    }

    pub(super) async fn write(&self, store: &Store) -> Result<Vec<OutboxEntry>, StoreError> {
        store.commit(&self.next, self.effects.clone(), self.settled.clone(), self.events.clone()).await
    }
}

impl Supervisor {
    /// Steps the core with a report and commits what comes of it, however long it takes until that can be written.
    ///
    /// # Errors
    /// Where the commit was given up; the session is as it was.
    pub(super) async fn feed(&mut self, input: Input) -> Result<Vec<OutboxEntry>, FleetError> {
        let machine = self.machine();
        self.feed_with(input, machine).await
    }

    /// The same where the report changes what the session is made from.
    ///
    /// # Errors
    /// As [`Supervisor::feed`].
    pub(super) async fn feed_with(&mut self, input: Input, machine: Machine) -> Result<Vec<OutboxEntry>, FleetError> {
        let actor = input.reporter(&self.session());
        let Some(commit) = self.stepped(&actor, input, machine)? else { return Ok(vec![]) };
        let span = log::on_behalf(&actor);
        let entries = self.persist(&commit).instrument(span.clone()).await?;
        span.in_scope(|| self.committed(commit));
        Ok(entries)
    }

    /// Steps the core with a command and commits what comes of it: at once, or not at all. The exception is a deletion on a full
    /// disk, which is what makes room there: its files go first, and its record with them.
    ///
    /// # Errors
    /// Where the command is denied or cannot be committed; the session is as it was.
    pub(super) async fn obey(&mut self, actor: &Actor, input: Input) -> Result<Vec<OutboxEntry>, FleetError> {
        let machine = self.machine();
        self.obey_with(actor, input, machine).await
    }

    /// The same where the command changes what the session is made from.
    ///
    /// # Errors
    /// As [`Supervisor::obey`].
    pub(super) async fn obey_with(
        &mut self,
        actor: &Actor,
        input: Input,
        machine: Machine,
    ) -> Result<Vec<OutboxEntry>, FleetError> {
        let deletes = input == Input::Delete;
        let Some(commit) = self.stepped(actor, input, machine)? else { return Ok(vec![]) };
        let entries = match commit.write(&self.ctx.store).await {
            Err(StoreError::Full) if deletes => vec![OutboxEntry { id: 0, effect: Effect::Remove }],
            written => written?,
        };
        self.committed(commit);
        Ok(entries)
    }

    /// Commits what the session is made from, however long it takes until that can be written; returns the record.
    ///
    /// # Errors
    /// As [`Supervisor::feed`]. Whether it was written may not be known then.
    pub(super) async fn keep(&mut self, machine: Machine) -> Result<Record, StoreError> {
        let commit = Commit::of_machine(self.session(), machine);
        self.persist(&commit).await?;
        let record = commit.next.clone();
        self.committed(commit);
        Ok(record)
    }

    /// What comes of an input; None: nothing.
    fn stepped(&self, actor: &Actor, input: Input, machine: Machine) -> Result<Option<Commit>, FleetError> {
        let (record, at) = (self.handle.record.borrow().clone(), now());
        let taken_over = matches!(input, Input::Adopted { .. });
        let stepped = step(&record.session, input.clone(), at);
        let (mut session, mut effects) = stepped.map_err(|denied| FleetError::Denied(denied.0))?;
        let settled = self.owed.iter().filter(|owed| owed.effect.answered_by(&input)).map(|owed| owed.id).collect();
        let mut events = of_session(&record.session, &input, &session, actor, at);
        // What wants it back and that it comes back is one commit where there is a place for it.
        // Not where its VM is to be ended first, which gives back what is held for it.
        let at_once = effects.contains(&Effect::Admit) && !effects.contains(&Effect::End);
        let place = if at_once { self.place_at_once(&session) } else { None };
        if place.is_some()
            && let Ok((admitted, more)) = step(&session, Input::Admitted, at)
        {
            events.extend(of_session(&session, &Input::Admitted, &admitted, &Actor::Host, at));
            effects.retain(|effect| *effect != Effect::Admit);
            effects.extend(more);
            session = admitted;
        }
        let machine = with_top(machine, &effects);
        let commit = Commit { next: kept(session, machine), effects, settled, events, place };
        let nothing = commit.next == *record && commit.effects.is_empty() && commit.settled.is_empty();
        // That its VM was taken over is told, though nothing has changed.
        Ok((!nothing || taken_over).then_some(commit))
    }

    /// Publishes what was committed.
    fn committed(&mut self, commit: Commit) {
        self.owed.retain(|owed| !commit.settled.contains(&owed.id));
        if commit.place.is_some() {
            self.place = commit.place;
        }
        self.publish(commit.next);
    }

    /// Has everybody know a record that was committed.
    pub(super) fn publish(&self, next: Record) {
        let (before, after) = (self.session(), next.session.clone());
        self.handle.record.send_replace(Arc::new(next));
        if before.budget != after.budget {
            self.ctx.gateway.ledger().set_budget(&after.id, after.budget);
            if after.used_up().is_none() {
                self.ctx.gateway.limits().forget_over_budget(&after.id);
            }
        }
        if before.allowed != after.allowed {
            self.ctx.gateway.allow(&after.id, &after.allowed);
        }
        if before.lifecycle != after.lifecycle {
            let (from, to, reason) = (before.lifecycle.word(), after.lifecycle.word(), attention(&after, now()).reason);
            tracing::info!(slug = after.slug, from, to, reason, "session");
            self.ctx.meter.changed(&after.id, &before.lifecycle, &after.lifecycle);
            if !after.lifecycle.has_vm() {
                self.ctx.admission.freed();
            }
            match no_output(&after) {
                Some(reason) => self.handle.terminal.end(reason),
                None if after.lifecycle == Lifecycle::Queued => {
                    self.handle.terminal.expect();
                    // It was of the agent before.
                    self.ctx.gateway.limits().set_aside(&after.id);
                }
                None => {}
            }
        }
        self.ctx.feed.session(self.handle.view());
    }

    pub(super) async fn carry_out(&mut self, entries: Vec<OutboxEntry>) -> ControlFlow<()> {
        for entry in entries {
            match &entry.effect {
                Effect::Admit => self.admit(),
                Effect::Start { generation } => self.start(*generation),
                Effect::Type { generation, message } => self.type_message(*generation, message.clone(), false),
                Effect::Press { generation, message } => self.type_message(*generation, message.clone(), true),
                Effect::Observe => self.observe(),
                Effect::Deliver { generation, wait, answer } => self.deliver(*generation, *wait, answer.clone()),
                Effect::End => self.end_synced().await,
                Effect::Remove => return self.remove().await,
                Effect::Suspend => self.suspend(),
                Effect::Resume { generation } => self.resume(*generation),
            }
            self.owed.push(entry);
        }
        ControlFlow::Continue(())
    }
}

/// What is kept of a session, which knows whether its agent has a conversation that it could go on with.
fn kept(session: Session, machine: Machine) -> Record {
    let resumes = machine.agent.as_ref().is_some_and(|agent| agent.goes_on().is_some());
    Record { session: Session { resumes, ..session }, machine }
}

/// The layer that a resumed VM will write to gets its name in the commit that has the VM resumed: so no VM ever writes to a layer
/// that no record names, and that the next hostd would remove.
fn with_top(machine: Machine, effects: &[Effect]) -> Machine {
    let resumed = effects.iter().find_map(|effect| match effect {
        Effect::Resume { generation } => Some(*generation),
        _ => None,
    });
    match resumed {
        Some(generation) => Machine { disk: top(generation), ..machine },
        None => machine,
    }
}
